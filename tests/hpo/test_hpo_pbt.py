"""PBT beside re-derivations from the events: who copies whom, what becomes of each hyperparameter, and who waits for whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import hpo
from hpo import PB2, PBT, Categorical, Const, Factors, Float, Int, Job, Random, Simulator, Space, Steps, Study, run
from hpo.job import Key, Result
from hpo.optimizers import exploration
from hpo.optimizers.exploration import describe_rule, read_rule
from hpo.optimizers.population import Slots
from hpo.testing import changed_jobs
from tests.hpo.examples import run_example

SPACE = Space(
    lr=Float(1e-4, 1.0, log=True), decay=Float(0.0, 0.5), drop=Float(0.0, 0.5, step=0.05), batch=Int(1, 64), width=Int(2, 9),
    kind=Categorical(list("abcdef")), norm=Categorical(list("xyz")), vocab=Const(3),
)  # fmt: skip
SIZES = [(4, 3, 1), (8, 5, 4), (12, 6, 16)]  # population, generations, workers
Patch = pytest.MonkeyPatch


def loss(config: Mapping[str, Any], until: int, seed: int) -> float:
    if seed % 11 == 0:
        raise ArithmeticError("diverged")
    return float(round((math.log10(config["lr"]) + 2) ** 2 + config["decay"] + seed % 7 / 3, 1))  # with ties


def population(
    size: int = 8, generations: int = 5, workers: int = 4, seed: int = 0, cls: type[PBT] = PBT, **options: Any
) -> Study:
    sampler, top = Random(SPACE, seed=seed), 5 * generations
    study = Study(cls(sampler, population=size, generations=generations, max_resource=top, **options))
    run(study, Simulator(loss, workers=workers, straggle=1.0, seed=workers))
    return study


def places(study: Study) -> dict[tuple[int, int], Job]:
    """By (slot, generation), the job of that place."""
    return {(job.note.member["slot"], job.note.member["generation"]): job for job in study.history.jobs.values()}


def clones(study: Study) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(configuration, donor's) of every clone."""
    jobs = study.history.jobs
    return [(job.config, jobs[job.source].config) for job in jobs.values()
            if job.source is not None and job.source[0] != job.trial]  # fmt: skip


# -- selection -----------------------------------------------------------------------------------------------------------


def check_truncation(study: Study, share: float) -> int:
    """Every verdict by the definition, from the losses alone; how many were copies. At quorum 1, so a generation is whole."""
    history, there, copies = study.history, places(study), 0
    size, generations = study.header.optimizer["population"], study.header.optimizer["generations"]
    for generation in range(1, generations):
        ends = [there[slot, generation] for slot in range(size)]
        losses = {job.key: history.losses(job.key)[0] for job in ends}
        count = math.ceil(share * size)
        ranked = sorted(losses, key=lambda key: (losses[key], key))
        best, worst = [key for key in ranked[:count] if losses[key] < math.inf], ranked[-count:]
        for slot, end in enumerate(ends):
            then = there[slot, generation + 1]
            if not best and losses[end.key] == math.inf:
                assert then.source is None
            elif end.key in worst or losses[end.key] == math.inf:
                assert then.source in best and then.trial not in {job.trial for job in ends}
                copies += 1
            else:
                assert then.source == end.key and then.trial == end.trial and then.config == end.config
    return copies


@pytest.mark.parametrize("size, generations, workers", SIZES)
def test_the_worst_copy_the_best(size: int, generations: int, workers: int) -> None:
    assert check_truncation(population(size, generations, workers), 0.25) >= (generations - 1) * size // 4
    assert check_truncation(population(size, generations, workers, truncation=0.5), 0.5) >= (generations - 1) * size // 2


def test_a_wrong_verdict_is_seen(monkeypatch: Patch) -> None:
    true = Slots.judge
    monkeypatch.setattr(Slots, "judge", lambda self, history, generation, truncation: true(self, history, generation, 0.4))
    with pytest.raises(AssertionError):
        check_truncation(population(), 0.25)


def check_tournaments(study: Study) -> int:
    """Nobody copies what is not better, and what has failed copies as long as anything succeeded; how many were copies."""
    history, there, copies = study.history, places(study), 0
    for (slot, generation), job in there.items():
        if generation == 1 or job.source is None:
            continue
        mine = there[slot, generation - 1].key
        assert job.source in {there[other, generation - 1].key for other in range(study.header.optimizer["population"])}
        if job.source != mine or job.trial != mine[0]:
            assert history.losses(job.source) < history.losses(mine)
            copies += 1
        else:
            assert not history.is_failure(mine)
    return copies


