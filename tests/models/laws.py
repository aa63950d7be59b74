"""The laws of a Run as an inheritable test class: whoever writes a Run makes one and inherits them.

class TestMyRun(RunLaws):
    horizon, half = 96, 48                       # in the run's unit; half is a budget a run can pause at
    diverging = {"lr": 1e30, "clip": 0.0}        # overrides under which the loss stops being finite

    def make(self, overrides): return MyRun(base | overrides, ...)
"""

import threading
from collections.abc import Callable, Mapping
from math import isfinite, isnan
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch

Reply = tuple[dict[str, float], list[tuple[int, float]]]


class Run(Protocol):
    def advance(self, until: int, checkpoint: Callable[[], None] | None = None) -> Reply: ...
    def save(self, path: str | Path) -> None: ...
    def load(self, path: str | Path) -> None: ...
    def adopt(self, path: str | Path) -> None: ...


def timeless(reply: Reply) -> Reply:
    """A reply without what the clock put into it."""
    metrics = {name: value for name, value in reply[0].items() if name not in ("seconds", "tokens_per_second")}
    return metrics, list(reply[1])


def state(run: Run, folder: Path) -> bytes:
    """All that a run would save: two runs are equal when these bytes are."""
    run.save(folder / "state")
    return (folder / "state").read_bytes()


