"""Logs in this process do not drive every append to the disk: hundreds of tests would wait for a busy one, and none of them
takes the machine's power away. Processes that tests start do as users' do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.logs import sqlite
from tests.hpo.commands import Commands, build_studies


@pytest.fixture(scope="session", autouse=True)
def appends_in_memory_of_the_system() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "SYNCHRONOUS", "OFF")
        yield


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    """Runs `hpo` in this process."""
    return Commands(capsys)


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real studies, for reading only."""
    return build_studies(tmp_path_factory.mktemp("studies"))


@pytest.fixture
def place(name: str, tmp_path: Path) -> Iterator[Path]:
    """Where the logs of a parametrized back end stand; what they left in a database goes at the end."""
    from tests.hpo.servers import home

    with home(name, tmp_path):
        yield tmp_path
