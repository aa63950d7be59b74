"""BOHB: Hyperband whose configurations are chosen by kernel densities (Falkner et al. 2018).

    >>> from hpo import BOHB, KDE, minimize
    >>> space = {"lr": (1e-5, 1e-1, "log"), "layers": (2, 12)}
    >>> optimizer = BOHB(KDE(space, seed=1), max_resource=9)
    >>> def train(config, report):
    ...     for step in range(1, 10):
    ...         report(step, abs(config["lr"] - 1e-3) + 0.01 * config["layers"] + 0.1 / step)
    >>> study = minimize(train, space, optimizer, 30, quiet=True)
    >>> study.best.until
    9
"""

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