class RunLaws:
    horizon: int
    half: int
    diverging: Mapping[str, Any] = {"lr": 1e30, "clip": 0.0, "warmup": 0}
    busy: Mapping[str, Any] = {"eval_every": 2, "patience": 3, "ema": 0.9, "noise_every": 3}  # much goes on beside the training
    stopping: Mapping[str, Any] = {"lr": 0.0, "eval_every": 2, "patience": 2}  # under which a run ends early

    def make(self, overrides: Mapping[str, Any]) -> Run:
        raise NotImplementedError

    def test_pause_and_resume_bit_for_bit(self, tmp_path: Path) -> None:
        whole = self.make({})
        expected = whole.advance(2 * self.half)
        first = self.make({})
        _, way = first.advance(self.half)
        first.save(tmp_path / "half")
        second = self.make({})
        second.load(tmp_path / "half")
        reply = second.advance(2 * self.half)
        assert timeless(reply)[0] == timeless(expected)[0]
        assert reply[1] == [point for point in expected[1] if point[0] > way[-1][0]]
        assert state(second, tmp_path) == state(whole, tmp_path)

    @pytest.mark.parametrize("is_busy", [False, True])
    def test_saving_between_any_two_steps_changes_no_bit(self, is_busy: bool, tmp_path: Path) -> None:
        overrides = self.busy if is_busy else {}
        whole, run = self.make(overrides), self.make(overrides)
        expected = whole.advance(2 * self.half)
        parts: list[Path] = []

        def checkpoint() -> None:
            parts.append(tmp_path / f"part {len(parts)}")
            run.save(parts[-1])

        assert timeless(run.advance(2 * self.half, checkpoint)) == timeless(expected)
        assert state(run, tmp_path) == state(whole, tmp_path)
        assert len(parts) > 3
        for part in (parts[0], parts[len(parts) // 2], parts[-1]):
            heir = self.make(overrides)
            heir.load(part)
            assert timeless(heir.advance(2 * self.half)) == timeless(expected)
            assert state(heir, tmp_path) == state(whole, tmp_path)

    def test_advancing_in_parts_changes_nothing(self, tmp_path: Path) -> None:
        whole, parts = self.make({}), self.make({})
        expected = whole.advance(2 * self.half)
        for until in (self.half // 3, self.half, self.half, self.half + 1):
            parts.advance(until)
        reply = parts.advance(2 * self.half)
        assert timeless(reply)[0] == timeless(expected)[0]
        assert state(parts, tmp_path) == state(whole, tmp_path)

    def test_advancing_to_the_same_place_trains_nothing(self, tmp_path: Path) -> None:
        run = self.make({})
        first = run.advance(self.half)
        before = state(run, tmp_path)
        again = run.advance(self.half)
        assert timeless(again)[0] == timeless(first)[0]
        assert state(run, tmp_path) == before

    def test_a_clone_trains_with_its_own_learning_rate(self, tmp_path: Path) -> None:
        parent = self.make({"lr": 1e-2})
        parent.advance(self.half)
        parent.save(tmp_path / "parent")
        states = []
        for lr in (1e-2, 1e-4):
            clone = self.make({"lr": lr})
            clone.load(tmp_path / "parent")
            clone.advance(2 * self.half)
            states.append(state(clone, tmp_path))
        parent.advance(2 * self.half)
        assert states[0] == state(parent, tmp_path)
        assert states[1] != states[0]

    def test_a_clone_pauses_and_resumes_bit_for_bit(self, tmp_path: Path) -> None:
        parent, whole, first, second = (self.make({"lr": lr}) for lr in (1e-2, 1e-3, 1e-3, 1e-3))
        parent.advance(self.half)
        parent.save(tmp_path / "parent")
        for clone in (whole, first):
            clone.adopt(tmp_path / "parent")
        expected = whole.advance(2 * self.half)
        first.advance(self.half + self.half // 2)
        first.save(tmp_path / "later")
        second.load(tmp_path / "later")
        assert timeless(second.advance(2 * self.half))[0] == timeless(expected)[0]
        assert state(second, tmp_path) == state(whole, tmp_path)

    @pytest.mark.parametrize("way", ["load", "adopt"])
    def test_a_clone_of_a_run_that_stopped_trains_on_and_a_resumed_one_stays_stopped(
        self, way: str, tmp_path: Path
    ) -> None:
        donor, resumed = self.make(self.stopping), self.make(self.stopping)
        stopped = donor.advance(2 * self.half)[0]
        donor.save(tmp_path / "stopped")
        resumed.load(tmp_path / "stopped")
        assert resumed.advance(2 * self.half)[0]["steps"] == stopped["steps"]
        clone, alone = (self.make({**self.stopping, "lr": 1e-2, "patience": 0}) for _ in range(2))
        getattr(clone, way)(tmp_path / "stopped")
        trained, full = clone.advance(2 * self.half)[0], alone.advance(2 * self.half)[0]
        assert trained["steps"] == full["steps"] > stopped["steps"]
        patient = self.make({**self.stopping, "lr": 1e-5})  # with a patience of its own, that begins anew
        getattr(patient, way)(tmp_path / "stopped")
        assert patient.advance(2 * self.half)[0]["steps"] > stopped["steps"]

    def test_interleaved_runs_equal_each_alone(self, tmp_path: Path) -> None:
        alone = [self.make({"lr": lr}) for lr in (1e-2, 1e-3)]
        for run in alone:
            run.advance(2 * self.half)
        mixed = [self.make({"lr": lr}) for lr in (1e-2, 1e-3)]
        for until in (self.half // 2, self.half, 2 * self.half):
            for run in mixed:
                torch.rand(3)  # somebody else uses the global generator
                run.advance(until)
        assert [state(run, tmp_path) for run in mixed] == [state(run, tmp_path) for run in alone]

    def test_runs_in_two_threads_equal_each_alone(self, tmp_path: Path) -> None:
        alone = [self.make({"lr": lr}) for lr in (1e-2, 1e-3)]
        together = [self.make({"lr": lr}) for lr in (1e-2, 1e-3)]
        for run in alone:
            run.advance(self.half)
        threads = [threading.Thread(target=run.advance, args=(self.half,)) for run in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [state(run, tmp_path) for run in together] == [state(run, tmp_path) for run in alone]

    def test_the_global_generator_is_left_alone(self) -> None:
        before = torch.get_rng_state()
        self.make({}).advance(self.half)
        assert torch.equal(torch.get_rng_state(), before)

    def test_divergence_is_a_result_and_stays_one(self, tmp_path: Path) -> None:
        run = self.make(self.diverging)
        metrics, curve = run.advance(self.half)
        assert isnan(metrics["loss"])
        assert all(isfinite(loss) for _, loss in curve)
        run.save(tmp_path / "diverged")
        steps = metrics["steps"]
        heir = self.make(self.diverging)
        heir.load(tmp_path / "diverged")
        for later in (run, heir):
            metrics, _ = later.advance(2 * self.half)
            assert isnan(metrics["loss"])
            assert metrics["steps"] == steps

    @pytest.mark.parametrize("damage", ["empty", "text", "half", "one byte short", "flipped bit", "flipped header"])
    def test_a_damaged_checkpoint_is_refused_and_changes_nothing(self, tmp_path: Path, damage: str) -> None:
        donor = self.make({})
        donor.advance(self.half)
        whole = state(donor, tmp_path)
        (tmp_path / "damaged").write_bytes(damaged(whole, damage))
        run = self.make({})
        before = state(run, tmp_path)
        for take in (run.load, run.adopt):
            with pytest.raises(ValueError, match="damaged"):
                take(tmp_path / "damaged")
        assert state(run, tmp_path) == before

    def test_a_missing_checkpoint_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            self.make({}).load(tmp_path / "nowhere")

    def test_budgets_beyond_the_horizon_or_behind_the_run_are_refused(self) -> None:
        run = self.make({})
        with pytest.raises(ValueError, match=f"horizon, {self.horizon}"):
            run.advance(self.horizon + 1)
        run.advance(self.half)
        with pytest.raises(ValueError, match="already"):
            run.advance(0)


def damaged(whole: bytes, how: str) -> bytes:
    """The bytes of a checkpoint, damaged in one of several ways."""
    flip = {"flipped bit": len(whole) // 2, "flipped header": 60}
    if how in flip:
        place = flip[how]
        return whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]
    return {"empty": b"", "text": b"not a checkpoint", "half": whole[: len(whole) // 2], "one byte short": whole[:-1]}[
        how
    ]
