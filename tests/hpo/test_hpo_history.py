"""The history on its log: what it refuses, what it writes first, its prefixes and its clock."""

import pytest

from hpo import Float, History, Job, Manual, MemoryLog, Random, Result, Space, Study
from hpo.logs import Event
from tests.hpo.objectives import line
from tests.hpo.test_hpo_logs import start


def test_history_refuses_what_cannot_be() -> None:
    history = Study(Random(line())).history
    with pytest.raises(ValueError, match="until=2; allowed is 1 to the horizon 1"):
        history.start(Job(0, {"x": 0.5}, 2), 0)
    with pytest.raises(ValueError, match=r"job \(7, 1\) was never started here"):
        history.finish(Job(7, {"x": 0.5}, 1), Result({"loss": 1.0}))
    assert not history.lose(Job(7, {"x": 0.5}, 1)) and len(history) == 0


def test_a_log_of_another_space_is_refused_in_a_short_sentence() -> None:
    log = MemoryLog()
    Study(Random(Space({f"x{i}": Float(0, 1) for i in range(8)})), log=log)
    with pytest.raises(ValueError, match="the log belongs to another study") as caught:
        Study(Random(Space({f"x{i}": Float(0, 2 if i < 7 else 1) for i in range(8)}), seed=1), log=log)
    said = str(caught.value)
    assert said.count("is now") == 3 and said.endswith("is now [0, 2] and 5 more") and len(said) < 300
    with pytest.raises(ValueError, match=r"another study: optimizer.configs was .*\.\.\.; seed was 0 and is now 1$") as caught:
        refused = MemoryLog()
        Study(Manual(line(), configs=[{"x": i / 100} for i in range(100)]), log=refused)
        Study(Manual(line(), configs=[{"x": 0.5}], seed=1), log=refused)
    assert len(str(caught.value)) < 300


def test_the_log_is_written_before_memory_changes() -> None:
    class Full(MemoryLog):
        full = False

        def append(self, event: Event) -> None:
            if self.full:
                raise OSError("no space left on device")
            super().append(event)

    log = Full()
    study = Study(Random(line()), log=log)
    job = study.optimizer.ask()
    assert job is not None
    log.full, digest = True, study.history.digest
    for act in (study.optimizer.ask, lambda: study.optimizer.tell(job, 1.0), lambda: study.optimizer.lose(job),
                lambda: study.optimizer.add({"x": 0.1}, 1.0)):  # fmt: skip
        with pytest.raises(OSError):
            act()
    assert study.history.digest == digest and study.history.pending == {job.key: job}


def test_prefix_and_elapsed() -> None:
    history = History(Random(line()).header())
    for time, event in enumerate([Event("run", {}, 10.0), start(0), Event("run", {}, 100.0)]):
        history.log.append(Event(event.kind, event.body, 10.0 + time if time < 2 else 100.0))
    history.log.append(Event("finish", {"trial": 0, "until": 1, "result": Result({"loss": 1.0}).to_json()}, 103.0))
    history.refresh()
    assert history.elapsed_seconds() == 4.0  # one second before the break, three after it
    assert history.prefix(2).pending.keys() == {(0, 1)} and history.prefix(len(history)).digest == history.digest
