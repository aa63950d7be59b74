"""What single schedulers promise: rungs judged once, clones, dead slots, limits that must not lose a bracket."""

from typing import Any

import pytest

from hpo import (
    ASHA,
    PBT,
    Float,
    Grid,
    Hyperband,
    Job,
    Manual,
    MedianStopping,
    Random,
    Result,
    Simulator,
    Space,
    Stop,
    Study,
    SuccessiveHalving,
    run,
)
from hpo.testing.spaces import SPACES, plane
from hpo.testing.spaces import rugged_loss as value
from tests.hpo.objectives import line


def ask(optimizer: Any, count: int) -> list[Job]:
    jobs = [optimizer.ask() for _ in range(count)]
    assert None not in jobs
    return jobs


def median(**options: Any) -> MedianStopping:
    return MedianStopping(Random(line(), seed=0), rungs=(1,), max_resource=3, grace_trials=2, **options)


def test_a_rung_is_judged_once_against_what_was_there_before() -> None:
    optimizer = median()
    jobs = ask(optimizer, 5)
    optimizer.tell(jobs[0], 1.0)
    optimizer.tell(jobs[1], 2.0)
    assert ask(optimizer, 2)[0].key == (0, 3)
    optimizer.tell(jobs[2], 5.0)  # worse than the median 1.5 of two others
    passed = {job.trial for job in ask(optimizer, 1)}
    assert 2 not in passed
    optimizer.tell(jobs[3], 9.0)
    optimizer.tell(jobs[4], 9.0)  # now the median of the others is 5.5, and trial 2 would be better than that
    assert 2 not in {job.trial for job in ask(optimizer, 4)}, "a passed-over trial is not revived"
    assert (2, 1) not in optimizer.live(optimizer.history)


def test_a_rung_is_not_judged_for_good_while_nothing_more_is_started() -> None:
    """At the end of a study no start separates two finishes, and what the first has stopped the second may save (permuted
    finishes change nothing): until a start has judged it for good, its checkpoint stands."""
    study = Study(median())
    times = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 4.5}
    losses = {0: 1.0, 1: 2.0, 2: 5.0, 3: 9.0, 4: 9.0}
    seeds = {}

    def loss(config: dict[str, Any], until: int, seed: int) -> float:
        return losses[seeds.setdefault(seed, len(seeds))]

    simulator = Simulator(loss, workers=5, duration=lambda job, begin: times[job.trial] if job.until == 1 else 100.0)
    run(study, simulator, Stop(trials=5))
    assert (2, 3) in study.history.results and (3, 3) not in study.history.jobs


@pytest.mark.parametrize("seed", range(20))
def test_median_stopping_keeps_what_it_resumes(seed: int) -> None:
    """The simulator refuses a source whose checkpoint was given up."""
    study = Study(MedianStopping(Random(plane(), seed=seed), rungs=(1, 3), max_resource=9, grace_trials=1))
    run(study, Simulator(lambda c, u, s: value(c, u, s), workers=6, straggle=2.0, seed=seed), Stop(trials=12))


def test_a_failed_trial_does_not_go_on() -> None:
    optimizer = median()
    jobs = ask(optimizer, 3)
    for job in jobs:
        optimizer.tell(job, Result(error="diverged"))
    assert all(job.source is None for job in ask(optimizer, 3))


# -- PBT -----------------------------------------------------------------------------------------------------------------


def pbt(population: int = 4, **options: Any) -> PBT:
    return PBT(Random(SPACES["mixed"](), seed=0), population=population, generations=3, max_resource=9, **options)


def generation(optimizer: PBT, losses: list[Any]) -> list[Job]:
    jobs = sorted(ask(optimizer, len(losses)), key=lambda job: job.note.member["slot"])
    for job, loss in zip(jobs, losses, strict=True):
        optimizer.tell(job, loss if isinstance(loss, float) else Result(error=loss))
    return jobs


def test_a_clone_is_a_new_trial_that_explores_from_its_donor() -> None:
    optimizer = pbt()
    first = generation(optimizer, [3.0, 1.0, 2.0, 4.0])
    second = sorted(ask(optimizer, 4), key=lambda job: job.note.member["slot"])
    assert [job.trial for job in second] == [0, 1, 2, 4] and [job.until for job in second] == [6] * 4
    clone = second[3]
    assert clone.source == first[1].key and clone.seed not in {job.seed for job in first}
    assert clone.config != first[1].config and optimizer.space.check(clone.config) == clone.config
    assert 4 in optimizer.history.adopted and not optimizer.history.is_own((4, 6))
    for name in ("optimizer", "vocab"):
        assert clone.config[name] == first[1].config[name] or name == "optimizer"
    scaled = clone.config["lr"] / first[1].config["lr"]
    assert scaled == pytest.approx(0.8) or scaled == pytest.approx(1.25) or scaled > 0


def test_the_donor_is_the_last_key_with_the_configuration_that_earned_it() -> None:
    optimizer = pbt(explore=["lr"], resample=0.0)
    generation(optimizer, [3.0, 1.0, 2.0, 4.0])
    second = generation(optimizer, [3.0, 2.0, 9.0, 1.0])  # the clone in slot 3 leads, slot 2 is worst
    clones = {job.note.member["slot"]: job for job in ask(optimizer, 4)}
    child, donor = clones[2], second[3]
    assert child.source == donor.key == (4, 6) and child.trial == 5 and child.until == 9
    assert {n: v for n, v in child.config.items() if n != "lr"} == {n: v for n, v in donor.config.items() if n != "lr"}
    assert child.config["lr"] in (pytest.approx(donor.config["lr"] * 0.8), pytest.approx(donor.config["lr"] * 1.25),
                                  1e-5, 1e-1)  # fmt: skip


