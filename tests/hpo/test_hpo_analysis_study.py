"""Study.importance, plot and report: of a study that ran, was asked and told, or loaded; with nothing to show, too."""

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, GP, PBT, Categorical, Const, Float, Int, Random, Result, Space, Study
from hpo.analysis.importance import Correlations, Importance
from tests.hpo.cases import ROOT
from tests.hpo.toys.sampler import Nearby

SPACE = Space(
    lr=Float(1e-4, 1.0, log=True), layers=Int(1, 8), kind=Categorical(["adamw", "sgd", None]),
    heads=Categorical([[1, 2], "many"]),
    momentum=Float(0.0, 0.99, when={"kind": "sgd"}), loss=Categorical({"mse": abs, "l1": min}), fixed=Const("x"),
)  # fmt: skip
PICTURES = ("history", "curves", "importance", "effects", "slices", "parallel")


def cost(config: Any) -> float:
    return float((config["lr"] - 0.01) ** 2 + 0.1 * config["layers"] + config.get("momentum", 0.5))


def tell(study: Study, jobs: int, value: Callable[[Any, int], Any]) -> Study:
    for _ in range(jobs):
        job = study.optimizer.ask()
        if job is not None:
            study.optimizer.tell(job, value(job.config, job.until))
    return study


def by_minimize(folder: Path) -> Study:
    return hpo.minimize(cost, SPACE, "random", 24, quiet=True)


def by_hand(folder: Path) -> Study:
    optimizer = Random(SPACE, seed=1)
    optimizer.enqueue(dict.fromkeys(["lr"], 0.5) | {"layers": 4, "kind": None, "heads": "many", "loss": "l1", "fixed": "x"})
    for _ in range(24):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, cost(job.config))
    return Study.of(optimizer)


def of_a_plain_class(folder: Path) -> Study:
    sampler = Nearby(SPACE)
    study = Study(sampler)  # type: ignore[arg-type]
    tell(study, 24, lambda config, until: cost(config))
    return Study.of(sampler)  # type: ignore[arg-type]


def from_a_file(folder: Path) -> Study:
    study = Study(ASHA(GP(SPACE, initial=20, cost=cost), 1, 9, 3), unit="epochs", log=folder / "s.sqlite")
    tell(study, 40, lambda config, until: Result(error="diverged") if config["layers"] == 8 else cost(config) / until**0.1)
    study.history.log.close()
    with pytest.warns(UserWarning, match="was opened for reading"):
        return hpo.load(folder / "s.sqlite")


def of_clones(folder: Path) -> Study:
    return tell(Study(PBT(Random(SPACE, seed=0), 10, max_resource=12, explore=["lr"]), unit="epochs"), 80,
                lambda config, until: cost(config) / until**0.1)  # fmt: skip


def that_is_maximised(folder: Path) -> Study:
    return hpo.maximize(lambda config: -cost(config), SPACE, "sobol", 24, quiet=True)


STUDIES = {build.__name__: build for build in (by_minimize, by_hand, of_a_plain_class, from_a_file, of_clones, that_is_maximised)}