def copied_shares(rounds: int = 300, size: int = 5) -> np.ndarray:
    """How often each rank of a generation, the best first, was replaced by a copy."""
    found = np.zeros(size)
    for seed in range(rounds):
        study = Study(PBT(Random(SPACE, seed=seed), population=size, generations=2, max_resource=2, selection="tournament"))
        jobs = [study.optimizer.ask() for _ in range(size)]
        for place, job in enumerate(jobs):
            assert job is not None and study.optimizer.tell(job, float(place))
        for _ in range(size):
            then = study.optimizer.ask()
            assert then is not None
            found[then.note.member["slot"]] += then.trial >= size
    return found / rounds


def check_shares(shares: np.ndarray) -> None:
    """A random other one is better than rank k of n (from 0) with probability k / (n - 1). Six standard deviations."""
    expected = np.arange(5) / 4
    assert (np.abs(shares - expected) <= 6 * np.sqrt(expected * (1 - expected) / 300)).all(), shares


@pytest.mark.parametrize("size, generations, workers", SIZES)
@pytest.mark.parametrize("cls", [PBT, PB2])
def test_a_random_other_one_is_copied_if_it_is_better(cls: type[PBT], size: int, generations: int, workers: int) -> None:
    study = population(size, generations, workers, cls=cls, selection="tournament")
    assert check_tournaments(study) > 0
    options = {name: value for name, value in study.header.optimizer.items() if name not in ("name", "sampler")}
    assert changed_jobs(study.history, lambda: cls(Random(SPACE), **options)) == []


def test_the_other_one_is_drawn_from_all_alike() -> None:
    check_shares(copied_shares())


def first_ahead(self: PBT, history: Any, mine: Key) -> Key | None:
    ranked = history.fold(self.owner, self._begin).order(history, history.jobs[mine].note.member["generation"])
    return None if ranked[0] == mine else ranked[0]


def whoever(self: PBT, history: Any, mine: Key) -> Key | None:
    ranked = history.fold(self.owner, self._begin).order(history, history.jobs[mine].note.member["generation"])
    return next((key for key in reversed(ranked) if not history.is_failure(key)), None)


def test_a_wrong_tournament_is_seen(monkeypatch: Patch) -> None:
    monkeypatch.setattr(PBT, "_meet_rival", first_ahead)
    with pytest.raises(AssertionError):
        check_shares(copied_shares(60))
    monkeypatch.setattr(PBT, "_meet_rival", whoever)
    with pytest.raises(AssertionError):
        check_tournaments(population(selection="tournament"))


@pytest.mark.parametrize("selection", ["truncation", "tournament"])
def test_any_number_of_workers_gives_the_same_trials(selection: str) -> None:
    one, eight = (population(8, 5, workers, selection=selection).history.jobs for workers in (1, 8))
    assert {key: (job.config, job.source) for key, job in one.items()} == {key: (j.config, j.source) for key, j in eight.items()}


def test_a_tournament_of_several_objectives_is_by_fronts() -> None:
    optimizer = PBT(Random(SPACE), population=4, generations=2, max_resource=2, selection="tournament")
    study = Study(optimizer, objectives=["a", "b"])
    for values in ((1.0, 4.0), (4.0, 1.0), (5.0, 5.0), (6.0, 6.0)):
        job = optimizer.ask()
        assert job is not None and optimizer.tell(job, values)
    for _ in range(4):
        job = optimizer.ask()
        assert job is not None and job.source is not None
        assert study.history.rank([(t, 1) for t in range(4)]).index(job.source) <= job.note.member["slot"]


# -- rules ---------------------------------------------------------------------------------------------------------------

RULES = {"lr": Factors(0.5, 2.0), "decay": Steps(-0.02, 0.05), "drop": Factors(0.9, 1.1), "batch": Steps(-3, 5),
         "width": Factors(0.95, 1.05), "kind": Steps(-1, 2), "norm": "resample"}  # fmt: skip


def check_rules(study: Study) -> Counter[str]:
    """Every clone by its rules, which are written out again here; how often each hyperparameter has changed."""
    changed: Counter[str] = Counter()
    for child, parent in clones(study):
        lr, decay, kinds = parent["lr"], parent["decay"], "abcdef"
        place = kinds.index(parent["kind"])
        allowed: dict[str, Any] = {
            "lr": [min(max(lr * factor, 1e-4), 1.0) for factor in (0.5, 2.0)],
            "decay": [min(max(decay + step, 0.0), 0.5) for step in (-0.02, 0.05)],
            "batch": [min(max(parent["batch"] + step, 1), 64) for step in (-3, 5)],
            "kind": [kinds[min(max(place + step, 0), 5)] for step in (-1, 2)],
            "norm": list("xyz"),
            "vocab": [3],
        }
        assert all(child[name] in values for name, values in allowed.items())
        assert child["drop"] in [pytest.approx(min(max(parent["drop"] + step, 0.0), 0.5)) for step in (-0.05, 0.05)], "one step"
        assert child["width"] in [min(max(parent["width"] + step, 2), 9) for step in (-1, 1)], "an integer moves by one at least"
        changed.update(name for name in child if child[name] != parent[name])
        changed.update(f"{name} up" for name in ("lr", "decay", "batch", "width") if child[name] > parent[name])
    return changed


