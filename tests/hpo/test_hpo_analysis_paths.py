"""Where a report and a picture are written: another path is refused in a sentence, and no half of a file stays behind."""

import os
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import Study
from hpo.analysis.paths import write_whole


@pytest.fixture(scope="module")
def study() -> Study:
    return hpo.minimize(lambda config: config["x"] ** 2, {"x": (0.0, 1.0)}, "random", 8, quiet=True)


PATHS: list[tuple[Any, type[Exception], str]] = [
    ("", ValueError, "path is '.*', which is a folder; allowed is the path of a file"),
    ("nowhere/a.png", FileNotFoundError, "path is '.*nowhere/a.png'; allowed is .*, and there is no '.*nowhere'"),
    (3, TypeError, "path is 3; allowed is the path of a file"),
]
SUFFIXES: list[tuple[Any, type[Exception], str]] = [
    (name, ValueError, f"path is '.*{name}'; allowed is .* that ends in one of .png, .svg, .pdf") for name in ("a.foo", "loss")
]


@pytest.mark.parametrize(("path", "error", "sentence"), PATHS + SUFFIXES)
def test_a_picture_is_refused_before_it_is_drawn(study: Study, path: Any, error: Any, sentence: str, tmp_path: Path) -> None:
    for name in ("history", "curves", "importance", "effects", "slices", "parallel", "pareto"):
        with pytest.raises(error, match=sentence):
            getattr(study.plot, name)(tmp_path / path if isinstance(path, str) else path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("path", "error", "sentence"), PATHS)
def test_a_report_is_refused_before_it_is_made(study: Study, path: Any, error: Any, sentence: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(error, match=sentence):
        study.report(folder / path if isinstance(path, str) else path)
    assert list(tmp_path.iterdir()) == [folder] and not list(folder.iterdir())


BEGINS = [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("A.PNG", b"\x89PNG")]


@pytest.mark.parametrize(("name", "begins"), BEGINS)
def test_the_suffix_says_how_a_picture_is_saved(study: Study, name: str, begins: bytes, tmp_path: Path) -> None:
    study.plot.history(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins) and [file.name for file in tmp_path.iterdir()] == [name]


def test_an_objective_is_given_by_its_name(study: Study, tmp_path: Path) -> None:
    """A text in the first place would be a path to one method and an objective to the other."""
    with pytest.raises(TypeError, match="positional argument"):
        study.importance("loss")  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional argument"):
        study.plot.history(tmp_path / "a.png", "loss")  # type: ignore[misc]
    assert study.plot.history(objective="loss").axes and study.importance(objective="loss")


def test_what_cannot_be_written_leaves_no_half(tmp_path: Path) -> None:
    """The folder is asked for in the last moment, as if somebody had made it meanwhile."""
    with pytest.raises(OSError, match=f"'{tmp_path / 'there'}'"):
        (tmp_path / "there").mkdir()
        write_whole(tmp_path / "there", b"all of it")
    assert os.listdir(tmp_path) == ["there"] and not os.listdir(tmp_path / "there")