class Page(HTMLParser):
    """Whether every element that is opened is closed; ids and texts."""

    VOID = ("meta", "br", "path", "use", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data


@pytest.mark.parametrize("name", STUDIES)
def test_every_kind_of_study_is_analysed(name: str, tmp_path: Path) -> None:
    study = STUDIES[name](tmp_path)
    before = study.history.digest
    found = study.importance()
    assert isinstance(found, Importance) and set(found.total) == set(SPACE.columns)
    assert str(found).count("%") == 2 * len(SPACE.columns)
    for picture in PICTURES:
        path = tmp_path / f"{picture}.png"
        figure = getattr(study.plot, picture)(path)
        assert path.read_bytes()[:4] == b"\x89PNG" and figure.axes
    path = study.report(tmp_path / "report.html", title="mine & <yours>")
    text = path.read_text()
    page = Page(text)
    assert '<h1 id="title">mine &amp; &lt;yours&gt;</h1>' in text
    shown = ["history", *["curves"] * (study.header.horizon > 1), *["lineage"] * (name == "of_clones"), "importance", "effects",
             "parallel", "slices"]  # fmt: skip
    drawn = re.findall(r'<div data-panel="(\w+)"', text)
    assert drawn[: len(shown)] == shown and drawn[-1] == "trials"
    assert not re.search(r"https?://|\bsrc=|url\((?!#)|@import|<link", text), "one self-contained file"
    head = ["trial", study.header.unit, study.objective]
    rows = [row for row in page.cells if len(row) >= len(head) + len(SPACE.columns)]
    assert rows[0][:3] == head and rows[0][-len(SPACE.columns) :] == list(SPACE.columns)
    assert len(rows) == 1 + len(study.history.trials)
    assert study.history.digest == before, "looking changes nothing"
    assert not list(tmp_path.glob("*.half"))


def test_the_default_is_what_was_enqueued_first(tmp_path: Path) -> None:
    study = by_hand(tmp_path)
    labels = [line.get_label() for line in study.plot.history().axes[0].lines]
    assert labels == ["best so far", "default"]
    assert "of the default" in study.report(tmp_path / "r.html").read_text()


def test_the_study_of_an_optimizer_is_over_the_history_that_it_has(tmp_path: Path) -> None:
    optimizer = Random(SPACE, seed=1)
    study = Study.of(optimizer)
    assert study.history is optimizer.history and len(study.rows()) == 0 and "no success yet" in repr(study)
    job = optimizer.ask()
    assert job is not None
    optimizer.tell(job, 1.0)
    assert study.best.value == 1.0 and Study.of(optimizer).best == study.best
    bound = Study(Random(SPACE), objectives={"a": "max", "b": "min"})
    assert Study.of(bound.optimizer).header == bound.header
    with pytest.raises(TypeError, match="optimizer is the class Random; allowed is an instance"):
        Study.of(Random)  # type: ignore[arg-type]


def test_several_objectives(tmp_path: Path) -> None:
    aims = {"loss": "min", "accuracy": "max", "bytes": "min"}
    study = tell(Study(Random(SPACE), objectives=aims), 30, lambda config, until: {
        "loss": cost(config), "accuracy": -config["lr"], "bytes": config["layers"] * 1e9})  # fmt: skip
    figure = study.plot.pareto(tmp_path / "front.svg")
    assert (tmp_path / "front.svg").read_text().startswith("<?xml")
    pairs = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes if axes.get_visible()]
    assert len(pairs) == 3 and pairs[0] == ("loss (lower is better)", "accuracy (higher is better)")
    front = figure.axes[0].collections[1].get_offsets()
    assert sorted(map(tuple, front)) == sorted((t.metrics["loss"], t.metrics["accuracy"]) for t in study.pareto)
    assert study.plot.history(objective="accuracy").axes[0].get_ylabel() == "accuracy"
    text = study.report(tmp_path / "r.html").read_text()
    assert "<h2>Pareto front</h2>" in text and "2 other objectives aside" in text and "Front of" in text
    for column in aims:
        assert f"<button>{column}</button>" in text
    with pytest.raises(ValueError, match=r"'size' is no objective of this study; allowed are \['loss', 'accuracy', 'bytes'\]"):
        study.plot.slices(objective="size")
    with pytest.raises(ValueError, match="a front needs several objectives, and this study has one, 'loss'"):
        by_minimize(tmp_path).plot.pareto()


