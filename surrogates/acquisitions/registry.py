"""Every acquisition by name."""

from __future__ import annotations

from surrogates.acquisitions.adapt import differentiable
from surrogates.acquisitions.auto import Auto
from surrogates.acquisitions.context import ModelAcquisition
from surrogates.acquisitions.ehvi import EHVI
from surrogates.acquisitions.ei import EI, LogEI
from surrogates.acquisitions.kg import KG
from surrogates.acquisitions.marginal import Acquisition, AcquisitionFunction
from surrogates.acquisitions.mes import MES
from surrogates.acquisitions.nehvi import NEHVI
from surrogates.acquisitions.nei import NEI
from surrogates.acquisitions.pi import LogPI
from surrogates.acquisitions.thompson import Thompson
from surrogates.acquisitions.ucb import UCB

ACQUISITIONS: dict[str, Acquisition | ModelAcquisition] = {
    "logei": LogEI(),
    "ei": EI(),
    "pi": LogPI(),
    "ucb": UCB(),
    "thompson": Thompson(),
    "mes": MES(),
    "kg": KG(),
    "nei": NEI(),
    "ehvi": EHVI(),
    "nehvi": NEHVI(),
    "auto": Auto(),
}


def acquisition(chosen: str | Acquisition | ModelAcquisition | AcquisitionFunction) -> Acquisition | ModelAcquisition:
    """An acquisition from a name, an acquisition, or any f(posterior, incumbent), which is tried once (adapt.py).

    ValueError for an unknown name, a class, and what makes no (m,) scores.
    """
    if isinstance(chosen, str):
        if chosen not in ACQUISITIONS:
            raise ValueError(f"acquisition {chosen!r} is not one of {', '.join(ACQUISITIONS)}")
        return ACQUISITIONS[chosen]
    if isinstance(chosen, type):  # it has every method of an acquisition, and would fail when it is asked
        raise ValueError(f"acquisition is the class {chosen.__name__}; allowed is an instance, such as {chosen.__name__}()")
    if isinstance(chosen, (Acquisition, ModelAcquisition)):
        return chosen
    if not callable(chosen):
        raise ValueError(f"acquisition is {chosen!r}; allowed are {', '.join(ACQUISITIONS)} and any f(posterior, incumbent)")
    return differentiable(chosen)
