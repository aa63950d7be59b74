"""From settings to the objects of a study: the optimizer, the objective, the corpus. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import job
from experiments.job import GPTObjective
from experiments.settings import TOKENIZERS, Settings, most_workers, population, refused
from experiments.spaces import Fits
from hpo.optimizer import Optimizer, Sampler
from hpo.optimizers import make
from hpo.optimizers.rungs import geometric
from hpo.space import Space

if TYPE_CHECKING:
    from models.data.batches import Corpus

GENERATIONS = 9  # of PBT, where the horizon has room for them
TRIED = 1_000  # random configurations; a space with fewer that fit than one in so many could hardly be sampled
PACKAGES = ("torch", "numpy", "scipy")


def space(settings: Settings, vocabulary: int | None = None) -> Space:
    """The space of the main job by name; with the vocabulary of the text, only what fits into the memory of a worker.

    Without a limit in the settings, as studies had it before there was one, nothing is left out.
    """
    if vocabulary is None or settings.memory is None:
        return job.space(settings.space)
    return job.space(settings.space, _room(settings, vocabulary))


def _room(settings: Settings, vocabulary: int) -> Fits:
    """The memory of a worker, of settings that have a limit."""
    assert settings.memory is not None
    return objective(settings).room(settings.memory, vocabulary, settings.kernels is not False)


def sampler(settings: Settings, vocabulary: int | None = None) -> Sampler:
    """The sampler by name, over the space of the main job."""
    options: Mapping[str, Mapping[str, Any]] = {"grid": {"values": job.grid_values(settings.space)}}
    made = make(settings.sampler, space(settings, vocabulary), settings.seed, **options.get(settings.sampler, {}))
    assert isinstance(made, Sampler)
    return made


def optimizer(settings: Settings, vocabulary: int | None = None) -> Optimizer:
    """The scheduler over the sampler, or the sampler alone. ValueError in one sentence for sizes that do not fit."""
    inner = sampler(settings, vocabulary)
    if settings.scheduler == "none":
        return inner
    return make(settings.scheduler, inner.space, settings.seed, sampler=inner, **_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    low, high, eta = settings.min_resource, settings.horizon, settings.reduction_factor
    if settings.scheduler == "pbt":
        generations = max(1, min(GENERATIONS, high // low))
        sizes = {"population": settings.population or population(settings), "generations": generations}
        return {**sizes, "max_resource": high, "explore": job.trainable(settings.space)}
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
        engine=settings.engine,
        activation_checkpointing=settings.activation_checkpointing,
    )
    return made if eval_tokens is None else GPTObjective(**{**made.__dict__, "eval_tokens": eval_tokens})


def corpus(settings: Settings) -> Corpus:
    """The text, tokenised, and long enough. ValueError, FileNotFoundError or ModuleNotFoundError in one sentence."""
    from models.data.batches import check_length, load_corpus

    loaded = load_corpus(settings.text, TOKENIZERS[settings.tokenizer])
    check_length("training", loaded.train, settings.context, settings.text)
    check_length("validation", loaded.valid, settings.context, settings.text)
    return loaded


def check_device(settings: Settings) -> None:
    """ValueError in one sentence if this machine lacks the device, or the device something. Imports torch only for CUDA."""
    if settings.device != "cpu":
        from models.train import open_device

        open_device(settings.device)
    elif settings.precision == "fp16":
        raise ValueError("precision is 'fp16', but must be float32 or bf16 on the cpu")
    elif settings.engine == "graph":
        raise ValueError("engine is 'graph', but must be eager or compile on the cpu: CUDA graphs need a CUDA device")
    elif settings.engine == "compile" and shutil.which(compiler()) is None:
        raise ValueError(f"engine is 'compile', but must be eager where there is no C++ compiler {compiler()!r}")


def compiler() -> str:
    """The C++ compiler that torch.compile calls for a CPU."""
    return os.environ.get("CXX") or ("clang++" if platform.system() == "Darwin" else "g++")


def check_memory(settings: Settings, vocabulary: int, given: bool = True) -> None:
    """ValueError in one sentence if the space is (nearly) empty: of TRIED configurations none fits into the memory of
    completed settings. Where that was not `given`, it is the workers who are too many for what is free."""
    whole, room = job.space(settings.space), _room(settings, vocabulary)
    tried = [whole.decode(row) for row in whole.domain.random(np.random.default_rng(0), TRIED)]
    if any(map(room, tried)):
        return
    least, usual = min(map(room.needs, tried)), room.needs(job.default(settings.space))
    why = (
        f"of {TRIED} configurations of the {settings.space} space none takes less at context {settings.context}, "
        f"and the default one takes {usual}"
    )
    if not given:
        raise _too_many(settings, least, why)
    raise refused("memory", settings.memory, f"at least {least} bytes for each of {settings.workers} workers: {why}")


def _too_many(settings: Settings, least: int, why: str) -> ValueError:
    """The workers leave each other too little of what is free. One may be too many."""
    most = min(settings.workers - 1, most_workers(settings.device, least))  # meanwhile more may have become free
    if most:
        words = f"at most {most} for each to have {least} bytes to train of what is free: {why}"
        return refused("workers", settings.workers, words)
    return ValueError(f"what is free on {settings.device} leaves no worker {least} bytes to train: {why}")


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
