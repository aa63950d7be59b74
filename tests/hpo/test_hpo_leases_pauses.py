"""A driver that is stopped at a bad moment takes nobody for dead."""

from __future__ import annotations

import time

import pytest

from hpo.leases import Leases
from hpo.logs.base import Driver
from tests.hpo.test_hpo_leases import Aging, look, study_on


def test_who_is_stopped_while_he_looks_takes_nobody_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before a pause says nothing of the time since."""
    log, stopped = Aging(), [0.0]
    study = study_on(log)
    leases = Leases(study.history, study.history.run(), 60.0)
    clock, rows = time.monotonic, log.drivers

    def rows_and_a_pause() -> list[tuple[Driver, float | None]]:
        stopped[0], found = stopped[0] + 300.0, rows()  # SIGSTOP, and SIGCONT much later
        return found

    monkeypatch.setattr("hpo.leases.time.monotonic", lambda: clock() + stopped[0])
    log.rows[0] = Driver(0, "elsewhere/1/1", 7, 0, 60.0)
    assert look(leases) == {0}
    monkeypatch.setattr(log, "drivers", rows_and_a_pause)
    assert look(leases) == {0}, "its beat was here a moment before it was asked for"
    monkeypatch.setattr(log, "drivers", rows)
    assert look(leases) == set(), "and now it has been silent for more than its lease"
    log.rows[0] = Driver(0, "elsewhere/1/1", 8, 0, 60.0)
    monkeypatch.setattr(log, "drivers", rows_and_a_pause)
    assert look(leases) == {0}
    monkeypatch.setattr(log, "drivers", rows)
    assert look(leases) == {0}, "its silence counts from when the beat was here, after the pause"
    leases.close()
