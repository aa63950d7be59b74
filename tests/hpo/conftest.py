"""Logs in this process do not drive every append to the disk: hundreds of tests would wait for a busy one, and none of them
takes the machine's power away. Processes that tests start do as users' do."""

from collections.abc import Iterator

import pytest

from hpo.logs import sqlite


@pytest.fixture(scope="session", autouse=True)
def appends_in_memory_of_the_system() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "SYNCHRONOUS", "OFF")
        yield