def test_a_dead_slot_takes_a_donor_or_is_sampled_afresh() -> None:
    optimizer = pbt()
    generation(optimizer, ["dead", 1.0, "dead", "dead"])
    jobs = {job.note.member["slot"]: job for job in ask(optimizer, 4)}
    assert jobs[1].source == (1, 3) and jobs[1].trial == 1
    assert all(jobs[slot].source == (1, 3) and jobs[slot].trial > 3 for slot in (0, 2, 3))
    optimizer = pbt()
    generation(optimizer, ["dead"] * 4)
    jobs = {job.note.member["slot"]: job for job in ask(optimizer, 4)}
    assert all(job.source is None and job.until == 6 and job.trial > 3 for job in jobs.values())
    assert {job.note.member["generation"] for job in jobs.values()} == {2}


@pytest.mark.parametrize("clone_first", [True, False])
@pytest.mark.parametrize("told_first", [True, False])
def test_two_drivers_may_fill_one_place_of_a_population(clone_first: bool, told_first: bool) -> None:
    """With quorum below 1 a driver that has read less takes on a slot's trial that another one replaces by a clone."""
    optimizer = pbt(2, quorum=0.5)
    history = optimizer.history
    first, second = ask(optimizer, 2)
    optimizer.tell(first, 2.0)
    seen, resumed = len(history), optimizer.propose(history)
    assert resumed is not None and resumed.key == (0, 6)
    optimizer.tell(second, 1.0)
    cloned = optimizer.propose(history)
    assert cloned is not None and cloned.key == (2, 6) and cloned.note == resumed.note
    for job in (cloned, resumed) if clone_first else (resumed, cloned):
        history.start(job, seen)
    for job in (cloned, resumed) if told_first else (resumed, cloned):
        optimizer.tell(job, 1.5)
        assert optimizer.propose(history) is not None
    kept, surplus = (cloned, resumed) if clone_first else (resumed, cloned)
    assert optimizer.may_name(history, kept.key) and not optimizer.may_name(history, surplus.key)
    while (job := optimizer.ask()) is not None:
        optimizer.tell(job, 1.0)
    places = [(job.note.member["slot"], job.note.member["generation"]) for job in history.jobs.values() if job != surplus]
    assert sorted(places) == [(slot, number) for slot in (0, 1) for number in (1, 2, 3)] and not optimizer.live(history)


def test_a_population_of_one_and_odd_ones() -> None:
    for population in (1, 2, 3, 5):
        study = Study(pbt(population, truncation=0.5))
        run(study, Simulator(lambda c, u, s: value(c, u, s), workers=2))
        assert len(study.history.results) == 3 * population


def test_a_dead_slot_at_the_limit_of_trials_does_not_hold_up_the_others() -> None:
    """`trials` limits fresh trials; a slot that cannot be refilled must not keep the living ones from their end."""
    study = Study(pbt())

    def dies(config: dict[str, Any], until: int, seed: int) -> float:
        if until == 3 and seed != first:
            raise RuntimeError("dead")
        return value(config, until, seed)

    job = pbt().ask()
    assert job is not None
    first = job.seed
    run(study, Simulator(dies, workers=2), Stop(trials=4))
    assert len(study.history.results) == 12


# -- limits --------------------------------------------------------------------------------------------------------------


def schedule(optimizer: Any, trials: int | None, workers: int = 4) -> Study:
    study = Study(optimizer)
    run(study, Simulator(lambda c, u, s: value(c, u, s), workers=workers), Stop(trials=trials))
    return study


def test_asha_goes_on_with_promotions_at_the_limit() -> None:
    study = schedule(ASHA(Random(plane()), max_resource=9), 9)
    assert [len(study.history.at(until)) for until in (1, 3, 9)] == [9, 3, 1]


@pytest.mark.parametrize("make", [lambda: Hyperband(Random(plane()), max_resource=27),
                                  lambda: SuccessiveHalving(Random(plane()), max_resource=27)])  # fmt: skip
def test_a_bracket_that_the_limit_leaves_unfilled_is_judged_as_it_is(make: Any) -> None:
    """`Stop.trials`: promotions go on until nothing is left to do. The limit is an event of the log, so this replays."""
    study = schedule(make(), 20)
    assert len(study.history.at(1)) == 20
    assert study.history.at(27), "nobody was ever promoted"
    for event in study.history.events:
        if event.kind == "start":
            decided = study.optimizer.decide(study.history.prefix(event.body["seen"]))
            assert decided is not None and decided.key == (event.body["job"]["trial"], event.body["job"]["until"])


def test_a_sampler_that_has_run_dry_leaves_a_bracket_to_be_judged() -> None:
    study = schedule(SuccessiveHalving(Grid(plane(), points=3), max_resource=27), None)
    assert [len(study.history.at(until)) for until in (1, 3, 9, 27)] == [9, 9, 3, 1]
    study = schedule(Hyperband(Manual(line(), configs=[{"x": 0.5}]), max_resource=27), None)
    assert study.history.finished_keys == [(0, 1), (0, 3), (0, 9), (0, 27)]


def test_schedulers_over_a_list_end_by_themselves() -> None:
    """`is_endless` is what `minimize` reads to decide whether 50 trials are the limit."""
    assert not ASHA(Grid(plane())).is_endless and not Hyperband(Random(plane()), rounds=1).is_endless
    assert ASHA(Random(plane())).is_endless and not Grid(plane()).is_endless


def test_space_of_a_scheduler_is_its_samplers() -> None:
    with pytest.raises(TypeError, match=r"ASHA takes a sampler such as Random\(space\)"):
        ASHA(Space(x=Float(0, 1)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ASHA takes a sampler"):
        ASHA(ASHA(Random(line())))  # type: ignore[arg-type]
