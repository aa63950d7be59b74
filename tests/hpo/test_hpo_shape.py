"""What may change during training: found by real clones of a small network, before the header is written and never after."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo import PB2, PBT, Categorical, Const, Finals, Float, Inline, Int, Lost, Random, Space, Study
from hpo.job import Job
from hpo.optimizers import pbt, shape
from hpo.rng import stream

SPACE = Space(
    width=Int(2, 6), layers=Int(1, 3), activation=Categorical(["relu", "tanh"]), lr=Float(1e-3, 1.0, log=True),
    optimizer=Categorical(["sgd", "adam"]), momentum=Float(0.0, 0.9, when={"optimizer": "sgd"}),
    beta=Float(0.5, 0.9, when={"optimizer": "adam"}), scale=Const(0.5),
)  # fmt: skip
CHANGEABLE = ("activation", "lr", "momentum", "beta")  # adam's moments are not in sgd's checkpoint, nor the other way round
X = np.random.default_rng(0).normal(size=(32, 3))
Y = np.sin(X.sum(1, keepdims=True))


class Net:
    """A network by numpy; its checkpoint holds its weights and the moments of its optimizer."""

    built = 0

    def __init__(self, config: Mapping[str, Any], seed: int, horizon: int) -> None:
        type(self).built += 1
        rng, sizes = np.random.default_rng(seed), [3, *[config["width"]] * config["layers"], 1]
        self.config, self.epoch = config, 0
        self.state = {f"w{i}": config["scale"] * rng.normal(size=pair) for i, pair in enumerate(pairwise(sizes))}
        kind = "m" if config["optimizer"] == "sgd" else "v"
        self.state |= {f"{kind}{name}": np.zeros_like(value) for name, value in self.state.items()}

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        curve = []
        while self.epoch < until:
            self.epoch += 1
            curve.append((self.epoch, self._step()))
        return {"loss": curve[-1][1]}, curve  # as many people write it: nothing to train is an IndexError

    def _step(self) -> float:
        weights = [self.state[f"w{i}"] for i in range(self.config["layers"] + 1)]
        act = np.tanh if self.config["activation"] == "tanh" else lambda z: np.maximum(z, 0.0)
        outputs = [X]
        for weight in weights:
            outputs.append(act(outputs[-1] @ weight) if weight is not weights[-1] else outputs[-1] @ weight)
        back = 2 * (outputs[-1] - Y) / len(X)
        for i in reversed(range(len(weights))):
            gradient, back = outputs[i].T @ back, back @ weights[i].T
            back = back * ((1 - outputs[i] ** 2) if self.config["activation"] == "tanh" else outputs[i] > 0)
            self._update(f"w{i}", gradient)
        return float(((outputs[-1] - Y) ** 2).mean())

    def _update(self, name: str, gradient: np.ndarray) -> None:
        if self.config["optimizer"] == "sgd":
            moment = self.state[f"m{name}"] = self.config["momentum"] * self.state[f"m{name}"] + gradient
            step = moment
        else:
            moment = self.state[f"v{name}"] = self.config["beta"] * self.state[f"v{name}"] + gradient**2
            step = gradient / (np.sqrt(moment) + 1e-3)
        self.state[name] = self.state[name] - 0.1 * self.config["lr"] * np.clip(step, -1, 1)

    def save(self, path: str) -> None:
        with open(path, "wb") as file:
            np.savez(file, epoch=self.epoch, **self.state)

    def load(self, path: str) -> None:
        with np.load(path) as saved:
            self.epoch = int(saved["epoch"])
            for name, value in self.state.items():
                value[...] = saved[name]  # another shape is a ValueError, a missing moment a KeyError


def small(cls: type[PBT] = PBT, **options: Any) -> PBT:
    return cls(Random(SPACE, seed=1), population=6, generations=4, max_resource=8, **options)


def search(optimizer: Any, objective: Any = Net, **options: Any) -> Study:
    return hpo.minimize(objective, SPACE, optimizer, quiet=True, **options)


def lost_clones(study: Study) -> int:
    history = study.history
    assert history.adopted, "there are clones"
    return sum(history.is_failure(history.trials[trial][0]) for trial in history.adopted)


# -- a real run is asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [PBT, PB2])
def test_the_shape_of_a_real_run_is_found_and_no_clone_is_lost(cls: type[PBT]) -> None:
    study = search(small(cls))
    assert study.header.optimizer["explore"] == list(CHANGEABLE)
    assert len(study.history.results) == 24 and lost_clones(study) == 0


def test_the_default_call_loses_no_clone() -> None:
    study = search("pbt", horizon=20)
    assert study.header.optimizer["explore"] == list(CHANGEABLE) and study.header.optimizer["max_resource"] == 20
    assert len(study.history.results) == 80 and lost_clones(study) == 0


@pytest.mark.filterwarnings("ignore")
def test_without_asking_clones_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error that the tests above see: everything counts as changeable."""
    monkeypatch.setattr(pbt, "list_changeable", lambda space, executor, names, ends, seed: list(names))
    assert lost_clones(search(small())) > 0


