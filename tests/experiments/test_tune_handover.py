"""What a study hands over: never worse than the default that was measured beside it, and said how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.tune.handover import KEEP, Handover, Judged, decide_handover, difference, ends, sentence
from experiments.tune.report import intervals
from hpo import ASHA, Finals, Float, MemoryLog, Random, Result, Space, Study
from hpo.job import Key

SPACE = Space(x=Float(0, 1))
DEFAULT = {"x": 0.5}


def finals(losses: Mapping[int, float], default: float | None = 2.0, reached: bool = True, wanted: bool = True) -> Study:
    """A study whose trials 1, 2 .. have these losses at the end, beside the default, trial 0, if it is wanted."""
    study = Study(Finals(ASHA(Random(SPACE), 1, 9, 3), KEEP), unit="tokens")
    if wanted:
        study.optimizer.enqueue(DEFAULT)
    jobs = [study.optimizer.ask() for _ in range(len(losses) + wanted)]
    for job in jobs:
        assert job is not None
        study.optimizer.tell(job, 3.0)
    study.history.limit("seconds", 1.0, "finals")
    while (job := study.optimizer.ask()) is not None:
        if job.trial == 0 and wanted:
            if not reached:
                break
            study.optimizer.tell(job, Result(error="diverged") if default is None else default)
        else:
            study.optimizer.tell(job, losses[job.trial - wanted])
    return study


def known(judged: Mapping[int, list[float]]) -> dict[str, Any]:
    entries = [{"trial": trial, "until": 9, **Judged(tuple(parts), 100).to_json()} for trial, parts in judged.items()]
    return {"judgements": entries}


def chosen(study: Study, judged: Mapping[int, list[float]], wanted: bool = True) -> tuple[str, Key | None, str]:
    found = decide_handover(study, known(judged), wanted)
    return found.reason, found.key, sentence(found, study)


def test_the_best_judged_is_handed_over_and_not_the_best_of_the_search() -> None:
    study = finals({0: 1.0, 1: 1.5, 2: 1.9})
    assert {trial for trial, _ in ends(study.history)} == {0, 1, 2, 3}
    reason, key, said = chosen(study, {0: [2.0, 2.1, 1.9], 1: [1.8, 2.0, 1.7], 2: [1.5, 1.7, 1.4], 3: [1.9, 2.0, 1.9]})
    assert (reason, key) == ("judged", (2, 9))
    assert "handed over is trial 2, better than the default configuration by 0.4667 nats per token [" in said
    assert "not over seeds of training" in said


def test_the_default_is_handed_over_where_nothing_was_judged_better() -> None:
    study = finals({0: 1.0, 1: 1.5, 2: 1.9})
    reason, key, said = chosen(study, {0: [1.4] * 3, 1: [1.8] * 3, 2: [1.4] * 3, 3: [1.9] * 3})
    assert (reason, key) == ("judged", (0, 9)), "a tie is the default's"
    assert said == "handed over is the default configuration: none of the 3 others that reached 9 tokens was judged better"
    *_, said = chosen(finals({0: 1.0}), {0: [1.4] * 3, 1: [1.8] * 3})
    assert said == "handed over is the default configuration: the only other that reached 9 tokens was not judged better"


def test_what_was_compared_with_nothing_is_not_handed_over() -> None:
    """The default on its way, everything else with a lower loss: as after a Ctrl-C, or on a machine that is too slow."""
    study = finals({0: 1.0, 1: 1.5}, reached=False)
    reason, key, said = chosen(study, {})
    assert (reason, key) == ("default", (0, 1)) and "it was not trained to 9 tokens" in said
    empty = Study(Finals(Random(SPACE)))
    empty.optimizer.enqueue(DEFAULT)
    assert chosen(empty, {})[:2] == ("default", None)


def test_a_study_from_before_there_were_finals_hands_over_no_less_than_it_did() -> None:
    """Its best at the highest budget reached, with what is known of the default; once the finals are over, what they say."""
    log = MemoryLog()
    study = Study(ASHA(Random(SPACE), 1, 9, 3), unit="tokens", log=log)
    study.optimizer.enqueue(DEFAULT)
    while not study.history.at(3):
        job = study.optimizer.ask()
        assert job is not None
        study.optimizer.tell(job, 5.0 - job.trial if job.until == 1 else 1.5)
    late = Study(Finals(ASHA(Random(SPACE), 1, 9, 3), KEEP), unit="tokens", log=log)
    found = decide_handover(late, {"default": {"loss": 1.2}}, True)
    assert (found.reason, found.key) == ("before", study.best.key) and found.key is not None and found.key[1] == 3
    said = sentence(found, late)
    assert "1.5000 at 3 tokens, beside 1.2000 of the default configuration at 9 tokens" in said
    assert "the study comes from before there were finals" in said
    assert "of the default" not in sentence(decide_handover(late, {}, True), late)
    late.history.limit("seconds", 1.0, "finals")
    first = late.optimizer.ask()
    assert first is not None and first.trial == 0
    late.optimizer.tell(first, 2.0)
    found = decide_handover(late, {}, True)
    led = late.history.rank(late.history.at(3))[0]
    assert (found.reason, found.key) == ("before", led), "the default alone is at the end, and worse"
    assert "beside 2.0000 of the default configuration at 9 tokens" in sentence(found, late)
    while (job := late.optimizer.ask()) is not None:
        late.optimizer.tell(job, 1.0 + job.trial)
    judged = {trial: [1.0 + trial] * 3 for trial, _ in ends(late.history)}
    assert decide_handover(late, known(judged), True).reason == "judged" and 0 in judged and len(judged) > 1


def test_until_all_are_judged_the_losses_of_the_search_count_and_that_is_said() -> None:
    study = finals({0: 1.0, 1: 2.5})
    reason, key, said = chosen(study, {0: [2.0]})
    assert (reason, key) == ("searched", (1, 9)) and "judged on more text it was not" in said


def test_a_default_that_failed_or_does_not_fit_is_no_bar() -> None:
    reason, key, _ = chosen(finals({0: 1.0, 1: 1.5}, default=None), {1: [1.2] * 3, 2: [1.1] * 3})
    assert (reason, key) == ("alone", (2, 9))
    reason, key, said = chosen(finals({0: 1.0, 1: 1.5}, wanted=False), {0: [1.2] * 3, 1: [1.1] * 3}, wanted=False)
    assert (reason, key) == ("alone", (1, 9)) and "no default configuration to compare it with" in said
    assert chosen(Study(Finals(Random(SPACE))), {}, wanted=False)[0] == "nothing"


LOSSES = st.one_of(st.floats(0.0, 10.0), st.just(math.inf))


@given(st.lists(st.lists(LOSSES, min_size=3, max_size=3), min_size=2, max_size=4))
def test_never_worse_than_the_default_that_was_judged_beside_it(parts: list[list[float]]) -> None:
    study = finals({i: 1.0 for i in range(len(parts) - 1)})
    found = decide_handover(study, known(dict(enumerate(parts))), True)
    assert found.key is not None and found.judged[found.key].loss <= found.judged[0, 9].loss
    assert found.is_default == (found.key == (0, 9)) and sentence(found, study)
    assert isinstance(found, Handover)


def test_the_interval_holds_what_it_says() -> None:
    """Parts with a common noise and noise of their own: the true difference is inside in 95 of 100, whatever is common."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        common = rng.normal(0.0, 1.0, 16)
        best, default = common + rng.normal(0.0, 0.1, 16), 0.3 + common + rng.normal(0.0, 0.1, 16)
        found = difference(Judged(tuple(best), 1), Judged(tuple(default), 1), 1)
        inside += found.low <= 0.3 <= found.high
    assert 930 <= inside <= 970


def test_more_to_choose_from_is_less_sure() -> None:
    best, default = Judged((1.0, 1.2, 0.9, 1.1), 1), Judged((1.5, 1.6, 1.5, 1.4), 1)
    widths = [found.high - found.low for found in (difference(best, default, among) for among in (1, 2, 3))]
    assert widths == sorted(set(widths))
    assert math.isnan(difference(Judged((1.0, 1.2), 1), Judged((1.5, 1.6), 1), 1).low), "two parts say nothing"


def test_one_other_is_no_choice() -> None:
    assert "choice" not in intervals(1) and "widened for the choice among 3" in intervals(3)


@pytest.mark.parametrize("loss", [1.5, math.inf])
def test_judgements_survive_json(loss: float) -> None:
    judged = Judged((1.0, loss), 10)
    assert Judged.from_json(judged.to_json()) == judged
