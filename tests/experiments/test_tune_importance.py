"""Sobol indices: right on functions whose indices are known, deterministic, honest about too few results."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments import figures
from experiments.importance import Importance, importance, seen, sobol_indices
from hpo import ASHA, Categorical, Float, History, Random, Space, Study
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
    few = seen(told(space, 4, lambda c: c["a"]), space)
    assert few is not None and len(few.losses) == 4 and few.needed == 5
    assert few.correlation["a"] == pytest.approx(1.0) and next(iter(few.values)) == "a" and few.correlation["kind"] == 0.0
    assert few.losses == few.values["a"]
    assert all(f">{name}<" in figures.seen(few, space) for name in ("a", "b", "kind", "x", "y"))
    assert seen(told(space, 3, lambda c: float("nan")), space) is None, "failures say nothing of values"


class Watching:
    """What a picture was drawn with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.figures: list[Figure] = []
        monkeypatch.setattr(figures, "svg", lambda figure, name, title: self.figures.append(figure) or "")


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
