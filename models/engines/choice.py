"""Chooses the class that carries a training out: the named engine, the CPU's in its place, or one for several processes."""

import torch

from models.config import GPTConfig, TrainConfig
from models.engines.cpu import engine as cpu
from models.engines.engine import ENGINES, Engine, check_engine


def choose_engine(
    name: str, device: torch.device, threads: int, processes: int, size: GPTConfig, training: TrainConfig
) -> type[Engine]:
    """The class for an engine's name. ValueError for an unknown name, and if the engine cannot carry this training out."""
    check_engine(name, str(device), size, training)
    if processes > 1:
        return _distributed_engine(name, processes, training)
    if name == "eager" and cpu.is_supported(size, training, device, threads):
        return cpu.CPUEngine
    return ENGINES[name].load()


def _distributed_engine(name: str, processes: int, training: TrainConfig) -> type[Engine]:
    """The engine for several processes. torch's distributed packages take a second to import, so they are imported here."""
    if name != "eager":
        raise ValueError(f"engine is {name!r}, but must be 'eager' over {processes} processes")
    if training.sharding == "none":
        from models.engines.distributed.ddp import DDPEngine

        return DDPEngine
    from models.engines.distributed.fsdp import FSDPEngine

    return FSDPEngine
