"""Fine-tuning: texts, scores beside transformers' losses, every arm on small random models, lines, tables and claims."""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

import transformers
from transformers import default_data_collator

from experiments.finetuning import __main__ as room
from experiments.finetuning import arms, scores, tables, tasks
from experiments.finetuning.spaces import MINILM, SMOLLM2, Spaces
from experiments.finetuning.tasks import FinetuningTask
from experiments.finetuning.training import SCORE, TextsRun, open_trainer
from experiments.ledger.digest import OURS, Sources, is_aside
from experiments.ledger.lines import read_lines
from experiments.sentiment.budget import Monitor
from experiments.sentiment.scores import draw_scores, read_outcomes, write_outcomes

pytestmark = pytest.mark.usefixtures("frozen")
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
WORDS, LENGTH = 24, 8
SHAPE = {"vocab_size": WORDS, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
SMALL = Spaces((1e-4, 1e-1), (1e-3, 1e-1), (2, 4), (1, 2), {"learning_rate": 1e-2, "batch_size": 4, "num_layers": 2})


def count_seconds() -> Callable[[], float]:
    """A clock that is a second later whenever it is read: once a step and a few times an evaluation."""
    times = iter(range(10**9))
    return lambda: float(next(times))


def start_counting(seconds: float) -> Monitor:
    return Monitor(seconds, count_seconds())


def make_rows(count: int, classes: int, seed: int) -> list[dict[str, Any]]:
    """Lines in which every word is the one before plus one or two; the class says which."""
    rng = np.random.default_rng(seed)
    rows = []
    for first, step in zip(rng.integers(WORDS, size=count), rng.integers(1, 3, size=count), strict=True):
        ids = [int(first + place * step) % WORDS for place in range(LENGTH)]
        rows.append({"input_ids": ids, "labels": int(step) - 1 if classes else ids})
    return rows


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Random models: a causal one of the Llama family, an encoder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    llama = transformers.LlamaConfig(**SHAPE, num_key_value_heads=1, tie_word_embeddings=True, pad_token_id=0)
    bert = transformers.BertConfig(**SHAPE, max_position_embeddings=LENGTH)
    transformers.LlamaForCausalLM(llama).save_pretrained(folder / "smollm2")
    transformers.BertForSequenceClassification(bert).save_pretrained(folder / "minilm")
    return {name: str(folder / name) for name in ("smollm2", "minilm")}


def make_task(name: str, folders: Mapping[str, str], seconds: float = 36.0) -> FinetuningTask:
    classes = ("one", "two") if name == "minilm" else ()
    train, valid, test = (make_rows(count, len(classes), seed) for seed, count in enumerate((18, 8, 10)))
    return FinetuningTask(folders[name], classes, train, valid, test, default_data_collator, SMALL, seconds, 6)


@pytest.fixture(params=["smollm2", "minilm"])
def task(request: pytest.FixtureRequest, folders: dict[str, str]) -> FinetuningTask:
    return make_task(str(request.param), folders)


# -- texts and scores --------------------------------------------------------------------------------------------------


def test_losses_are_those_of_transformers(task: FinetuningTask) -> None:
    """Of each text alone, and their mean."""
    model = task.make_model(SMALL.default).eval()
    found = task.judge(model)
    with torch.no_grad():
        expected = [float(model(**default_data_collator([row])).loss) for row in task.test]
    assert found["losses"] == pytest.approx(expected, abs=1e-4) and found["loss"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert ("macro_f1" in found) == bool(task.classes)
    if task.classes:
        truth = read_outcomes(found["outcomes"]) // 2
        assert truth.tolist() == [row["labels"] for row in task.test]


def test_pieces_stand_apart_and_begin_with_a_line() -> None:
    text = "\n".join(f"line {place:05d} of a work" + "." * 40 for place in range(400))
    tokenizer = lambda some: SimpleNamespace(input_ids=[ord(letter) for letter in some])  # noqa: E731
    found = tasks.take_pieces(text, 10, tokenizer)
    pieces = ["".join(map(chr, row["input_ids"])) for row in found]
    assert len({*pieces}) == 10 and all(piece.startswith("line ") and len(piece) == tasks.TOKENS for piece in pieces)
    assert all(row["labels"] == row["input_ids"] for row in found)
    with pytest.raises(ValueError, match="less than 64 tokens"):
        tasks.take_pieces("\n" * 10_000, 2, lambda some: SimpleNamespace(input_ids=[0]))


def test_the_tweets_are_cut_into_parts() -> None:
    if absent := tasks.list_unavailable("minilm"):
        pytest.skip(f"{', '.join(absent)} is not installed")
    found = tasks.minilm_task()
    assert (len(found.train), len(found.valid), len(found.test)) == tasks.TWEETS and found.horizon == 27 * found.rung
    lengths = [len(row["input_ids"]) for row in found.test]
    assert lengths == sorted(lengths) and lengths[-1] <= tasks.LONGEST
    said = [{tuple(row["input_ids"]) for row in part} for part in (found.train, found.valid, found.test)]
    assert len(said[0]) == len(found.train) and not said[0] & said[2] and not said[1] & said[2]


@pytest.mark.slow
def test_shakespeares_works_are_held_out_whole() -> None:
    """Reads the weights' file once for its tokenizer, which takes a minute."""
    if absent := tasks.list_unavailable("smollm2"):
        pytest.skip(f"{', '.join(absent)} is not installed")
    found = tasks.smollm2_task()
    assert (len(found.train), len(found.valid), len(found.test)) == tasks.PIECES and found.horizon == 27 * found.rung
    assert {len(row["input_ids"]) for part in (found.train, found.valid, found.test) for row in part} == {tasks.TOKENS}


def test_draws_of_losses_are_those_of_outcomes() -> None:
    """The loss of a wrong text being 1, their means are 1 less the drawn accuracies: both pair arms by the same draws."""
    outcomes = np.random.default_rng(0).integers(0, 4, (3, 50))
    wrong = (outcomes // 2 != outcomes % 2).astype(float)
    assert scores.draw_losses(wrong) == pytest.approx(1 - draw_scores(outcomes, 2, 0).values["accuracy"])


def test_intervals_of_losses_cover_seeds_and_texts() -> None:
    rng = np.random.default_rng(0)
    losses = rng.normal(3, 1, 400)
    low, high = np.quantile(scores.draw_losses(losses[None]), [0.025, 0.975])
    assert high - low == pytest.approx(2 * 1.96 * losses.std() / 20, rel=0.1)
    low, high = np.quantile(scores.draw_losses(np.array([[0.0] * 400, [1.0] * 400])), [0.025, 0.975])
    assert (low, high) == (0, 1)


# -- what is trained ---------------------------------------------------------------------------------------------------


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """The model's own weights, by the names that they have without adapters."""
    named = {name.removeprefix("base_model.model.").replace(".base_layer", ""): one for name, one in model.named_parameters()}
    return {name: one.detach().clone() for name, one in named.items() if "lora_" not in name and "classifier" not in name}


@pytest.mark.parametrize(
    ("config", "kept"),
    [({}, "nothing"), ({"freeze_embeddings": True}, "embeddings"), ({"lora_rank": 2, "lora_targets": "all"}, "everything")],
)
def test_arms_train_different_weights(task: FinetuningTask, config: dict[str, Any], kept: str) -> None:
    """All of them, all but the embeddings, and none: adapters leave the model's own weights as they are."""
    trainer = open_trainer(task, Monitor(), {**SMALL.default, **config, "max_steps": 2})
    before = weights_of(trainer.model)
    trainer.train()
    same = {name for name, one in weights_of(trainer.model).items() if torch.equal(one, before[name])}
    tables_of_words = {name for name in before if "embed" in name}
    assert same & tables_of_words == ({} if kept == "nothing" else tables_of_words) or not same
    assert (same == {*before}) == (kept == "everything") and (same >= tables_of_words) == (kept != "nothing")


@pytest.mark.parametrize("more", [{}, {"lora_rank": 2, "lora_alpha": 8.0, "lora_targets": "attention", "lora_dropout": 0.1}])
def test_a_budget_is_a_number_of_texts(task: FinetuningTask, more: dict[str, Any], tmp_path: Path) -> None:
    """At any batch size; a training ends at its own epochs, and one that pauses scores as one that does not."""
    config = {"learning_rate": 1e-2, "batch_size": 2, "num_layers": 2, "warmup_ratio": 0.1, "num_train_epochs": 2, **more}
    runs = [TextsRun(task, Monitor(), config, 0, task.horizon) for _ in range(3)]
    at_once = runs[0].advance(task.horizon)[0]
    assert runs[0].step == 2 * 18 // 2 and runs[0].advance(task.horizon)[0] == at_once
    runs[1].advance(6)
    assert runs[1].step == 3
    runs[1].save(str(tmp_path / "three"))
    runs[2].load(str(tmp_path / "three"))
    assert runs[2].advance(task.horizon)[0][SCORE] == pytest.approx(at_once[SCORE], rel=1e-5)
    wide = TextsRun(task, Monitor(), {**config, "batch_size": 4}, 0, task.horizon)
    wide.advance(6)
    assert wide.step == 2
    for run in (*runs, wide):
        run.close()


def test_a_loss_that_is_not_finite_is_no_evaluation(task: FinetuningTask) -> None:
    monitor = Monitor()
    trainer = open_trainer(task, monitor, {**SMALL.default, "max_steps": 1})
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))  # type: ignore[union-attr]
    trainer.evaluate()
    assert monitor.best is None and not monitor.evaluations


# -- the arms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "arm"), [("smollm2", "tuned"), ("minilm", "LoRA"), ("minilm", "random"), ("minilm", "default")])
def test_every_arm_has_the_same_seconds(folders: dict[str, str], name: str, arm: str) -> None:
    task = make_task(name, folders, 45.0 if arm == "default" else 36.0)
    found = arms.run_arm(task, arm, 0, start_counting)
    assert all(seconds <= task.seconds for seconds, *_ in found["evaluations"])
    assert found["best"]["score"] == max(score for *_, score in found["evaluations"])
    assert len(found["losses"]) == 10 and np.isfinite(found["loss"])
    if arm == "default":
        assert found["planned"] == found["best"]["config"]["max_steps"] and found["planned"] % arms.EVALUATIONS == 0
        assert found["steps"] > 2 * arms.PROBE and 0.6 * task.seconds < found["seconds"] < task.seconds + 5
        return
    assert found["configurations"] > 1 and task.seconds <= found["seconds"] < task.seconds + 5
    space = SMALL.adapters() if arm == "LoRA" else SMALL.whole_model()
    assert {*found["best"]["config"]} == {*found["first"]["config"]} == {*space.parameters}


def test_the_default_is_planned_for_its_seconds(folders: dict[str, str]) -> None:
    """More seconds are a longer training, and it is evaluated to its end; the probe does not count."""
    found = {seconds: arms.run_arm(make_task("smollm2", folders, seconds), "default", 1, start_counting)
             for seconds in (50.0, 80.0)}  # fmt: skip
    short, long = found[50.0], found[80.0]
    assert short["planned"] + 12 <= long["planned"] <= 80
    assert [steps for _, steps, _ in long["evaluations"]] == [long["planned"] // 6 * place for place in range(1, 7)]
    assert long["steps"] == long["planned"] and long["start"] == short["start"] > -long["best"]["score"]


def test_a_budget_too_small_for_one_evaluation_says_so(folders: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match="nothing was evaluated"):
        arms.run_arm(make_task("smollm2", folders, 2.0), "tuned", 0, start_counting)


def test_references_are_not_trained(task: FinetuningTask) -> None:
    once, again = (arms.run_reference(task, "untrained", 0) for _ in range(2))
    whole = arms.run_reference(task, "whole", 0)
    assert once == again and once == whole  # both layers of these models are kept by default
    short = {"default": {**SMALL.default, "num_layers": 1}}
    assert arms.run_reference(SimpleNamespace(spaces=SimpleNamespace(**short), make_model=task.make_model,
                                                  judge=task.judge), "untrained", 0) != once  # type: ignore[arg-type]  # fmt: skip


def test_defaults_lie_in_the_spaces() -> None:
    """The defaults that a search could choose, too."""
    for spaces in (SMOLLM2, MINILM):
        rest = {"warmup_ratio": 0.0, "num_train_epochs": 3}
        spaces.whole_model().check({**spaces.default, **rest, "freeze_embeddings": False})
        assert {"learning_rate", "lora_rank", "lora_alpha", "lora_targets", "lora_dropout"} <= {*spaces.adapters().parameters}


def test_nothing_of_ours_is_executed_that_the_digest_does_not_cover(folders: dict[str, str]) -> None:
    read = Sources()
    for name, arm in (("minilm", "default"), ("smollm2", "LoRA")):
        key = {"task": name, "arm": arm, "seed": 0}
        sources = next(one.sources for one in room.finetuning_measurements() if one.key == key)
        reached, run = {module for module, _ in read.reach(*sources)}, set()
        gc.collect()  # what searches before have left closes its files
        sys.setprofile(lambda frame, event, _, run=run: run.add(frame.f_globals.get("__name__", "")))  # type: ignore[misc]
        try:
            arms.run_arm(make_task(name, folders, 36.0), arm, 0, start_counting)
        finally:
            sys.setprofile(None)
        ours = {module for module in run if module.partition(".")[0] in OURS and not is_aside(module)}
        ours -= {"hpo"}  # which looks up names when they are asked for first
        assert len(ours) > 5 and ours - reached == set()


# -- lines and tables --------------------------------------------------------------------------------------------------


def test_references_are_measured_first_then_seed_by_seed() -> None:
    found = [*room.order_finetuning()]
    assert len({*found}) == len(found) == len([*room.finetuning_measurements()]) == 3 + 2 * 4 * 5
    assert {arm for _, arm, _ in found[:3]} == {"untrained", "whole"}
    assert [seed for *_, seed in found[3:]] == sorted(seed for *_, seed in found[3:])


def test_a_recheck_compares_what_no_speed_changes() -> None:
    line = {"task": "minilm", "seed": 0, "loss": 1.0, "first": {"score": -1.0}, "start": 1.1, "seconds": 3.0}
    for arm, same, other in (("tuned", "loss", "first"), ("default", "loss", "start"), ("untrained", "", "loss")):
        was = room.compare_finetuning({**line, "arm": arm})
        assert not same or room.compare_finetuning({**line, "arm": arm, same: 0.0}) == was
        assert room.compare_finetuning({**line, "arm": arm, other: 0.0}) != was


def make_lines(gains: Mapping[tuple[str, str], float], seeds: int = 5) -> list[dict[str, Any]]:
    """Lines of every arm, of which the losses are lower and more texts are right by a gain."""
    rng = np.random.default_rng(0)
    lines = []
    for task in tasks.TASKS:
        truth, luck, base = rng.integers(0, 2, 200), rng.random(200), rng.normal(3.0, 0.1, 200)
        for arm in arms.ARMS:
            gain = gains.get((task, arm), 0.0)
            for seed in range(seeds):
                losses = (base - gain + 0.001 * seed).round(4).tolist()
                line = {"task": task, "arm": arm, "seed": seed, "losses": losses, "loss": float(np.mean(losses)), "steps": 9,
                        "best": {"config": {"learning_rate": 1e-3, "lora_rank": 4}, "steps": 9, "score": -3.0},
                        "evaluations": [[1.0, 9, -3.0]], "configurations": 1, "seconds": 9.0}  # fmt: skip
                if task == "minilm":
                    given = np.where(luck < 0.6 + gain / 2, truth, 1 - truth)
                    line |= {"classes": ["no", "yes"], "outcomes": write_outcomes(truth, given, 2)}
                lines.append(line)
    return lines


def test_tables_say_who_won_and_who_lost() -> None:
    lines = make_lines({("smollm2", "tuned"): 0.3, ("minilm", "tuned"): 0.3, ("minilm", "LoRA"): 0.1})
    said = tables.finetuning_tables(lines)
    assert "| smollm2 | tuned beside default | 5 | loss | +0.300 [" in said
    assert "| minilm | tuned beside default | 5 | macro-F1 |" in said
    rows = {tuple(row.split(" | ")[:2]): row.rpartition(" | ")[2] for row in said.splitlines() if " beside " in row}
    assert rows["| smollm2", "tuned beside default"] == rows["| minilm", "tuned beside default"] == "won |"
    assert rows["| smollm2", "LoRA beside tuned"] == rows["| minilm", "LoRA beside tuned"] == "lost |"
    assert rows["| smollm2", "LoRA beside default"] == "not told apart |"
    assert "| minilm | LoRA | 2 | learning_rate 0.001, lora_rank 4 |" in said
    assert [str(claim.rule(lines)).partition(":")[0] for claim in tables.CLAIMS] == ["holds", "does not hold"]


def test_tables_know_all_tasks_and_arms_by_name() -> None:
    assert set(tables.NAMES) == {*tasks.TASKS} and set(tables.ORDER) == {*arms.REFERENCES, *arms.ARMS}


def test_a_claim_holds_on_both_tasks_or_not_at_all() -> None:
    tuned, lora = tables.CLAIMS
    one = make_lines({("smollm2", "tuned"): 0.3})
    assert tuned.rule(one).holds is False and "smollm2 loss won" in tuned.rule(one).evidence
    few = tuned.rule(make_lines({("smollm2", "tuned"): 0.3, ("minilm", "tuned"): 0.3}, seeds=4))
    assert few.holds is None and few.evidence == "of 5 seeds of both on minilm, smollm2 some are missing"
    assert lora.rule(make_lines({("smollm2", "LoRA"): 0.3, ("minilm", "LoRA"): 0.3})).holds is True


def test_the_command_measures_a_line_and_prints_the_tables(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On small models: a line is appended for every seed, and the next call measures nothing again."""
    monkeypatch.setattr(arms, "TASKS", {name: lambda name=name: make_task(name, folders, 36.0) for name in tasks.TASKS})
    monkeypatch.setattr(arms, "run_arm", partial(arms.run_arm, start=start_counting))
    monkeypatch.setattr(room, "order_finetuning", lambda: iter([("smollm2", "untrained", 0), ("minilm", "default", 0)]))
    monkeypatch.setattr(room, "list_unavailable", lambda task: [])
    path = tmp_path / "lines.jsonl"
    for _ in range(2):
        done = CliRunner().invoke(room.app, ["--results", str(path)])
        assert done.exit_code == 0, done.output
        assert "| minilm | default | 1 |" in done.output and "-> open:" in done.output
        assert [line["arm"] for line in read_lines(path)] == ["untrained", "default"]


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.PACKAGES, "smollm2", ("nothing_of_this_name",))
    monkeypatch.setitem(tasks.PACKAGES, "minilm", ("nothing_of_this_name",))
    done = CliRunner().invoke(room.app, ["--results", str(tmp_path / "lines.jsonl")])
    assert done.exit_code == 0 and "smollm2 is not measured: nothing_of_this_name is not here" in done.output
    assert "nothing is measured yet" in done.output and importlib.util.find_spec("nothing_of_this_name") is None
