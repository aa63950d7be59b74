"""Resources: up to which budget a scheduler trains, by an option of its own or by the study's horizon."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from hpo.optimizer import Scheduler

USUAL = 81  # the largest budget where neither the scheduler nor the study names one
FAR = 3**20  # a largest budget above any lowest: with it the other options are checked where there is none yet


class ResourceScheduler(Scheduler):
    """A scheduler with rungs up to `max_resource`: where that is left open, up to the study's horizon; without one, up to
    `usual_resource`, 81.

    It is settled before the header is written, so that a header always names a number. A study that is reopened with it left
    open keeps the number that its header has. A subclass has the field `max_resource`, and lays its rungs out in `_arrange`.
    """

    max_resource: int | None  # a field of the subclass, where it stands in its order
    usual_resource: ClassVar[int] = USUAL

    def __post_init__(self) -> None:
        super().__post_init__()
        self._is_open = self.max_resource is None
        if not self._is_open:
            self._arrange(self.max_resource)  # type: ignore[arg-type]
        elif self._least <= self.usual_resource:
            self._settle(self.usual_resource)
        else:
            self._arrange(self._least * FAR)

    @property
    @abstractmethod
    def _least(self) -> int:
        """The lowest budget that `max_resource` may be, by the other options; 1 where these are wrong."""

    @property
    def _demand(self) -> str:
        """Why the largest budget must reach the lowest, in words that follow the scheduler's name."""
        return f"begins at {self._least}"

    @abstractmethod
    def _arrange(self, top: int) -> None:
        """Checks the options and lays out the rungs below and at a largest budget."""

    def _settle(self, top: int) -> None:
        self._arrange(top)
        self.max_resource = top
        self.__dict__.pop("owner", None)  # it names the options

    @property
    def horizon(self) -> int:
        if self.max_resource is None:
            raise ValueError(
                f"{type(self).__name__} {self._demand} and has no max_resource; give it one, or give the study a "
                f"horizon: minimize(..., horizon={self._least * 27})"
            )
        return self.max_resource

    def take_horizon(self, horizon: int | None, described: Mapping[str, Any] | None = None) -> None:
        if not self._is_open or self._history is not None:
            return
        before = (described or {}).get("max_resource") if (described or {}).get("name") == type(self).__name__ else None
        top = before if type(before) is int else horizon
        if top is not None:
            if top < self._least:
                raise ValueError(f"{type(self).__name__} {self._demand}, but the study's horizon is {top}")
            self._settle(top)
