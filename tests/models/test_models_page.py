"""The page models/README.md: every file on it is written, every command run, and what it shows is what they say."""

import re

import pytest

from tests.surrogates.test_page import ROOT, Session, played

PAGE = ROOT / "models" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return played(PAGE, tmp_path_factory.mktemp("models_page"))


def test_every_block_runs(session: Session) -> None:
    assert session.problems == []
    assert len(session.said) > 5


def test_what_the_page_shows_is_what_the_commands_say(session: Session) -> None:
    assert len(session.shown) > 15
    assert [line for line, said in session.shown if line not in said] == []


def test_the_noise_scale_of_the_page_is_near_the_truth(session: Session) -> None:
    (found,) = re.findall(r"noise scale: (\d+) sequences", session.said["python noise.py"])
    assert 320 < int(found) < 480


def test_every_module_has_a_line_in_the_tree() -> None:
    listed = set(re.findall(r"^([\w/]+(?:\.py|/)) {2,}\w", TEXT, re.MULTILINE))
    there = {path.name for path in PAGE.parent.glob("*.py")} - {"__init__.py"}
    assert there - listed == set()


def test_pictures_and_files_that_the_page_points_at_exist() -> None:
    assert re.findall(r"!\[.*?\]\((.*?)\)", TEXT) == ["schedules.svg"]
    for name in ["models/schedules.svg", *re.findall(r"`(tests/[\w/]+\.py)`", TEXT)]:
        assert (ROOT / name).exists(), name
