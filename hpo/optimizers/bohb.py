"""BOHB: Hyperband whose configurations are chosen by kernel densities (Falkner et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hpo.optimizers.hyperband import Hyperband
from hpo.optimizers.kde import KDE


@dataclass(eq=False)
class BOHB(Hyperband):
    """Hyperband over a KDE: `BOHB(KDE(space), max_resource=81)`, or `make("bohb", space, max_resource=81)`.

    Brackets and promotions are Hyperband's; the settings of the model are options of KDE, by default those that were
    published with BOHB. A bracket that waits for stragglers opens the next, where the authors' software fills the workers in
    another way. TypeError for another sampler: over those it is Hyperband.
    """

    usual: ClassVar[str] = "kde"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.sampler, KDE):
            raise TypeError(f"BOHB takes a KDE(space), but a {type(self.sampler).__name__} came; Hyperband takes any sampler")
