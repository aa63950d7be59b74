"""Global random streams, seeded for a block and put back as they were: torch, numpy and Python's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seed_streams(*entropy: int) -> Iterator[None]:
    """Inside, the three global generators start from `entropy` alone; outside, nothing has happened to them."""
    kept, kept_numpy, seed = random.getstate(), np.random.get_state(), np.random.SeedSequence(entropy)
    word = int(seed.generate_state(1)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(word)
        random.seed(word)
        np.random.seed(word)
        try:
            yield
        finally:
            random.setstate(kept)
            np.random.set_state(kept_numpy)