def test_every_rule_by_its_definition() -> None:
    changed = check_rules(population(16, 8, explore=RULES, resample=0.0))
    assert set(RULES) < set(changed), "each has changed"
    for name in ("lr", "decay", "batch", "width"):
        assert 0 < changed[f"{name} up"] < changed[name], "up and down"



def double(self: Steps, spec: Any, value: Any, rng: np.random.Generator) -> Any:
    return value if isinstance(value, str) else spec.nearest(2 * value)


WRONG: dict[str, tuple[Any, str, Any]] = {
    "a factor is added": (Factors, "move", lambda self, spec, value, rng: spec.nearest(value + self.factors[0])),
    "a step is a factor": (Steps, "move", double),
    "an integer stays": (exploration, "_land", lambda spec, value, moved, up=None: spec.nearest(moved)),
    "everything is drawn": (PBT, "explore_value", lambda self, name, value, fresh, rng: fresh[name]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_seen(name: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(*WRONG[name])
    study = population(16, 8, explore=RULES, resample=0.0)
    with pytest.raises(AssertionError):
        check_rules(study)


def test_resample_draws_from_the_whole_range() -> None:
    study = population(16, 8, explore={"lr": Factors(1.01), "norm": "resample", "batch": "resample"}, resample=1.0)
    found = clones(study)
    assert {child["norm"] for child, _ in found} == set("xyz") and len({child["batch"] for child, _ in found}) > 15
    rates = [math.log10(child["lr"]) for child, _ in found]
    assert min(rates) < -3 and max(rates) > -1, "with probability `resample` a ruled number is drawn afresh"


def test_one_hyperparameter_changes_at_a_time() -> None:
    study = population(16, 8, explore=RULES, resample=0.0, changes="one")
    changes = [[name for name in child if child[name] != parent[name]] for child, parent in clones(study)]
    assert max(map(len, changes)) == 1 and {name for names in changes for name in names} == set(RULES)
    several = population(16, 8, explore=RULES, resample=0.0)
    assert max(sum(child[name] != parent[name] for name in child) for child, parent in clones(several)) > 4


def test_what_is_fixed_or_not_named_in_a_list_stays() -> None:
    for explore in (["lr"], {**dict.fromkeys(SPACE.parameters, "fixed"), "lr": "usual"}):
        changed = {name for child, parent in clones(population(explore=explore)) for name in child if child[name] != parent[name]}
        assert changed == {"lr"}
    first, second = (population(explore=explore).history.jobs for explore in (None, {"lr": "usual"}))
    assert first == second, "what a mapping does not name follows the usual rule"


def test_pb2_takes_rules_for_choices_alone() -> None:
    for child, parent in clones(population(8, 5, cls=PB2, explore={"kind": Steps(-1, 1), "norm": "fixed"}, resample=0.0)):
        assert abs("abcdef".index(child["kind"]) - "abcdef".index(parent["kind"])) <= 1 and child["norm"] == parent["norm"]
    said = r"the rule of 'lr' is Factors\(0.5, 2.0\), but PB2 chooses numbers by its model; allowed are 'usual' and 'fixed'"
    with pytest.raises(ValueError, match=said):
        PB2(Random(SPACE), explore={"lr": Factors(0.5, 2.0)})
    with pytest.raises(ValueError, match="changes is 'one', but PB2 chooses all numbers at once"):
        PB2(Random(SPACE), changes="one")


@pytest.mark.parametrize("rule", [Factors(0.5, 2.0), Steps(-1, 0, 2), "resample", "usual", "fixed"])
def test_a_rule_survives_a_header(rule: Any) -> None:
    again = read_rule("batch", SPACE.parameters["batch"], describe_rule(rule))
    assert again == rule and again != Factors(3.0) and (isinstance(rule, str) or hash(again) == hash(rule))
    assert isinstance(rule, str) or eval(repr(rule), {"Factors": Factors, "Steps": Steps}) == rule


def test_a_step_or_a_factor_of_nothing_keeps_the_value() -> None:
    rng = np.random.default_rng(0)
    for spec, value in ((SPACE.parameters["batch"], 7), (SPACE.parameters["drop"], 0.25), (SPACE.parameters["kind"], "b")):
        assert Steps(0).move(spec, value, rng) == value
        assert isinstance(spec, Categorical) or Factors(1.0).move(spec, value, rng) == value


@pytest.mark.parametrize("options, message", [
    ({"explore": {"lr": 2}}, r"the rule of 'lr' is 2; allowed are Factors\(0.8, 1.25\), Steps\(-0.1, 0.1\), 'resample', 'us"),
    ({"explore": {"lr": {"powers": [2]}}}, r"the rule of 'lr' is \{'powers': \[2\]\}; allowed are"),
    ({"explore": {"lr": "free"}}, "the rule of 'lr' is 'free'; allowed are"),
    ({"explore": {"x": "usual"}}, "explore names 'x', which is not one of"),
    ({"explore": {"kind": Factors(2.0)}}, r"'kind' is no number, so Factors\(2.0\) cannot explore it; allowed are Steps and"),
    ({"explore": {"kind": Steps(0.5)}}, r"'kind' is a choice, so Steps\(0.5\) counts places in its list; allowed are integers"),
    ({"explore": {"vocab": Steps(1)}}, r"'vocab' is a constant, so Steps\(1\) cannot explore it"),
    ({"explore": "lr"}, "explore is 'lr'; allowed is a list of names, or a mapping of names to rules"),
    ({"selection": "roulette"}, r"selection is 'roulette'; allowed are \['truncation', 'tournament'\]"),
    ({"changes": 1}, r"changes is 1; allowed are \['all', 'one'\]"),
    ({"selection": "tournament", "truncation": 0.5}, "truncation is 0.5, but selection='tournament' takes none"),
    ({"quorum": 1.5}, "quorum is 1.5; allowed is 0 to 1.0"),
])  # fmt: skip
def test_wrong_options(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        PBT(Random(SPACE), **options)


def test_wrong_numbers_of_a_rule() -> None:
    for wrong in (lambda: Factors(), lambda: Steps(), lambda: Steps(math.nan), lambda: Factors("2")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"got .*; allowed are one or more finite numbers"):
            wrong()
    with pytest.raises(ValueError, match=r"Factors\(-1\) holds a number that is not above 0"):
        Factors(-1)


# -- quorum, resources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quorum, needed", [(0.0, 1), (0.25, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_a_slot_waits_for_the_quorum(quorum: float, needed: int) -> None:
    optimizer = PBT(Random(SPACE), population=4, generations=2, max_resource=2, quorum=quorum)
    jobs = [optimizer.ask() for _ in range(4)]
    for told, job in enumerate(jobs, 1):
        assert optimizer.ask() is None
        assert job is not None and optimizer.tell(job, Result({"loss": float(told)}))
        if told >= needed:
            break
    following = optimizer.ask()
    assert following is not None and following.note.member["generation"] == 2 and told == needed


def test_the_quorum_is_one_unless_another_is_given() -> None:
    """Below 1 nobody waits, so what a slot copies depends on who was faster."""
    assert PBT(SPACE).quorum == PB2(SPACE).quorum == 1.0
    hasty = [population(8, 5, workers, quorum=0.25).history.jobs for workers in (1, 8)]
    assert hasty[0] != hasty[1]


@pytest.mark.parametrize("cls", [PBT, PB2])
def test_the_last_generation_ends_where_the_study_does(cls: Any) -> None:
    assert Study(cls(SPACE)).header.optimizer["max_resource"] == 100
    assert Study(cls(SPACE), horizon=30).header.optimizer["max_resource"] == 30
    assert Study(cls(SPACE, max_resource=20), horizon=30).header.optimizer["max_resource"] == 20
    with pytest.raises(ValueError, match=f"{cls.__name__} trains 10 generations, but the study's horizon is 5"):
        Study(cls(SPACE), horizon=5)
    with pytest.raises(ValueError, match=f"{cls.__name__} trains 200 generations and has no max_resource; give it one, or"):
        Study(cls(SPACE, generations=200))
    with pytest.raises(ValueError, match="200 generations do not fit into max_resource 100"):
        cls(SPACE, generations=200, max_resource=100)


def test_a_space_is_enough() -> None:
    assert PBT({"x": (0.0, 1.0)}).describe() == hpo.make("pbt", {"x": (0.0, 1.0)}).describe()


EXAMPLES: dict[Any, Callable[[dict[str, Any]], bool]] = {
    PBT: lambda names: len(names["study"].history.at(10)) == 4,
    Factors: lambda names: names["optimizer"].explore == {"lr": {"factors": [0.5, 2.0]}},
    Steps: lambda names: names["optimizer"].explore["batch"] == {"steps": [-1, 1]},
}


@pytest.mark.parametrize("cls", EXAMPLES)
def test_the_examples_in_the_docstrings(cls: Any) -> None:
    assert EXAMPLES[cls](run_example(cls))
