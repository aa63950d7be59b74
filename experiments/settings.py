"""Everything that decides a study of the main job, as one frozen dataclass that is read from and written to TOML.

Flags of the command line override a file, a file overrides the defaults. What stands in `CHANGEABLE` may differ when a
study is continued; everything else is part of what the study is.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from experiments.job import HORIZON, MIN_RESOURCE, REDUCTION
from experiments.spaces import LARGEST, SPACES
from hpo.optimizer import Scheduler
from hpo.optimizers import OPTIMIZERS
from models.engines import engine as engines
from models.engines.cpu.compiler import compiler, is_enabled

SAMPLERS = tuple(name for name, cls in OPTIMIZERS.items() if not issubclass(cls, Scheduler))
SCHEDULERS = ("none", *(name for name, cls in OPTIMIZERS.items() if issubclass(cls, Scheduler)))
TOKENIZERS = {"char": "char", "bpe": "gpt2"}  # our name -> that of models.data.tokenizers
PRECISIONS = ("float32", "bf16", "fp16")
ENGINES = tuple(engines.ENGINES)
LARGEST_BATCH = LARGEST["batch"]  # sequences; the upper end of `batch` in the space
CHANGEABLE = ("seconds", "trials", "workers", "folder")
MADE_WITH = "made_with"  # a table of the file that is no setting: versions, and the digest of the text


@dataclass(frozen=True)
class Settings:
    """Budgets are in tokens, memory is in bytes. Raises ValueError that names the setting, what came and what is allowed."""

    sampler: str = "gp"
    scheduler: str = "asha"
    seconds: float = 180.0
    trials: int | None = None  # fresh trials; None: as many as the seconds allow
    text: str = "shakespeare"  # a name, a path, or hf:PATH[:CONFIG[:COLUMN]]
    tokenizer: str = "char"
    workers: int = 2
    seed: int = 0
    device: str = "cpu"
    precision: str = "float32"
    horizon: int = HORIZON
    min_resource: int = MIN_RESOURCE
    reduction_factor: float = REDUCTION
    context: int = 64
    population: int | None = None  # of PBT; None: what the seconds allow
    space: str = "standard"
    memory: int | None = None  # bytes a worker may take to train; None: its share of what is free at the start
    engine: str = "eager"
    activation_checkpointing: bool = False
    kernels: bool | None = None  # whether memory is predicted for models/engines/cpu; None: if that can run here
    folder: str = "runs/tune"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise refused(name, getattr(self, name), f"one of {', '.join(allowed)}")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise refused(name, value, f"a whole number of at least {least}")
        for name, above in ABOVE.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not above < value < float("inf"):
                raise refused(name, value, f"a finite number above {above}")
        for name in ("text", "folder", "device"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise refused(name, value, "a string that is not empty")
        for name in ("activation_checkpointing", "kernels"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (name == "kernels" and value is None):
                raise refused(name, value, "true or false")
        self._check_sizes()

    def _check_sizes(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise refused("device", self.device, "cpu, cuda or cuda:N")
        if self.min_resource > self.horizon:
            raise refused("min_resource", self.min_resource, f"at most the horizon, {self.horizon} tokens")
        step = LARGEST_BATCH * self.context
        if self.min_resource < step:
            words = f"at least {step} tokens, one step of {LARGEST_BATCH} sequences of context {self.context}"
            raise refused("min_resource", self.min_resource, words)

    # -- files ---------------------------------------------------------------------------------------------------------

    def to_toml(self, made_with: Mapping[str, str] | None = None) -> str:
        """The settings as TOML; None is left out, because TOML has no word for it."""
        there = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        lines = [f"{name} = {_literal(value)}" for name, value in there.items()]
        if made_with:
            lines += ["", f"[{MADE_WITH}]", *(f"{name} = {_literal(value)}" for name, value in made_with.items())]
        return "\n".join(lines) + "\n"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values; ValueError for a name that is none."""
        names = [f.name for f in fields(cls)]
        unknown = [name for name in values if name not in names]
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; allowed are {', '.join(names)}")
        return cls(**values)

    def differences(self, stored: Settings) -> list[str]:
        """In words, what may not differ and does: `seed was 0 and is now 1`."""
        fixed = [f.name for f in fields(self) if f.name not in CHANGEABLE]
        pairs = [(name, getattr(stored, name), getattr(self, name)) for name in fixed]
        return [f"{name} was {old!r} and is now {new!r}" for name, old, new in pairs if old != new]

    def completed(self, stored: Settings | None = None) -> Settings:
        """With what was left to be decided: PBT's population, the memory and how it is predicted, from an earlier run or
        from what there is.

        Settings of studies from before there was a limit hold none, and get none.
        """
        decided = self
        if self.population is None and self.scheduler == "pbt":
            decided = replace(decided, population=population(self) if stored is None else stored.population)
        if self.memory is None:
            decided = replace(decided, memory=memory(self) if stored is None else stored.memory)
        if self.kernels is None:
            decided = replace(decided, kernels=kernels() if stored is None else stored.kernels)
        return decided


