"""What the pictures show: every result that did not diverge, labels that have room, both ways of being better."""

from itertools import pairwise
from typing import Any

import pytest

from hpo import ASHA, Categorical, Float, Int, Random, Space, Study
from hpo.analysis.axes import highest_shown
from hpo.analysis.figures import draw_history
from tests.hpo.test_hpo_analysis_importance import SPACE, additive

RANGES = Space(lr=Float(3e-4, 3e-2, log=True), beta2=Float(0.9, 0.999), batch=Int(2, 32, log=True), layers=Int(1, 4),
               hidden=Int(32, 96, step=16), kind=Categorical(["adamw", "sgd"]), heads=Categorical([1, 2, 4, 8]),
               schedule=Categorical(["cosine", "linear", "constant", "exponential", "wsd"]))  # fmt: skip


def told(space: Space, losses: list[float], **header: Any) -> Study:
    study = Study(Random(space, seed=0), **header)
    for loss in losses:
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, loss)
    return study


@pytest.mark.parametrize("losses", [[2.5553, 2.4046, 3.2725], [2.4, 2.4], [2.1, 2.2, 2.15, 2.3, 2.2, 2.1, 4.0], [0.0, -3.0]])
def test_every_result_that_did_not_diverge_is_in_the_panels_and_labels_have_room(losses: list[float]) -> None:
    """Three results are enough to see: none is cut off, whole numbers have whole labels, no two labels lie on one another."""
    figure = told(RANGES, losses).plot.slices()
    figure.draw_without_rendering()
    panels = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_visible()}
    assert set(panels) == set(RANGES.columns)
    assert [text.get_text() for text in panels["layers"].get_xticklabels()] == ["1", "2", "3", "4"]
    for axes in panels.values():
        low, high = axes.get_ylim()
        assert all(low <= loss <= high for loss in losses)
        if axes.get_xlabel() == "schedule":  # turned, each ends at its own place
            assert all(text.get_ha() == "right" and text.get_rotation() for text in axes.get_xticklabels())
            continue
        boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
        assert len(boxes) >= 2 and all(one.x1 < other.x0 for one, other in pairwise(boxes))
        (points,) = axes.collections
        assert len(points.get_offsets()) == len(losses)
        assert all(axes.get_xlim()[0] <= x <= axes.get_xlim()[1] for x, _ in points.get_offsets())


@pytest.mark.parametrize(("direction", "sign", "words"), [("min", 1.0, "1 result above"), ("max", -1.0, "1 result below")])
def test_what_diverged_is_counted_outside_the_picture(direction: str, sign: float, words: str) -> None:
    study = told(SPACE, [sign * 2.4, sign * 2.5, sign * 1e6], objectives={"value": direction})
    for figure in (study.plot.slices(), study.plot.history()):
        axes = figure.axes[0]
        assert max(map(abs, axes.get_ylim())) < 3.0 and [text.get_text() for text in axes.texts] == [words]


def test_of_few_results_only_what_is_far_off_has_diverged() -> None:
    assert highest_shown([1.0, 1.1, 3.9]) == 3.9 and highest_shown([1.0, 1.1, 40.0]) == 1.1
    assert highest_shown([0.001, 5.0, 10.0]) == 10.0, "a good result near 0 makes nobody else diverged"
    assert highest_shown([float(n) for n in range(101)]) == 90.0


def test_the_curve_of_the_default_is_in_the_picture_from_its_beginning() -> None:
    study = Study(ASHA(Random(SPACE, seed=0), 1, 9, 3), unit="tokens")
    study.optimizer.enqueue(dict.fromkeys(SPACE.columns, 0.5))
    for _ in range(20):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, 2.4 + 0.01 * job.trial if job.trial else 3.7 / job.until**0.16)
    figure = study.plot.curves()
    low, high = figure.axes[0].get_ylim()
    assert low <= 2.4 and high >= 3.7
    labels = {line.get_label() for line in figure.axes[0].lines}
    assert "default" in labels or study.best.number == 0


@pytest.mark.parametrize("jump", [0.0, 1.0, 5.0, 1e6])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_best_so_far_stays_in_the_frame_when_a_higher_rung_opens(jump: float, direction: str) -> None:
    """The first trial of each rung does much worse than what leads below it."""
    sign = 1.0 if direction == "min" else -1.0
    study = Study(ASHA(Random(SPACE, seed=0), 1, 27, 3), unit="tokens", objectives={"value": direction})
    for _ in range(40):
        job = study.optimizer.ask()
        assert job is not None
        first = job.until > 1 and not study.history.at(job.until)
        study.optimizer.tell(job, sign * (additive(job.config) / 10 + 2.0 + jump * first))  # type: ignore[arg-type]
    axes = draw_history(study.plot.subject).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "best so far")
    low, high = axes.get_ylim()
    assert all(low <= y <= high for y in line.get_ydata())
    assert high - low < 10 * 0.7, "and what is to be told apart still can be"
    assert axes.get_xlabel() == "results", "no run has taken time"