def test_real_processes_are_asked() -> None:
    assert small().adapt(Net, pool=partial(hpo.Processes, Net, 8, workers=2)).explore == CHANGEABLE


def test_finals_pass_the_question_on() -> None:
    finals = Finals(small(), keep=1)
    adapted = finals.adapt(Net)
    assert adapted.describe()["optimizer"]["explore"] == list(CHANGEABLE) and adapted.describe()["keep"] == 1
    inner = {**small().describe(), "explore": ["lr"]}
    for described in ({"name": "Finals", "optimizer": inner}, inner):  # finals from the beginning, and finals that came later
        assert finals.adapt(Net, described).describe()["optimizer"]["explore"] == ["lr"]


class Lazy(Net):
    """Takes its width from the checkpoint, and only training shows that layers are missing."""

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        assert len(self.state) == 2 * (self.config["layers"] + 1)
        return super().advance(until)

    def load(self, path: str) -> None:
        with np.load(path) as saved:
            self.epoch, self.state = int(saved["epoch"]), {name: saved[name] for name in saved.files if name != "epoch"}


def test_what_fails_only_when_it_trains_is_found_too() -> None:
    explore = small().adapt(Lazy).explore
    assert explore is not None and set(explore) == {*CHANGEABLE, "width"}, "a loaded width goes on as it was"


class Fragile(Net):
    """Diverges with a high rate, with or without a clone, and at its second epoch only."""

    def _step(self) -> float:
        if self.config["lr"] > 0.1 and self.epoch > 1:
            raise FloatingPointError("diverged")
        return super()._step()


@pytest.mark.parametrize("seed", range(4))
def test_a_configuration_that_fails_by_itself_is_no_shape(seed: int) -> None:
    optimizer = PBT(Random(SPACE, seed=seed), population=6, generations=4, max_resource=8)
    assert optimizer.adapt(Fragile).explore == CHANGEABLE


class Coarse(Net):
    """Reports nothing below its fourth epoch."""

    def advance(self, until: int) -> tuple[dict[str, float], list[tuple[int, float]]]:
        metrics, curve = super().advance(until)
        return metrics, [curve[3 - (self.epoch - len(curve)) :][0]] if self.epoch >= 4 else [][0]


def test_where_a_unit_is_too_little_a_generation_is_trained() -> None:
    optimizer = PBT(Random(SPACE, seed=1), population=6, generations=2, max_resource=10)
    assert optimizer.adapt(Coarse).explore == CHANGEABLE


def test_where_nothing_trains_nothing_is_known() -> None:
    def broken(config: Any, seed: int, horizon: int) -> Any:
        raise RuntimeError("no data")

    optimizer = small()
    with pytest.warns(UserWarning, match="PBT could not find out what may change during training"):
        assert optimizer.adapt(broken) is optimizer


# -- when nobody is asked -------------------------------------------------------------------------------------------------


def builds(optimizer: PBT, objective: Any = Net, described: Any = None) -> int:
    before = Net.built
    optimizer.adapt(objective, described)
    return Net.built - before


def test_who_says_it_is_not_asked() -> None:
    declared = type("Declared", (Net,), {"explore": ("lr", "elsewhere")})
    assert builds(small()) > 10
    assert builds(small(), declared) == builds(small(explore=["lr"])) == 0
    assert builds(PBT(Random(SPACE), generations=1)) == 0, "without a second generation nothing is cloned"
    assert builds(small(explore={name: "usual" for name in SPACE.parameters if name != "scale"})) == 0, "a constant is not open"
    still = PBT(Random(Space(a=Float(1.0, 1.0), b=Categorical(["x"]))))
    assert builds(still) == 0 and still.adapt(Net).explore == (), "nothing can change"
    assert small().adapt(declared).explore == ("lr",)


def test_functions_and_samplers_are_not_asked() -> None:
    calls: list[Any] = []
    with pytest.raises(ValueError, match=r"PBT stops trials at rungs, but f\(config\) has one budget"):
        search("pbt", calls.append)
    with pytest.raises(ValueError, match=r"PBT clones trials, but f\(config, report\) cannot be cloned"):
        search("pbt", lambda config, report: calls.append(config))
    before = Net.built
    study = search("asha", horizon=2, trials=3)
    assert not calls and Net.built - before <= len(study.history.results)