CHOICES: Mapping[str, tuple[str, ...]] = {
    "sampler": SAMPLERS,
    "scheduler": SCHEDULERS,
    "tokenizer": tuple(TOKENIZERS),
    "precision": PRECISIONS,
    "space": tuple(SPACES),
    "engine": ENGINES,
}
LEAST = {
    "trials": 1, "workers": 1, "seed": 0, "horizon": 1, "min_resource": 1, "context": 2, "population": 2, "memory": 1,
}  # fmt: skip
ABOVE = {"seconds": 0, "reduction_factor": 1}


def refused(name: str, value: Any, allowed: str) -> ValueError:
    """One sentence: the setting, what came, what is allowed."""
    return ValueError(f"{name} is {value!r}, but must be {allowed}")


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # of strings and numbers JSON writes what TOML reads


def read_toml(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """(settings by name, the table `made_with`) of a file. FileNotFoundError or ValueError in one sentence."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the settings file {str(path)!r} does not exist")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the settings file {str(path)!r} is not TOML: {error}") from None
    return values, values.pop(MADE_WITH, {})


TOKENS_PER_SECOND = 60_000  # of an average configuration of the space, beside another worker; only sizes PBT's population
SHARE = 0.7  # of the time that the population may take


def population(settings: Settings) -> int:
    """As many members as can all be trained to the horizon in the given seconds; 4 to 32."""
    affordable = SHARE * settings.seconds * settings.workers * TOKENS_PER_SECOND / settings.horizon
    return min(max(int(affordable), 4), 32)


LIBRARY = 400 * 10**6  # bytes of a worker besides what models.predict.memory counts: most of them are torch itself
CGROUPS = Path("/sys/fs/cgroup")
GROUPS = (  # limit, use, and what holds the files of it that are let go of first: of version 2, of version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def memory(settings: Settings) -> int:
    """Bytes that each worker may take for its training, if all share what is free now; at least 1."""
    return max(1, free(settings.device) // settings.workers - LIBRARY)


def most_workers(device: str, least: int) -> int:
    """How many could each take `least` bytes for a training of what is free now."""
    return free(device) // (least + LIBRARY)


def free(device: str) -> int:
    """Bytes of a device that nobody uses."""
    return _free() if device == "cpu" else _free_cuda(device)


def _free(cgroups: Path = CGROUPS) -> int:
    """Bytes of this machine that nobody uses, in a container at most those of its limit; all there are where nothing says
    so."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if found := re.search(r"MemAvailable:\s*(\d+) kB", _read(Path("/proc/meminfo"))):
        limits.append(1024 * int(found[1]))
    for limit, used, stat, cached in GROUPS:
        allowed, taken = _read(cgroups / limit).strip(), _read(cgroups / used).strip()
        if allowed.isdecimal():  # without a limit version 2 says "max", version 1 a number beyond all machines
            kept = re.search(rf"^{cached} (\d+)$", _read(cgroups / stat), re.MULTILINE)  # in use, and free to be taken
            limits.append(int(allowed) - int(taken or 0) + (int(kept[1]) if kept else 0))
    return max(0, min(limits))


def _read(path: Path) -> str:
    """A file of the system; empty where there is none, or none for us."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _free_cuda(device: str) -> int:
    import torch  # which was imported already, to look for the device

    return int(torch.cuda.mem_get_info(device)[0])


def kernels() -> bool:
    """Whether this machine seems to have the kernels of models/engines/cpu: not switched off, and a C compiler. They themselves
    cannot be asked without torch. ValueError if HPO_KERNELS is neither on nor off."""
    if not is_enabled():
        return False
    try:
        return bool(compiler())
    except (FileNotFoundError, ValueError):
        return False
