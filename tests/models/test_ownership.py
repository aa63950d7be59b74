"""Code is loaded from where nobody else may write: the folder of the compiled kernels, and what lies above it."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import ownership
from models.engines.cpu import kernels
from models.ownership import flaw, make_folder

ROOT = Path(__file__).resolve().parents[2]
STRANGER = 12345
ALONE = "the kernels for CPUs are compiled for this process alone"
AGAIN = "the kernels for CPUs are compiled again"

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners of files")
needs_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() != 0, reason="only root gives files away")
compiler = shutil.which((os.environ.get("CC") or "cc").split()[0])
needs_compiler = pytest.mark.skipif(
    compiler is None or os.environ.get("HPO_KERNELS") == "off", reason="there is no C compiler for the kernels (CC, HPO_KERNELS)"
)


def skip_where_others_write(folder: Path) -> None:
    """Nothing is compiled into a folder for temporary files that others may write."""
    if flaw(folder.resolve()) is not None:
        pytest.skip(f"{flaw(folder.resolve())}: pytest's --basetemp or TMPDIR must be a folder of this user's own")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder two levels down, so that something of ours lies above it."""
    skip_where_others_write(tmp_path)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("HPO_KERNELS", raising=False)
    monkeypatch.setattr(kernels, "FLAGS", ["-O0", *kernels.FLAGS[1:]])  # it need not be fast
    monkeypatch.setenv("HPO_CACHE", str(tmp_path.resolve() / "above" / "cache"))
    return tmp_path.resolve() / "above" / "cache"


def load() -> bool:
    """Whether there are kernels, asked for anew."""
    return kernels.library.__wrapped__() is not None


def folder_of(cache: Path) -> Path:
    return cache / f"kernels-of-{os.getuid()}"


def libraries(cache: Path) -> list[Path]:
    return list(folder_of(cache).glob("kernels-*.so"))


def given_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


def open_to_all(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o002)


def open_to_the_group(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o020)


def made_a_link(path: Path) -> None:
    moved = path.with_name(path.name + ".moved")
    path.rename(moved)
    path.symlink_to(moved)


DEEDS = [open_to_all, open_to_the_group, pytest.param(given_away, marks=needs_root)]


@needs_compiler
def test_what_is_made_is_this_users_alone(cache: Path) -> None:
    before = os.umask(0)
    try:
        assert load()
    finally:
        os.umask(before)
    (made,) = libraries(cache)
    for path in (made, made.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert flaw(made) is None and flaw(made.parent) is None


@needs_compiler
@pytest.mark.parametrize("deed", [*DEEDS, made_a_link])
def test_a_library_that_others_could_have_written_is_made_anew(
    deed: Callable[[Path], None], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load() and caplog.records == []
    (made,) = libraries(cache)
    deed(made)
    assert load()
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(AGAIN) and str(made) in line and "\n" not in line
    assert stat.S_IMODE(made.lstat().st_mode) == 0o700 and made.lstat().st_uid == os.getuid() and not made.is_symlink()
    caplog.clear()
    assert load() and caplog.records == []


@needs_compiler
@pytest.mark.parametrize("place", ["folder", "cache", "above"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_folder_to_which_others_may_write_is_refused_wherever_it_lies(
    deed: Callable[[Path], None], place: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing in it is loaded, nothing is written to it, and there are kernels all the same."""
    assert load()
    (made,) = libraries(cache)
    written = made.stat().st_mtime_ns
    wrong = {"folder": folder_of(cache), "cache": cache, "above": cache.parent}[place]
    deed(wrong)
    asked = kernels._library_file()
    assert asked.exists() and not asked.is_relative_to(cache.parent) and flaw(asked) is None
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(ALONE) and str(wrong) in line and "\n" not in line
    assert libraries(cache) == [made] and made.stat().st_mtime_ns == written
    assert load()


@needs_compiler
def test_a_folder_that_is_a_link_to_another_is_refused(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load()
    made_a_link(folder_of(cache))
    assert not kernels._library_file().is_relative_to(cache)
    assert "is a link" in caplog.text


@needs_compiler
def test_a_sticky_folder_above_is_no_flaw(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """/tmp is one: nobody renames there what others own."""
    cache.parent.mkdir()
    cache.parent.chmod(0o1777)
    assert load() and caplog.records == [] and len(libraries(cache)) == 1


@needs_compiler
def test_nothing_is_loaded_where_no_folder_is_safe(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for place in (cache.parent, tmp_path / "temporary"):
        place.mkdir()
        place.chmod(0o777)
    monkeypatch.setattr(kernels.tempfile, "tempdir", str(tmp_path / "temporary"))
    assert not load()
    assert "training goes on without the kernels" in caplog.text and f"others may write to {tmp_path}" in caplog.text


@needs_compiler
def test_for_another_user_all_of_it_is_a_strangers(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What root sees in the test above with files given away, whoever runs this."""
    assert load()
    (made,) = libraries(cache)
    trusted = {0, Path("/").stat().st_uid}
    if os.getuid() in trusted:
        pytest.skip("this user is trusted by all: tried with files that are given away")
    monkeypatch.setattr(ownership.os, "getuid", lambda: STRANGER)
    assert flaw(made) == f"{made} belongs to another user"


@needs_root
@needs_compiler
def test_a_user_without_rights_does_not_load_what_another_made(tmp_path: Path) -> None:
    """In a folder that all may use, each has their own; root's is trusted by all, and another's by nobody."""
    shared = Path("/tmp") / f"hpo-shared-{os.getpid()}"
    shared.mkdir()
    shared.chmod(0o1777)
    try:
        for user in (STRANGER, STRANGER + 1):
            forged = shared / f"kernels-of-{user}"
            forged.mkdir(mode=0o700)
            os.chown(forged, STRANGER, STRANGER)
            command = [sys.executable, "-c", AS_USER, str(user), str(forged)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
            assert done.stdout.strip() == ("None" if user == STRANGER else f"{forged} belongs to another user")
    finally:
        shutil.rmtree(shared)


# Imports before it gives up its rights: what is imported may be root's alone.
AS_USER = """
import os, sys
from pathlib import Path
from models.ownership import flaw
os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))
print(flaw(Path(sys.argv[2])))
"""


@pytest.fixture
def loose() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


@needs_compiler
def test_a_cache_of_our_own_under_a_loose_umask_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loose: None, caplog: pytest.LogCaptureFixture
) -> None:
    """~/.cache/hpo as an earlier version left it: ours, and writable by the group."""
    skip_where_others_write(tmp_path)
    home = tmp_path.resolve()
    monkeypatch.delenv("HPO_CACHE", raising=False)
    monkeypatch.setattr(kernels, "FLAGS", ["-O0", *kernels.FLAGS[1:]])
    monkeypatch.setattr(kernels, "cache_folder", lambda _: home / ".cache" / "hpo")
    (home / ".cache").mkdir(mode=0o700)
    (home / ".cache" / "hpo").mkdir()
    assert (home / ".cache" / "hpo").stat().st_mode & 0o020
    assert load() and caplog.records == []
    assert len(libraries(home / ".cache" / "hpo")) == 1 and not (home / ".cache" / "hpo").stat().st_mode & 0o022


def test_folders_are_made_without_rights_for_others(tmp_path: Path, loose: None) -> None:
    make_folder(tmp_path / "a" / "b" / "c", 0o700)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c")]
    assert modes == [0o755, 0o755, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/below cannot be made: "):
        make_folder(tmp_path / "file" / "below")
