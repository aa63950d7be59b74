"""GP(...): ours with an acquisition or options of somebody's: read off its name, refused, tried, run."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmark import methods, store, study, variants
from experiments.benchmark.methods import METHODS
from experiments.benchmark.tasks import TASKS
from tests.experiments.test_benchmark_runner import odd_space


def test_a_prototype_is_a_method_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy.py").write_text("def greedy(posterior, incumbent):\n    return -posterior.mean\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = methods.find("GP(greedy:greedy)")
    assert made.ours and made.digest != METHODS["GP"].digest
    assert store.slug(made.name) == "gp-greedy-greedy"
    greedy, usual = (study.study(TASKS["branin"], m, 0, 8)["values"] for m in (made, METHODS["GP"]))
    assert greedy[:4] == usual[:4] and greedy != usual


def test_a_variant_is_read_off_its_name() -> None:
    made = variants.made("math:pi", ["power=True", "initial = 7"])
    assert made is not None and made.name == "GP(math:pi, initial=7, power=True)"
    assert variants.parsed(made.name) == made == variants.parsed("GP(math:pi,power=True,initial=7)")
    assert variants.made(None, []) is None and variants.parsed("GP") is None
    odd = variants.made(None, ["constraints={'a:b': 1, 'c': 2.5}", "kernel='rbf'"])
    assert odd is not None and odd.function is None and variants.parsed(odd.name) == odd
    assert odd.keywords() == {"constraints": {"a:b": 1, "c": 2.5}, "kernel": "rbf"}


def test_an_option_is_that_of_our_gp() -> None:
    assert set(variants.OPTIONS) >= {"overview", "initial", "kernel", "power", "acquisition"}
    assert not {"space", "seed"} & {*variants.OPTIONS}
    made, usual = methods.find("GP(initial=6, overview=0)"), METHODS["GP"]
    assert (made.digest, made.seeds, made.ours) == (usual.digest, usual.seeds, True)
    peer: Any = made.make(odd_space(), 0, 10)
    assert (peer.optimizer.initial, peer.optimizer.overview) == (6, 0)
    assert store.slug(made.name) == "gp-initial-6-overview-0" and methods.ordered([made.name, "random"])[1] == made
    ucb = study.study(TASKS["branin"], methods.find("GP(acquisition='ucb')"), 0, 8)["values"]
    gp = study.study(TASKS["branin"], usual, 0, 8)["values"]
    assert ucb[:4] == gp[:4] and ucb != gp


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("GP(overveiw=0)", "GP has no option 'overveiw'; allowed are acquisition, constraints, cost, "),
        ("GP(seed=1)", "GP has no option 'seed'"),
        ("GP(kernel=rbf)", "the option kernel=rbf has no Python literal as its value; a text is kernel='...'"),
        ("GP(a:b, acquisition='ucb')", "the acquisition is given twice: a:b and 'ucb'"),
    ],
)
def test_a_variant_that_is_none_is_refused_by_its_name(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        methods.find(name)


MADE_UP = """
def bad(posterior, incumbent):
    return posterior.variance

def good(posterior, incumbent):
    return -posterior.mean

class Whole:
    log_scale = True
    def score(self, situation):
        raise RuntimeError("not\\nyet")

whole = Whole()
"""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("GP(made_up:good)", None),
        ("GP(made_up:good, initial=30)", None),
        ("GP(made_up:bad)", "acquisition bad raised AttributeError"),
        ("GP(made_up:Whole)", "acquisition is the class Whole"),
        ("GP(made_up:whole)", "GP(made_up:whole) cannot run: RuntimeError: not yet"),
        ("GP(made_up:none)", "cannot be imported as module:function: module 'made_up' has no attribute 'none'"),
        ("GP(os:getcwd)", "GP(os:getcwd) cannot run: acquisition getcwd raised TypeError"),
        ("GP(math:pi)", "GP(math:pi) cannot run: acquisition is 3.14"),
        ("GP(overview=-1)", "GP(overview=-1) cannot run: overview is -1; allowed is an integer of at least 0"),
        ("GP(initial=0)", "initial is 0; allowed is an integer of at least 1"),
        ("GP(kernel='cubic')", "cubic"),
        ("GP(prior=3)", "GP(prior=3) cannot run: "),
    ],
)
def test_a_variant_is_tried_before_anything_runs(
    name: str, sentence: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_up.py").write_text(MADE_UP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    variant = methods.find(name).variant
    assert variant is not None
    if sentence is None:
        variant.check()
        return
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        variant.check()
    assert "\n" not in str(refused.value)
