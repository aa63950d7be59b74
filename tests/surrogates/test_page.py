"""The page surrogates/README.md: every file on it is written, every command run, and what it shows is what they say."""

import re
from ast import literal_eval
from importlib.metadata import version

import pytest

from tests.pages import ROOT, Transcript, execute

PAGE = ROOT / "surrogates" / "README.md"
PINNED = ("numpy", "scipy", "torch")  # with other versions than constraints.txt names, searches may end elsewhere


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    return execute(PAGE, tmp_path_factory.mktemp("page"))


def test_every_block_runs(transcript: Transcript) -> None:
    assert transcript.problems == []
    assert len(transcript.said) > 6


def test_what_the_page_shows_is_what_the_commands_say(transcript: Transcript) -> None:
    assert len(transcript.shown) > 6
    assert transcript.missing() == []


def test_the_picture_is_there(transcript: Transcript) -> None:
    assert (transcript.folder / "look.png").read_bytes()[:4] == b"\x89PNG"


def pinned() -> bool:
    """Whether the versions that searches depend on are those that were tested."""
    named = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    return all(version(name).partition("+")[0] == named[name] for name in PINNED)


def claimed(pattern: str) -> list[float]:
    """The numbers that the page claims in a sentence."""
    (found,) = re.findall(pattern, PAGE.read_text(encoding="utf-8"))
    return [float(number) for number in ([found] if isinstance(found, str) else found)]


def benchmarked(transcript: Transcript) -> str:
    """What the benchmark printed."""
    (said,) = (said for line, said in transcript.said.items() if "experiments.benchmark" in line)
    return said


def test_the_race_is_won(transcript: Transcript) -> None:
    reached = {name: float(loss) for name, loss in re.findall(r"^(\w+): ([\d.]+);", transcript.said["python race.py"], re.M)}
    assert reached["mine"] < 0.5 < reached["random"]
    if pinned():
        claims = claimed(r"random search ended at ([\d.]+\d), `mine` at ([\d.]+\d)")
        assert claims == pytest.approx([reached["random"], reached["mine"]], rel=1e-3)


def test_the_benchmark_finds_what_the_page_claims(transcript: Transcript) -> None:
    study = r"GP\(my_acquisition:mine\) on branin, seed 0: regret ([\d.e-]*\d)"
    (reached,) = (float(number) for number in re.findall(study, benchmarked(transcript)))
    assert reached < 0.1
    if pinned():
        assert claimed(study) == pytest.approx([reached], rel=1e-3)


def test_the_benchmark_names_it(transcript: Transcript) -> None:
    said = benchmarked(transcript)
    assert "6 studies run, 0 failed, 0 left" in said
    assert "GP(my_acquisition:mine) on branin, seed 0: regret" in said
    assert "| task | method | seeds of both | median at 25 (GP's) | lower at 25 |" in said
    assert "in GP's place would have a mean rank of" in said and "mean rank [95 %]" in said
    assert len(list((transcript.folder / "runs" / "mine").glob("*.jsonl"))) == 3
    assert (transcript.folder / "runs" / "mine" / "page" / "index.html").exists()


def test_parallel_jobs_keep_apart(transcript: Transcript) -> None:
    batches = [literal_eval(line) for line in transcript.said["python parallel.py"].splitlines()]
    assert len(batches) == 3
    for batch in batches[1:]:  # the first is Sobol's
        gaps = [max(abs(a - c), abs(b - d)) for i, (a, b) in enumerate(batch) for c, d in batch[:i]]
        assert len(gaps) == 6 and min(gaps) > 0.5


def test_files_that_the_page_points_at_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:acquisitions|linting|tests)/[\w/]+\.py)`", page))
    assert len(named) > 6
    assert [name for name in named if not (ROOT / name).exists() and not (PAGE.parent / name).exists()] == []
    lines = len((PAGE.parent / "acquisitions" / "nei.py").read_text(encoding="utf-8").splitlines())
    assert f"in {lines} lines" in page
