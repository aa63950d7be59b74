"""Everything that decides a study of the main job, as one frozen dataclass that is read from and written to TOML.

Flags of the command line override a file, a file overrides the defaults. Settings in `CHANGEABLE` may differ when a study is
continued; all others must stay the same.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiments.job import HORIZON, LARGEST, MIN_RESOURCE, REDUCTION, SPACES
from hpo.arguments import retention
from hpo.optimizer import Scheduler
from hpo.optimizers import OPTIMIZERS
from hpo.registry import is_reference
from models.engines import engine as engines

SAMPLERS = tuple(name for name, cls in OPTIMIZERS.items() if not issubclass(cls, Scheduler))
SCHEDULERS = ("none", *(name for name, cls in OPTIMIZERS.items() if issubclass(cls, Scheduler)))
TOKENIZERS = {"char": "char", "bpe": "gpt2"}  # our name -> the name in models.data.tokenizers
PRECISIONS = ("float32", "bf16", "fp16")
ENGINES = tuple(engines.ENGINES)
LARGEST_BATCH = LARGEST["batch"]  # sequences; the upper end of `batch` in the space
CHANGEABLE = ("seconds", "trials", "workers", "folder", "disk")
MADE_WITH = "made_with"  # a table in the file that holds no settings: versions, and the digest of the text


@dataclass(frozen=True)
class Settings:
    """Budgets are in tokens, memory is in bytes. Raises ValueError that names the setting, what came and what is allowed."""

    sampler: str = "gp"  # a name, or module:Class
    scheduler: str = "asha"  # a name, or module:Class
    seconds: float = 180.0
    trials: int | None = None  # the most fresh trials; None: as many as the seconds allow
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
    kernels: bool | None = None  # whether memory is predicted for models/engines/cpu; None: yes if it can run here
    folder: str = "runs/tune"
    disk: int | str | None = None  # what all checkpoints may take: bytes, or such as "20GB" (see hpo.run); None: no limit

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            value, own = getattr(self, name), name in OWN
            if value not in allowed and not (own and is_reference(value)):
                raise refusal(name, value, f"one of {', '.join(allowed)}" + ", or module:Class" * own)
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise refusal(name, value, f"a whole number of at least {least}")
        for name, above in ABOVE.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not above < value < float("inf"):
                raise refusal(name, value, f"a finite number above {above}")
        for name in ("text", "folder", "device"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise refusal(name, value, "a string that is not empty")
        for name in ("activation_checkpointing", "kernels"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (name == "kernels" and value is None):
                raise refusal(name, value, "true or false")
        self._check_sizes()
        try:
            retention("live", self.disk, "run")
        except ValueError:
            raise refusal("disk", self.disk, "a number of bytes, at least 1, or such as '20GB'") from None

    def _check_sizes(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise refusal("device", self.device, "cpu, cuda or cuda:N")
        if self.min_resource > self.horizon:
            raise refusal("min_resource", self.min_resource, f"at most the horizon, {self.horizon} tokens")
        step = LARGEST_BATCH * self.context
        if self.min_resource < step:
            words = f"at least {step} tokens, one step of {LARGEST_BATCH} sequences of context {self.context}"
            raise refusal("min_resource", self.min_resource, words)

    # -- files ---------------------------------------------------------------------------------------------------------

    def to_toml(self, made_with: Mapping[str, str] | None = None) -> str:
        """The settings as TOML; None is left out, because TOML cannot write it."""
        there = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        lines = [f"{name} = {_literal(value)}" for name, value in there.items()]
        if made_with:
            lines += ["", f"[{MADE_WITH}]", *(f"{name} = {_literal(value)}" for name, value in made_with.items())]
        return "\n".join(lines) + "\n"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values; ValueError for an unknown name."""
        names = [f.name for f in fields(cls)]
        unknown = [name for name in values if name not in names]
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; allowed are {', '.join(names)}")
        return cls(**values)

    def differences(self, stored: Settings) -> list[str]:
        """In words, settings that differ but may not: `seed was 0 and is now 1`."""
        fixed = [f.name for f in fields(self) if f.name not in CHANGEABLE]
        pairs = [(name, getattr(stored, name), getattr(self, name)) for name in fixed]
        return [f"{name} was {old!r} and is now {new!r}" for name, old, new in pairs if old != new]


CHOICES: Mapping[str, tuple[str, ...]] = {
    "sampler": SAMPLERS,
    "scheduler": SCHEDULERS,
    "tokenizer": tuple(TOKENIZERS),
    "precision": PRECISIONS,
    "space": tuple(SPACES),
    "engine": ENGINES,
}
OWN = ("sampler", "scheduler")  # settings that may also name a user's own class
LEAST = {
    "trials": 1, "workers": 1, "seed": 0, "horizon": 1, "min_resource": 1, "context": 2, "population": 2, "memory": 1,
}  # fmt: skip
ABOVE = {"seconds": 0, "reduction_factor": 1}


def refusal(name: str, value: Any, allowed: str) -> ValueError:
    """One sentence: the setting, what came, what is allowed."""
    return ValueError(f"{name} is {value!r}, but must be {allowed}")


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings and numbers are written alike in JSON and TOML


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
