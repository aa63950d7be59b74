"""How a training is distributed over its devices. Imports no torch."""

from dataclasses import dataclass

from models.config import TrainConfig


@dataclass(frozen=True)
class DeviceLayout:
    """How a training is distributed over its devices."""

    devices: int = 1
    sharding: str = "none"
    activation_checkpointing: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise ValueError(f"devices is {self.devices}, but must be at least 1")
        if self.sharding not in ("none", "grads", "full"):
            raise ValueError(f"sharding is {self.sharding!r}, but must be one of none, grads, full")
        if self.offload and self.sharding == "none":
            raise ValueError("offload is True, but works with sharding grads or full only")

    @classmethod
    def of(cls, training: TrainConfig, devices: int = 1) -> "DeviceLayout":
        """The layout that a config asks for, on so many devices."""
        return cls(devices, training.sharding, training.activation_checkpointing, training.offload)


ALONE = DeviceLayout()
