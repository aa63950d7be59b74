"""Predictions compared with real steps of random configs, each of which trains in its own process."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from models.calibrate.machine import Machine
from models.calibrate.seconds import Prediction, predict
from models.calibrate.steps import Measured, measure_in_child
from models.config import split
from models.optimizers.rows import OPTIMIZERS
from models.predict.cost import parameters

SMALL_GROWTH = 40 * 10**6  # bytes; below this, most of a process's growth is counted by no formula


def random_config(rng: random.Random) -> dict[str, Any]:
    """A config of 10k to 30M parameters with options of every kind."""
    heads = rng.choice([1, 2, 4, 8])
    config: dict[str, Any] = {
        "layers": rng.randint(1, 6), "heads": heads, "hidden": heads * rng.choice([16, 32, 64]),
        "ff_ratio": rng.choice([2.0, 4.0]), "dropout": rng.choice([0.0, 0.0, 0.1]),
        "vocabulary": rng.choice([65, 512, 4096]), "context": rng.choice([32, 64, 256]), "batch": rng.choice([4, 8, 16]),
        "positions": rng.choice(["learned", "rotary"]), "norm": rng.choice(["layer", "rms"]), "tie": rng.random() < 0.5,
        "activation": rng.choice(["gelu", "relu2", "swiglu"]), "qk_norm": rng.random() < 0.3,
        "optimizer": rng.choice([*OPTIMIZERS]), "ema": rng.choice([0.0, 0.99]),
    }  # fmt: skip
    config["kv_heads"] = rng.choice([one for one in (1, 2, 4, 8) if heads % one == 0])
    rare = {  # each option is in one config of four
        "precision": "bf16", "activation_checkpointing": True, "noise_every": rng.choice([1, 1, 4]),
        "micro_batch": config["batch"] // 2,
    }  # fmt: skip
    config |= {name: value for name, value in rare.items() if rng.random() < 0.25}
    special = rng.random()
    if special < 0.25:  # the vocabulary of GPT-2, at any width
        config |= {"vocabulary": 50257, "batch": 4, "context": min(config["context"], 64)}
        config |= {"micro_batch": 2} if "micro_batch" in config else {}
        config |= {"hidden": 16 * heads} if special < 0.1 else {}
    elif special < 0.4:  # small, in fp16: many processors take long for it
        config |= {"precision": "fp16", "hidden": 16 * heads, "vocabulary": 65, "context": 32}
    elif special < 0.5:  # smaller still
        config |= {"hidden": 8 * heads, "layers": min(3, config["layers"]), "vocabulary": 65}
    return config


@dataclass(frozen=True)
class Compared:
    """A config with its predicted and measured numbers. The ratios are predicted / measured."""

    config: Mapping[str, Any]
    prediction: Prediction
    measured: Measured
    predicted_growth: int  # bytes
    measured_growth: int

    @property
    def parameters(self) -> int:
        return parameters(split(self.config)[0])

    @property
    def seconds_ratio(self) -> float:
        return self.prediction.seconds_per_step / self.measured.seconds

    @property
    def memory_ratio(self) -> float:
        return self.predicted_growth / self.measured_growth

    @property
    def kind(self) -> str:
        """What is unusual about the config, in a few words."""
        c = self.config
        found = [c["precision"]] if c.get("precision", "float32") != "float32" else []
        found += ["checkpointing"] if c.get("activation_checkpointing") else []
        found += [f"noise every {c['noise_every']}"] if c.get("noise_every") else []
        found += ["50k words"] if c["vocabulary"] > 50_000 else []
        return ", ".join(found) or "plain"


def compare(config: Mapping[str, Any], machine: Machine) -> Compared:
    """Train a config for a few steps, and predict it."""
    told = predict(config, machine)
    real = measure_in_child(config, machine.device, machine.threads)
    grown = real.peak - (real.base if machine.kind == "cpu" else 0)
    return Compared(config, told, real, told.peak_bytes - machine.base, max(1, grown))


def compare_random(machine: Machine, count: int, seed: int) -> Iterator[Compared]:
    """Compares one random config after another, and yields each as soon as it is measured."""
    rng = random.Random(seed)
    for _ in range(count):
        yield compare(random_config(rng), machine)


def summary(found: Sequence[Compared]) -> dict[str, Any]:
    """Median, least and most of the ratios, and how many are off by more than a quarter; of growth, only configs above 40 MB."""
    large = [one.memory_ratio for one in found if one.measured_growth > SMALL_GROWTH]
    return {"seconds": spread([one.seconds_ratio for one in found]), "memory": spread(large)}


def spread(ratios: Sequence[float]) -> dict[str, float]:
    if not ratios:
        return {"count": 0}
    off = sum(abs(ratio - 1) > 0.25 for ratio in ratios)
    return {"count": len(ratios), "median": median(ratios), "least": min(ratios), "most": max(ratios), "off": off}
