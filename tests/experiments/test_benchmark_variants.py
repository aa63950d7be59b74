"""GP(...): ours with an acquisition or options of somebody's: read off its name, refused, tried, run."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experiments.benchmark import methods, records, study, variants
from experiments.benchmark.__main__ import app
from experiments.benchmark.methods import METHODS
from experiments.benchmark.tasks import TASKS
from experiments.ledger.digest import Sources, digest
from experiments.ledger.lines import read_lines
from tests.experiments.test_benchmark_runner import odd_space


def test_a_prototype_is_a_method_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy.py").write_text("def greedy(posterior, incumbent):\n    return -posterior.mean\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = methods.find("GP(greedy:greedy)")
    assert made.is_ours and digest(*made.sources) != digest(*METHODS["GP"].sources)
    assert records.slug(made.name) == "gp-greedy-greedy"
    greedy, usual = (study.run_study(TASKS["branin"], m, 0, 8)["values"] for m in (made, METHODS["GP"]))
    assert greedy[:4] == usual[:4] and greedy != usual


def test_a_variant_is_read_off_its_name() -> None:
    made = variants.make_variant("math:pi", ["power=True", "initial = 7"])
    assert made is not None and made.name == "GP(math:pi, initial=7, power=True)"
    assert variants.read_variant(made.name) == made == variants.read_variant("GP(math:pi,power=True,initial=7)")
    assert variants.make_variant(None, []) is None and variants.read_variant("GP") is None
    odd = variants.make_variant(None, ["constraints={'a:b': 1, 'c': 2.5}", "kernel='rbf'"])
    assert odd is not None and odd.function is None and variants.read_variant(odd.name) == odd
    assert odd.keywords() == {"constraints": {"a:b": 1, "c": 2.5}, "kernel": "rbf"}


def test_an_option_is_that_of_our_gp() -> None:
    assert set(variants.OPTIONS) >= {"explore_every", "initial", "kernel", "power", "acquisition"}
    assert not {"space", "seed"} & {*variants.OPTIONS}
    made, usual = methods.find("GP(initial=6, overview=0)"), METHODS["GP"]
    assert (made.sources, made.seeds, made.is_ours) == (usual.sources, usual.seeds, True)
    peer: Any = made.make(odd_space(), 0, 10)
    assert (peer.optimizer.initial, peer.optimizer.explore_every) == (6, 0)
    assert made.name == "GP(explore_every=0, initial=6)", "a stored name is read"
    assert records.slug(made.name) == "gp-explore-every-0-initial-6" and methods.sort_by_cost([made.name, "random"])[1] == made
    ucb = study.run_study(TASKS["branin"], methods.find("GP(acquisition='ucb')"), 0, 8)["values"]
    gp = study.run_study(TASKS["branin"], usual, 0, 8)["values"]
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
    def score(self, context):
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
        ("GP(explore_every=-1)", "GP(explore_every=-1) cannot run: explore_every is -1; allowed is an integer of at least 0"),
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


# -- of somebody's own -------------------------------------------------------------------------------------------------

MINE = """
from dataclasses import dataclass

from experiments.benchmark.tasks import Task
from hpo import Float, Sampler, Space


@dataclass(eq=False)
class Middle(Sampler):
    repeats = True

    def sample(self, history, trial):
        return self.space.midpoint()


class NoOptimizer:
    pass


def true(config):
    return config["x"] ** 2


LINE = Task("any name", "mine", lambda: Space(x=Float(-1.0, 3.0)), true, 0.0, about="a parabola")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine_only.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_only", raising=False)
    return tmp_path


def test_a_class_and_a_task_of_ones_own_are_named_by_their_module(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine)
    arguments = ["--method", "mine_only:Middle", "--task", "mine_only:LINE", "--n", "3", "--seeds", "2", "--results", "out"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    lines = list(read_lines(mine / "out" / "mine-only-middle.jsonl"))
    assert [(line["task"], line["seed"], line["values"]) for line in lines] == [("mine_only:LINE", s, [1.0] * 3) for s in (0, 1)]
    assert all(records.is_current(line) and line["digest"] and line["task_digest"] for line in lines)
    assert "2 studies, 2 recorded already, 0 to run" in CliRunner().invoke(app, arguments).output
    (mine / "mine_only.py").write_text(MINE.replace("midpoint()", "midpoint() | {}"))
    assert digest(*methods.find("mine_only:Middle").sources) == lines[0]["digest"], "read once a process"
    assert Sources().digest(*methods.find("mine_only:Middle").sources) != lines[0]["digest"]


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (("--method", "mine_only:Nothing"), "'mine_only' has no class 'Nothing'"),
        (("--method", "mine_only:NoOptimizer"), "is no Optimizer"),
        (("--method", "hpo:ASHA"), "'hpo:ASHA' is a scheduler"),
        (("--method", "not_there_at_all:A"), "there is no module 'not_there_at_all'"),
        (("--task", "mine_only:NOTHING"), "the task 'mine_only:NOTHING' cannot be imported"),
        (("--task", "mine_only:true"), "it must be an experiments.benchmark.tasks.Task"),
    ],
)
def test_what_is_none_is_refused_in_one_sentence(arguments: tuple[str, ...], about: str, mine: Path) -> None:
    done = CliRunner().invoke(app, [*arguments, "--results", str(mine / "out")])
    assert done.exit_code == 2 and len(done.output.strip().splitlines()) == 1 and about in done.output


# -- names that options had --------------------------------------------------------------------------------------------


def test_stored_names_stay_readable_and_typed_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "RENAMED", {"GP": {"look_around": "initial"}})
    found = methods.find("GP(look_around=7, power=True)")
    assert found.name == "GP(initial=7, power=True)" and found.sources == methods.find(found.name).sources
    with pytest.raises(ValueError, match="the option 'look_around' is called 'initial' now"):
        variants.make_variant(None, ["look_around=7"])


def test_every_name_that_an_option_has_had_leads_to_one_that_there_is() -> None:
    assert {variants.current_name(name) for name in variants.RENAMED["GP"]} <= {*variants.OPTIONS}
