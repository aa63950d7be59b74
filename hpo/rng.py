"""Random streams from (seed, trial, role): the same on any machine, independent of each other, and with no state to save."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, trial: int, role: str) -> np.random.Generator:
    """A generator for one role in one trial."""
    words = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, trial, zlib.crc32(role.encode())]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def training_seed(seed: int, trial: int) -> int:
    """The seed of a trial's training noise, in [0, 2^31)."""
    return int(stream(seed, trial, "train").integers(2**31))