def test_a_line_says_that_clones_are_tried(capsys: pytest.CaptureFixture[str]) -> None:
    first = "clones are tried first, since the objective has no attribute `explore` that says what may change\n"
    hpo.minimize(Net, SPACE, small(), trials=0)
    assert capsys.readouterr().out.startswith(first)
    hpo.minimize(Net, SPACE, small(explore=["lr"]), trials=0)
    search(small(), trials=0)
    assert "clones" not in capsys.readouterr().out


def test_a_study_that_is_resumed_asks_nobody(tmp_path: Path) -> None:
    first = search(small(), log=tmp_path / "s.sqlite")
    before = Net.built
    again = search(small(), log=tmp_path / "s.sqlite")
    assert Net.built == before and again.header == first.header and again.history.jobs == first.history.jobs


def test_a_study_that_began_when_everything_was_explored_goes_on_so(tmp_path: Path) -> None:
    """Headers of older studies hold `explore: null`; the same call opens them."""
    old = Study(small(), log=tmp_path / "s.sqlite")
    old.history.log.close()
    before = Net.built
    study = search(small(), log=tmp_path / "s.sqlite", trials=0)
    assert study.header.optimizer["explore"] is None and study.optimizer.describe() == old.optimizer.describe()
    assert Net.built == before


def test_rules_of_some_leave_the_others_to_be_asked(tmp_path: Path) -> None:
    def ruled() -> PBT:
        return small(explore={"lr": hpo.Factors(0.5, 2.0), "beta": "fixed"})

    study = search(ruled(), log=tmp_path / "s.sqlite")
    expected = {**dict.fromkeys(SPACE.parameters, "fixed"), "lr": {"factors": [0.5, 2.0]},
                **dict.fromkeys(["activation", "momentum"], "usual")}  # fmt: skip
    assert study.header.optimizer["explore"] == expected and lost_clones(study) == 0
    before = Net.built
    assert search(ruled(), log=tmp_path / "s.sqlite").header == study.header and Net.built == before
    assert hpo.load(tmp_path / "s.sqlite").optimizer.describe() == study.optimizer.describe()
    with pytest.raises(ValueError, match=r"explore.lr was .*'factors'.* and is now 'fixed'"):
        search(small(explore={"lr": "fixed"}), log=tmp_path / "s.sqlite")


# -- single promises -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("near", [0.0, 0.5, 1.0])
def test_a_pair_differs_in_its_hyperparameter_and_what_depends_on_it(near: float) -> None:
    names = [name for name, spec in SPACE.parameters.items() if not isinstance(spec, Const)]
    pairs = list(shape.draw_pairs(SPACE, names, stream(0, 0, "x"), near))
    assert {pair.name for pair in pairs} == set(names)
    assert len({id(pair.donor) for pair in pairs}) == 2, "one with each optimizer"
    for pair in pairs:
        differ = {name for name in SPACE.parameters if pair.donor.get(name) != pair.clone.get(name)}
        assert pair.name in differ and differ <= {pair.name} | ({"momentum", "beta"} if pair.name == "optimizer" else set())
        assert SPACE.check(pair.clone) == pair.clone
    rates = [(pair.donor["lr"], pair.clone["lr"]) for pair in pairs if pair.name == "lr"]
    assert [clone > donor for donor, clone in rates] == [False, True]
    spread = SPACE.parameters["lr"].encode(rates[1][1]) - SPACE.parameters["lr"].encode(rates[0][1])
    assert spread == pytest.approx({0.0: 1.0, 0.5: spread, 1.0: 0.25}[near])


def test_a_change_that_breaks_a_constraint_is_not_tried() -> None:
    space = Space(hidden=Int(1, 8), heads=Int(1, 8), constraints=[lambda c: c["hidden"] % c["heads"] == 0])
    for number in range(20):
        for pair in shape.draw_pairs(space, ["hidden", "heads"], stream(number, 0, "x")):
            assert space.is_feasible(pair.clone) and space.is_feasible(pair.donor)


class Losing(Inline):
    """Loses every clone of another width."""

    def wait(self, timeout: float | None = None) -> Any:
        outcome = super().wait(timeout)
        job: Job = outcome[0]  # type: ignore[index]
        return (job, Lost("worker", "killed")) if job.source is not None and job.config["activation"] == "tanh" else outcome


def test_a_clone_that_kills_its_worker_has_failed() -> None:
    explore = small().adapt(Net, pool=lambda: Losing(Net, 8)).explore
    assert explore is not None and "activation" not in explore