@pytest.mark.parametrize("jobs", [0, 1, 30], ids=["empty", "one failure", "all failed"])
def test_where_nothing_has_succeeded(jobs: int, tmp_path: Path) -> None:
    study = tell(Study(Random(SPACE)), jobs, lambda config, until: Result(error="out of <memory>"))
    found = study.importance()
    assert isinstance(found, Correlations) and str(found).startswith("Nothing can be said before two trials have succeeded")
    for picture in PICTURES:
        among = f"no trial has succeeded among {jobs} result{'' if jobs == 1 else 's'}$"
        said = "Nothing can be said" if picture in ("importance", "effects") else among
        with pytest.raises(ValueError, match=said):
            getattr(study.plot, picture)(tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    text = study.report(tmp_path / "r.html").read_text()
    Page(text)
    assert "No trial has succeeded yet." in text and 'data-panel="history"' not in text
    assert ("The last error was: out of &lt;memory&gt;." in text) == (jobs > 0)


def test_below_a_model_the_results_are_shown(tmp_path: Path) -> None:
    study = tell(Study(Random(SPACE)), 3, lambda config, until: cost(config))
    said = "3 results are too few for a model of 6 hyperparameters; from 8 on there is one"
    assert said in str(study.importance())
    with pytest.raises(ValueError, match=f"{said}; study.plot.slices"):
        study.plot.importance()
    text = study.report(tmp_path / "r.html").read_text()
    assert f"{said}. What there is" in text and 'data-panel="slices"' in text
    names = {axes.get_xlabel() for axes in study.plot.slices().axes}
    assert names >= set(SPACE.columns) - {"momentum"}


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_there_is_no_plural(count: int, tmp_path: Path) -> None:
    study = tell(Study(Random(Space(x=Float(0, 1))), objectives=["loss", "size"]), count,
                 lambda config, until: {"loss": config["x"], "size": 1.0})  # fmt: skip
    s = "s" * (count > 1)
    text = study.report(tmp_path / "r.html").read_text()
    for words in (f"{count} result{s} of {count} trial{s}", f"configuration{s} tried", "at the highest budget, 1 evaluation,",
                  "1 other objective aside"):  # fmt: skip
        assert words in text
    assert "1 evaluations" not in text


def test_nothing_to_choose_and_equal_losses(tmp_path: Path) -> None:
    only = tell(Study(Random(Space(a=Const(3)))), 4, lambda config, until: 1.0)
    with pytest.raises(ValueError, match="The space has no hyperparameter to choose"):
        only.plot.parallel()
    equal = tell(Study(Random(SPACE)), 20, lambda config, until: 1.0)
    for study, words in ((only, "The space has no hyperparameter"), (equal, "All 20 results are equal")):
        text = study.report(tmp_path / "r.html").read_text()
        assert words in text and "<h2>Best so far</h2>" in text


def test_a_running_study_has_pending_trials_in_its_table(tmp_path: Path) -> None:
    study = tell(Study(Random(SPACE)), 4, lambda config, until: cost(config))
    study.optimizer.ask()
    text = study.report(tmp_path / "r.html").read_text()
    assert "not finished" in text and "1 pending" in text


MISSING = """
import sys
for name in {hidden}:
    sys.modules[name] = None
import hpo
study = hpo.minimize(lambda config: config["x"], {{"x": (0.0, 1.0)}}, "random", 8, quiet=True)
study.importance()
try:
    study.{call}
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("hidden", "call", "said"),
    [
        (["matplotlib"], "plot.history()", "figures are drawn by Matplotlib, which is not installed: pip install matplotlib"),
        (["matplotlib"], "plot.importance()", "figures are drawn by Matplotlib"),
        (["jinja2"], "report('r.html')", "the page is written by Jinja2, which is not installed: pip install jinja2"),
    ],
)
def test_a_library_that_is_missing_is_named_in_a_sentence(hidden: list[str], call: str, said: str, tmp_path: Path) -> None:
    code = MISSING.format(hidden=hidden, call=call)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.stdout.startswith(said), done.stderr
    assert done.stdout.count("\n") == 1 and not (tmp_path / "r.html").exists()
