"""Options that the passes of engines/cpu/ know, and what becomes of one that they do not."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models import gpt, rules
from models.config import GPTConfig, TrainConfig, split
from models.engines.choice import choose_engine
from models.engines.cpu import engine as cpu
from models.engines.cpu.kernels import library
from models.engines.eager import EagerEngine
from models.flat import flatten
from models.gpt import GPT
from models.optimizers.base import make_optimizer
from models.predict import support
from models.predict.memory import memory
from models.predict.support import BESIDE, LEFT, MODEL, TRAINING, has_passes, unknown_option
from models.rules import RULES, Choice
from tests.models.tiny import CORPUS, STEP, TINY, make

CPU = torch.device("cpu")
needs_kernels = pytest.mark.skipif(library() is None, reason="there are no kernels")


@pytest.fixture(autouse=True)
def fresh_warnings() -> Iterator[None]:
    """Each option is said once in a process."""
    cpu._warn.cache_clear()
    yield
    cpu._warn.cache_clear()


def undeclared(config: type, declared: Mapping[str, object] | set[str]) -> set[str]:
    return {field.name for field in fields(config)} ^ set(declared)


def test_every_field_of_both_configs_is_declared() -> None:
    """Whoever adds a field says here whether the passes of a CPU know it."""
    assert undeclared(GPTConfig, MODEL) == set()
    assert undeclared(TrainConfig, {*TRAINING, *BESIDE}) == set() and not BESIDE & set(TRAINING)


def test_every_name_that_a_rule_allows_is_declared() -> None:
    """A new activation, norm or precision is named here, or in LEFT, or this fails; no value stands here that is none."""
    for name, values in {**MODEL, **TRAINING}.items():
        rule = RULES[name]
        if isinstance(rule, Choice):
            assert {*(values or ()), *LEFT.get(name, ())} == set(rule.names), name
        elif rule is rules.FLAG:
            assert {*(values or ()), *LEFT.get(name, ())} == {False, True}, name
        else:
            assert values is support.ANY, name


def test_what_is_left_to_autograd_is_no_unknown_option() -> None:
    size = GPTConfig()
    for training in (TrainConfig(precision="bf16"), TrainConfig(activation_checkpointing=True)):
        assert unknown_option(size, training) is None and not has_passes(size, training)
    assert has_passes(size, TrainConfig(optimizer="muon", batch=3, schedule="wsd"))


# -- toys ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windowed(GPTConfig):
    """As if GPTConfig had one field more."""

    window: int = 0


@dataclass(frozen=True)
class Noisy(TrainConfig):
    """As if TrainConfig had one."""

    gradient_noise: float = 0.0


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "window", rules._integer(0))  # type: ignore[arg-type]
    monkeypatch.setitem(RULES, "gradient_noise", rules._real(0))  # type: ignore[arg-type]


@pytest.fixture
def silu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation that the model has and the passes of a CPU do not."""
    monkeypatch.setitem(RULES, "activation", Choice(("gelu", "silu")))  # type: ignore[arg-type]
    monkeypatch.setitem(gpt.ACTIVATIONS, "silu", F.silu)  # type: ignore[arg-type]


@needs_kernels
def test_a_field_that_is_not_declared_goes_through_autograd(toys: None, caplog: pytest.LogCaptureFixture) -> None:
    for size, training, words in ((Windowed(), TrainConfig(), "window 0"), (GPTConfig(), Noisy(), "gradient_noise 0.0")):
        assert undeclared(type(size), MODEL) | undeclared(type(training), {*TRAINING, *BESIDE}) == {words.split()[0]}
        assert not has_passes(size, training) and unknown_option(size, training) == words
        with caplog.at_level(logging.WARNING):
            assert choose_engine("eager", CPU, 1, 1, size, training) is EagerEngine
        assert f"the engine of a CPU does not know {words}" in caplog.text
    assert choose_engine("eager", CPU, 1, 1, GPTConfig(), TrainConfig()) is cpu.CPUEngine


def test_a_field_is_known_once_it_is_declared(toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "MODEL", {**MODEL, "window": (0,)})
    assert has_passes(Windowed(), TrainConfig())
    assert unknown_option(Windowed(window=4), TrainConfig()) == "window 4"


@needs_kernels
def test_a_value_that_is_not_declared_trains_as_the_model_says(silu: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        runs = [make({"activation": name}) for name in ("silu", "silu", "gelu")]
    assert [type(run.engine) for run in runs] == [EagerEngine, EagerEngine, cpu.CPUEngine]
    assert caplog.text.count("does not know activation 'silu'") == 1
    before = runs[0].validation.loss()
    losses = [run.advance(40 * STEP)[0]["loss"] for run in runs]
    assert losses[0] < before and losses[0] == losses[1] != losses[2]


@needs_kernels
def test_the_engine_itself_refuses_what_it_does_not_know(silu: None) -> None:
    for option, words in (({"activation": "silu"}, "activation 'silu'"), ({"precision": "bf16"}, "precision 'bf16'")):
        size, training = split({**TINY, **option, "vocabulary": CORPUS.vocabulary})
        model = GPT(size)
        flat = flatten(model)
        with pytest.raises(ValueError, match=f"the engine of a CPU does not know {words}"):
            cpu.CPUEngine(model, flat, make_optimizer(flat, training), training)


@needs_kernels
def test_what_is_left_to_autograd_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    options: list[dict[str, Any]] = [{"precision": "bf16"}, {"activation_checkpointing": True}]
    with caplog.at_level(logging.WARNING):
        assert [type(make(option).engine) for option in options] == [EagerEngine, EagerEngine]
    assert caplog.text == ""


def test_memory_is_predicted_of_the_engine_that_trains(silu: None) -> None:
    def peaks(activation: str) -> list[int]:
        config = {**TINY, "vocabulary": 9, "activation": activation, "attention_dropout": 0.1}
        return [memory(config, kernels=kernels).peak for kernels in (True, False)]

    by_hand, through_autograd = peaks("gelu")
    assert by_hand != through_autograd
    assert len(set(peaks("silu"))) == 1
