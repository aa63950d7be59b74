"""Sobol indices: right on functions whose indices are known, deterministic, honest about too few results."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments import figures
from experiments.importance import Importance, Seen, importance, seen, sobol_indices
from hpo import ASHA, Categorical, Float, History, Int, Random, Space, Study
from surrogates import GaussianProcess, fit, standardise

SPACE = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), none=Float(0, 1))


def told(space: Space, n: int, loss) -> History:  # type: ignore[no-untyped-def]
    optimizer = Random(space, seed=0)
    for _ in range(n):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, loss(job.config))
    return optimizer.history


def additive(config: dict[str, float]) -> float:
    return 4 * config["a"] + 2 * config["b"] + 1 * config["c"]


def found(n: int = 60) -> Importance:
    result = importance(told(SPACE, n, additive), SPACE)
    assert result is not None
    return result


def test_additive_function_has_its_known_indices() -> None:
    result = found()
    shares = {"a": 16 / 21, "b": 4 / 21, "c": 1 / 21, "none": 0.0}
    assert list(result.total)[:3] == ["a", "b", "c"]
    for name, share in shares.items():
        assert result.first[name] == pytest.approx(share, abs=0.03)
        assert result.total[name] == pytest.approx(share, abs=0.03)
    assert result.explained > 0.95
    assert (result.until, result.results) == (1, 60)


def test_the_same_results_give_the_same_indices() -> None:
    assert found(30) == found(30)


def test_interactions_are_in_the_total_only() -> None:
    rows = SPACE.domain.sobol(1, 120)
    z = standardise((rows[:, 0] - 0.5) * (rows[:, 1] - 0.5)).z
    gp = GaussianProcess(SPACE.domain, rows, z, fit(rows, z, SPACE.domain, 0))
    first, total = sobol_indices(gp, SPACE.domain)
    assert first.max() < 0.08
    assert (total[:2] > 0.85).all()
    assert (total[2:] < 0.08).all()


def test_marginal_effects_are_in_units_of_the_loss() -> None:
    effect = found().effects[0]
    assert effect.name == "a"
    assert effect.losses[-1] - effect.losses[0] == pytest.approx(4.0, rel=0.15)
    assert np.all(np.diff(effect.losses) > 0)


def test_conditional_parameters_count_where_they_are_active() -> None:
    space = Space(kind=Categorical(["plain", "deep"]), deep=Float(0, 1, when={"kind": "deep"}), other=Float(0, 1))
    result = importance(told(space, 60, lambda c: 3 * c.get("deep", 0.0)), space)
    assert result is not None
    assert result.total["deep"] > 0.3
    assert result.total["other"] < 0.03
    assert all(np.isfinite(effect.losses).all() for effect in result.effects)


def test_too_few_results_and_equal_losses_say_nothing() -> None:
    assert importance(told(SPACE, 5, additive), SPACE) is None
    assert importance(told(SPACE, 20, lambda c: 1.0), SPACE) is None
    assert importance(told(SPACE, 0, additive), SPACE) is None


def test_failures_do_no_harm() -> None:
    result = importance(told(SPACE, 40, lambda c: float("nan") if c["c"] > 0.9 else additive(c)), SPACE)
    assert result is not None
    assert next(iter(result.total)) == "a"


def test_below_a_model_the_results_themselves_are_shown() -> None:
    """From two results on, up to where a model begins: every value with its loss, and which way a number points."""
    space = Space(a=Float(0, 1), b=Float(0, 1), kind=Categorical(["x", "y"]))
    assert seen(told(space, 1, lambda c: c["a"]), space) is None
    less = seen(told(space, 3, lambda c: c["a"]), space)
    assert less is not None and not any(less.correlation.values()), "three results always seem to go along"
    few = seen(told(space, 6, lambda c: c["a"]), space)
    assert few is not None and len(few.losses) == 6 and few.needed == 5
    assert few.correlation["a"] == pytest.approx(1.0) and next(iter(few.values)) == "a" and few.correlation["kind"] == 0.0
    assert few.losses == few.values["a"]
    assert all(f">{name}<" in figures.seen(few, space) for name in ("a", "b", "kind", "x", "y"))
    assert seen(told(space, 3, lambda c: float("nan")), space) is None, "failures say nothing of values"


class Watching:
    """What a picture was drawn with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.figures: list[Figure] = []
        monkeypatch.setattr(figures, "svg", lambda figure, name, title: self.figures.append(figure) or "")


