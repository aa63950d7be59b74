"""Which class carries a training out: the engine by that name, that of a CPU in its place, or one over several processes."""

import torch

from models.config import GPTConfig, TrainConfig
from models.engines.cpu import engine as cpu
from models.engines.engine import ENGINES, Engine, check_engine


def choose_engine(
    name: str, device: torch.device, threads: int, processes: int, size: GPTConfig, training: TrainConfig
) -> type[Engine]:
    """The class for an engine by name. ValueError for a name that is none, or where it cannot carry this training out."""
    check_engine(name, str(device), size, training)
    if processes > 1:
        return _distributed_engine(name, processes, training)
    if name == "eager" and cpu.is_supported(size, training, device, threads):
        return cpu.CPUEngine
    return ENGINES[name].load()


def _distributed_engine(name: str, processes: int, training: TrainConfig) -> type[Engine]:
    """torch's distributed packages take a second to import, and are imported where they are needed."""
    if name != "eager":
        raise ValueError(f"engine is {name!r}, but must be 'eager' over {processes} processes")
    if training.sharding == "none":
        from models.engines.distributed.ddp import DDPEngine

        return DDPEngine
    from models.engines.distributed.fsdp import FSDPEngine

    return FSDPEngine
