"""Rows of registries that measurements use, as sources: other rows of these registries make no measurement stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hpo.optimizers.gp.sampler import GP
from models.engines.engine import ENGINES
from models.optimizers.rows import OPTIMIZERS

STUDY = ("hpo.optimizers:OPTIMIZERS[random]",)  # a study can make an optimizer by name, but no experiment does
TABLES = {"kernel": "surrogates.kernels:KERNELS", "acquisition": "surrogates.acquisitions.registry:ACQUISITIONS"}


def gp_rows(**options: Any) -> dict[str, str]:
    """The kernel and the acquisition of GP(space, **options), by option."""
    usual = {f.name: f.default for f in fields(GP)}
    return {name: f"{table}[{options.get(name, usual[name])}]" for name, table in TABLES.items()}


def training_rows(*optimizers: str, engines: Sequence[str] = ("eager",)) -> tuple[str, ...]:
    """The rows of a training's weights optimizers and engines, and their classes, which the rows only name as texts."""
    weights = (part for name in optimizers for part in (f"models.optimizers.rows:OPTIMIZERS[{name}]", OPTIMIZERS[name].code))
    return (*weights, *(part for name in engines for part in (f"models.engines.engine:ENGINES[{name}]", ENGINES[name].code)))
