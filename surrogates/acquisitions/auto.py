"""The acquisition that fits the context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from surrogates.acquisitions.context import Context, ScoreFunction
from surrogates.acquisitions.ehvi import EHVI
from surrogates.acquisitions.ei import LogEI
from surrogates.acquisitions.nehvi import NEHVI
from surrogates.acquisitions.nei import NEI
from surrogates.acquisitions.score import score_of


@dataclass(frozen=True)
class Auto:
    """One objective: NEI where targets are noisy, else LogEI. Several: NEHVI where targets are noisy, else EHVI."""

    log_scale: ClassVar[bool] = True
    several: ClassVar[bool] = True

    def score(self, context: Context) -> ScoreFunction:
        """The chosen acquisition's score."""
        if len(context.gps) > 1:
            return score_of(NEHVI() if context.noisy else EHVI(), context)
        return score_of(NEI() if context.noisy else LogEI(), context)