RANGES = Space(lr=Float(3e-4, 3e-2, log=True), beta2=Float(0.9, 0.999), batch=Int(2, 32, log=True), layers=Int(1, 4),
               hidden=Int(32, 96, step=16), kind=Categorical(["adamw", "sgd"]), heads=Categorical([1, 2, 4, 8]),
               schedule=Categorical(["cosine", "linear", "constant", "exponential", "wsd"]))  # fmt: skip


@pytest.mark.parametrize("losses", [[2.5553, 2.4046, 3.2725], [2.4, 2.4], [2.1, 2.2, 2.15, 2.3, 2.2, 2.1, 4.0]])
def test_every_result_that_did_not_diverge_is_in_the_panels_and_labels_have_room(losses: list[float]) -> None:
    """Three results are enough to see: none is cut off, whole numbers have whole labels, no two labels lie on one another."""
    left = iter(losses)
    few = seen(told(RANGES, len(losses), lambda c: next(left)), RANGES)
    assert few is not None
    with pytest.MonkeyPatch.context() as patch:
        watching = Watching(patch)
        figures.seen(few, RANGES)
    figure = watching.figures[0]
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
        assert all(axes.get_xlim()[0] <= x <= axes.get_xlim()[1] for x, _ in points.get_offsets())


def test_what_diverged_is_counted_above_the_picture() -> None:
    with pytest.MonkeyPatch.context() as patch:
        watching = Watching(patch)
        figures.seen(Seen(1, (2.4, 2.5, 1e6), {"a": (0.1, 0.2, 0.3)}, {"a": 0.0}, 9), SPACE)
    axes = watching.figures[0].axes[0]
    assert axes.get_ylim()[1] < 3.0 and [text.get_text() for text in axes.texts] == ["1 result above"]


def test_the_curve_of_the_default_is_in_the_picture_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(ASHA(Random(SPACE, seed=0), 1, 9, 3), unit="tokens")
    study.optimizer.enqueue(dict.fromkeys(SPACE.columns, 0.5))
    for _ in range(20):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, 2.4 + 0.01 * job.trial if job.trial else 2.7 / job.until**0.05 + 1.0)
    watching = Watching(monkeypatch)
    start = [(1.0, 3.7), (9.0, 2.6)]
    figures.curves(study, study.best.key, start)
    low, high = watching.figures[0].axes[0].get_ylim()
    assert low <= 2.4 and high >= 3.7


@pytest.mark.parametrize("jump", [0.0, 1.0, 5.0, 1e6])
def test_the_best_so_far_stays_in_the_frame_when_a_higher_rung_opens(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trial of each rung does much worse than what leads below it."""
    study = Study(ASHA(Random(SPACE, seed=0), 1, 27, 3), unit="tokens")
    for _ in range(40):
        job = study.optimizer.ask()
        assert job is not None
        first = job.until > 1 and not study.history.at(job.until)
        study.optimizer.tell(job, additive(job.config) / 10 + 2.0 + jump * first)  # type: ignore[arg-type]
    watching = Watching(monkeypatch)
    figures.progress(study, (27.0, 2.5))
    axes = watching.figures[0].axes[0]
    line = next(line for line in axes.lines if line.get_label() == "best so far")
    low, high = axes.get_ylim()
    assert all(low <= y <= high for y in line.get_ydata()) and low <= 2.5 <= high
    assert high - low < 10 * 0.7, "and what is to be told apart still can be"
