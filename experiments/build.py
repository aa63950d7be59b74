"""From settings to the objects of a study: the optimizer, the objective, the corpus. Imports no torch."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from experiments.job import TRAINABLE, GPTObjective, grid_values, space
from experiments.settings import TOKENIZERS, Settings
from hpo.optimizer import Optimizer, Sampler
from hpo.optimizers import make
from hpo.optimizers.halving import geometric

if TYPE_CHECKING:
    from models.data import Corpus

GENERATIONS = 9  # of PBT, where the horizon has room for them
PACKAGES = ("torch", "numpy", "scipy")


def sampler(settings: Settings) -> Sampler:
    """The sampler by name, over the space of the main job."""
    options: Mapping[str, Mapping[str, Any]] = {"grid": {"values": grid_values()}}
    made = make(settings.sampler, space(), settings.seed, **options.get(settings.sampler, {}))
    assert isinstance(made, Sampler)
    return made


def optimizer(settings: Settings) -> Optimizer:
    """The scheduler over the sampler, or the sampler alone. ValueError in one sentence for sizes that do not fit."""
    inner = sampler(settings)
    if settings.scheduler == "none":
        return inner
    return make(settings.scheduler, inner.space, settings.seed, sampler=inner, **_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    low, high, eta = settings.min_resource, settings.horizon, settings.reduction_factor
    if settings.scheduler == "pbt":
        generations = max(1, min(GENERATIONS, high // low))
        sizes = {"population": settings.completed().population, "generations": generations}
        return {**sizes, "max_resource": high, "explore": TRAINABLE}
    if settings.scheduler == "median":
        return {"rungs": [rung for rung in geometric(low, high, eta) if rung < high], "max_resource": high}
    return {"min_resource": low, "max_resource": high, "reduction_factor": eta}


def objective(settings: Settings, eval_tokens: int | None = None) -> GPTObjective:
    """What a worker trains; `eval_tokens` of validation text if it is to look closer than the search does."""
    made = GPTObjective(
        settings.text,
        TOKENIZERS[settings.tokenizer],
        settings.context,
        device=settings.device,
        precision=settings.precision,
    )
    return made if eval_tokens is None else GPTObjective(**{**made.__dict__, "eval_tokens": eval_tokens})


def corpus(settings: Settings) -> Corpus:
    """The text, tokenised, and long enough. ValueError, FileNotFoundError or ModuleNotFoundError in one sentence."""
    from models.data import check_length, load_corpus

    loaded = load_corpus(settings.text, TOKENIZERS[settings.tokenizer])
    check_length("training", loaded.train, settings.context, settings.text)
    check_length("validation", loaded.valid, settings.context, settings.text)
    return loaded


def check_device(settings: Settings) -> None:
    """ValueError in one sentence if this machine lacks the device. Imports torch only for CUDA."""
    if settings.device != "cpu":
        from models.train import open_device

        open_device(settings.device)
    elif settings.precision == "fp16":
        raise ValueError("precision is 'fp16', but must be float32 or bf16 on the cpu")


def versions() -> dict[str, str]:
    """What a result depends on besides the settings."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def digest(loaded: Corpus) -> str:
    """Names the tokens of a corpus, so that a study is not continued on another text."""
    hashed = hashlib.blake2b(digest_size=8)
    for part in (loaded.train, loaded.valid):
        hashed.update(str(len(part)).encode())
        hashed.update(part.tobytes())
    return hashed.hexdigest()
