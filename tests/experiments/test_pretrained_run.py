"""Pretrained models of the GPT-2 and Llama families as Runs: what a Recipe and TrainingArguments have, in one configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("transformers")

import transformers

from hpo.integrations.transformers import TrainerRun, set_arguments, tune
from models.pretrained.layers import find_layers, list_embeddings
from models.pretrained.recipe import Recipe
from models.pretrained.trainer import set_layer_rates

SMALL = {"vocab_size": 50, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 16}
FAMILIES: Mapping[str, Callable[[], Any]] = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=50, n_layer=3, n_head=2, n_embd=16, bos_token_id=0, eos_token_id=0)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SMALL, intermediate_size=32, num_key_value_heads=1, tie_word_embeddings=True, eos_token_id=0)
    ),
}
ROWS = [{"input_ids": ids, "labels": ids} for ids in torch.randint(1, 50, (12, 8), generator=torch.manual_seed(0)).tolist()]
CONFIG = {"num_layers": 2, "layer_decay": 0.5, "lr": 1e-2, "batch_size": 2, "weight_decay": 0.1, "warmup_ratio": 0.25,
          "accumulation": 2}  # fmt: skip


def make_trainer(folder: Path, config: Mapping[str, Any]) -> Any:
    transformers.logging.set_verbosity_error()
    recipe, rest = Recipe.split(config)
    args = transformers.TrainingArguments(
        str(folder), report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False
    )
    set_arguments(args, rest)
    trainer = transformers.Trainer(model=recipe.make_causal(), args=args, train_dataset=ROWS[:8], eval_dataset=ROWS[8:])
    set_layer_rates(trainer, recipe)
    return trainer


@pytest.fixture(params=FAMILIES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    FAMILIES[request.param]().save_pretrained(tmp_path / request.param)
    return {"model_name": str(tmp_path / request.param), **CONFIG}


@pytest.mark.parametrize(
    "more",
    [{}, pytest.param({"freeze_layers": 1, "freeze_embeddings": True}, marks=pytest.mark.slow),
     pytest.param({"lora_rank": 2, "lora_targets": "all", "lora_dropout": 0.1},
                  marks=pytest.mark.skipif(find_spec("peft") is None, reason="the package peft is not installed"))],
    ids=["all", "frozen", "adapters"],
)  # fmt: skip
def test_a_training_that_pauses_is_one_at_once(config: dict[str, Any], more: dict[str, Any], tmp_path: Path) -> None:
    make = partial(make_trainer, tmp_path / "args")
    whole, first, second = (TrainerRun(make, {**config, **more}, 0, 6) for _ in range(3))
    expected = whole.advance(6)[0]["eval_loss"]
    assert first.advance(3)[0]["eval_loss"] != expected
    first.save(str(tmp_path / "half"))
    second.load(str(tmp_path / "half"))
    assert second.advance(6)[0]["eval_loss"] == expected
    for run in (whole, first, second):
        run.close()


def test_the_trainers_rates_fall_with_depth(config: dict[str, Any], tmp_path: Path) -> None:
    """And are those that it was trained with: with a decay near 0 only what is above the blocks learns."""
    trainer = make_trainer(tmp_path / "args", config)
    groups = trainer.create_optimizer().param_groups
    rates = {id(one): group["lr"] for group in groups for one in group["params"]}
    blocks = find_layers(trainer.model)
    assert [{rates[id(one)] for one in block.parameters()} for block in blocks] == [{1e-2 * 0.25}, {1e-2 * 0.5}]
    assert {rates[id(one)] for one in list_embeddings(trainer.model)} == {1e-2 * 0.125}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}
    trainer = make_trainer(tmp_path / "args", {**config, "layer_decay": 1e-300, "max_steps": 2, "warmup_ratio": 0.0})
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed and all("ln_f" in name or name == "model.norm.weight" for name in changed)


def test_a_clone_has_rates_of_its_own(config: dict[str, Any], tmp_path: Path) -> None:
    make = partial(make_trainer, tmp_path / "args")
    donor, heir, other = (TrainerRun(make, {**config, "layer_decay": decay}, 0, 6) for decay in (0.5, 0.9, 0.5))
    donor.advance(3)
    donor.save(str(tmp_path / "half"))
    for run in (heir, other):
        run.adopt(str(tmp_path / "half"))
    assert heir.advance(6)[0]["eval_loss"] != other.advance(6)[0]["eval_loss"]
    assert len({group["initial_lr"] for group in heir.trainer.optimizer.param_groups}) == 4
    for run in (donor, heir, other):
        run.close()


def test_a_search_sets_all_at_once(config: dict[str, Any], tmp_path: Path) -> None:
    space = {**{name: [value] for name, value in config.items()}, "num_layers": (1, 3), "layer_decay": (0.5, 1.0),
             "lr": (1e-4, 1e-2, "log"), "accumulation": [1, 2]}  # fmt: skip
    study = tune(partial(make_trainer, tmp_path / "args"), space, "random", 3, steps=2, quiet=True)
    assert len(study.successes()) == 3 and study.best.value == min(study.history.losses(key)[0] for key in study.successes())
    study = tune(partial(make_trainer, tmp_path / "args"), {**space, "num_layers": [4]}, "random", 1, steps=2, quiet=True)
    (result,) = study.history.results.values()
    assert result.error is not None and "has 3 layers; allowed are 1 to 3" in result.error


def test_a_trainer_with_an_optimizer_and_a_decay_that_is_none_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe.split(config)[0]
    model = recipe.make_causal()
    own = transformers.Trainer(model=model, args=transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]),
                               optimizers=(torch.optim.SGD(model.parameters(), 0.1), None))  # fmt: skip
    with pytest.raises(ValueError, match="the trainer was given an optimizer"):
        set_layer_rates(own, recipe)
    with pytest.raises(ValueError, match=r"layer_decay is 2\.0; allowed is above 0 up to 1"):
        make_trainer(tmp_path / "args", {**config, "layer_decay": 2.0})
