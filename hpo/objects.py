"""Choices that JSON cannot hold: the objective gets the objects themselves; jobs and logs hold their names, or lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.objective import Objective, kind
from hpo.parameters import Parameter
from hpo.space import Space


def with_objects(objective: Objective, space: Space) -> Objective:
    """The objective itself if configurations are plain, else a wrapper that calls it with `space.objects(config)`.

    The wrapper has the objective's signature: f(config), f(config, report) or factory(config, seed, horizon). It can be
    pickled if the objective and the choices can.
    """
    return objective if space.is_plain else KINDS[kind(objective)](objective, space.parameters)


class _WithObjects:
    def __init__(self, objective: Objective, parameters: Mapping[str, Parameter]) -> None:
        self.objective, self.parameters = objective, dict(parameters)

    def __getattr__(self, name: str) -> Any:
        """The objective's own attributes, such as `warm` or `explore`."""
        if name.startswith("_") or name in ("objective", "parameters"):  # while unpickling, `objective` does not exist yet
            raise AttributeError(name)
        return getattr(self.objective, name)

    def _objects(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.parameters[name].object(value) for name, value in config.items()}


class FunctionWithObjects(_WithObjects):
    def __call__(self, config: Mapping[str, Any]) -> Any:
        return self.objective(self._objects(config))


class ReportWithObjects(_WithObjects):
    def __call__(self, config: Mapping[str, Any], report: Any) -> Any:
        return self.objective(self._objects(config), report)


class FactoryWithObjects(_WithObjects):
    def __call__(self, config: Mapping[str, Any], seed: int, horizon: int) -> Any:
        return self.objective(self._objects(config), seed, horizon)


KINDS: dict[str, type[FunctionWithObjects] | type[ReportWithObjects] | type[FactoryWithObjects]] = {
    "function": FunctionWithObjects,
    "report": ReportWithObjects,
    "run": FactoryWithObjects,
}
