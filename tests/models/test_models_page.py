"""The page models/README.md: every file on it is written, every command run, and what it shows is what they say."""

import re

import pytest

from tests.pages import ROOT, Transcript, execute

PAGE = ROOT / "models" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    return execute(PAGE, tmp_path_factory.mktemp("models_page"))


def test_every_block_runs(transcript: Transcript) -> None:
    assert transcript.problems == []
    assert len(transcript.said) > 5


def test_what_the_page_shows_is_what_the_commands_say(transcript: Transcript) -> None:
    assert len(transcript.shown) > 15
    assert transcript.missing() == []


def test_the_noise_scale_of_the_page_is_near_the_truth(transcript: Transcript) -> None:
    (found,) = re.findall(r"noise scale: (\d+) sequences", transcript.said["python noise.py"])
    assert 320 < int(found) < 480


def test_every_module_has_a_line_in_the_tree() -> None:
    """Rooms with a line an optimizer or a kernel are described as a whole."""
    listed = set(re.findall(r"^ *([\w/]+(?:\.py|/)) {2,}\w", TEXT, re.MULTILINE))
    rooms = [PAGE.parent, *(PAGE.parent / name for name in ("data", "engines", "predict", "calibrate", "decoding", "endpoint"))]
    there = {path.name for room in rooms for path in room.glob("*.py")} - {"__init__.py", "__main__.py"}
    there |= {f"{path.parent.name}/" for path in PAGE.parent.rglob("__init__.py")} - {"models/"}
    assert there - listed == set() and listed - there <= {"rows.py"}


def test_pictures_and_files_that_the_page_points_at_exist() -> None:
    assert re.findall(r"!\[.*?\]\((.*?)\)", TEXT) == ["schedules.svg"]
    for name in ["models/schedules.svg", *re.findall(r"`(tests/[\w/]+\.py)`", TEXT)]:
        assert (ROOT / name).exists(), name
