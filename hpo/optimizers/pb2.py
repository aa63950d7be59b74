"""PB2: population-based bandits (Parker-Holder, Nguyen and Roberts 2020, Algorithm 1), on PBT's slots and generations.

Notation     g         the generation that a clone's donor has finished; the clone trains generation g + 1
             x (k,)    the explored numbers of a configuration, on the space's scale in [0, 1]
             z         the gain of a generation, loss at its source less loss at its end, standardised; higher is better
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.history import History
from hpo.job import Key
from hpo.optimizer import Draft
from hpo.optimizers.exploration import FIXED, USUAL
from hpo.optimizers.pbt import PBT, TRIES
from hpo.optimizers.population import Slots
from hpo.parameters import Float, Int
from hpo.space import Config
from surrogates import standardise
from surrogates.time_varying import Drift, TimeVaryingProcess, climb_bound, fit_drift

MOST = 400  # results that the model reads: the last ones
CANDIDATES = 512  # random numbers that are scored before the best are climbed from
RECORD = "pb2"  # the name of the fit in the notes


@dataclass(eq=False)
class PB2(PBT):
    """PBT that explores by a bandit: a clone's numbers are those with the highest upper confidence bound on the gain of the next
    generation, by a GP over (time, numbers) that forgets (surrogates/time_varying.py).

    A generation's gain is the loss at its source less that at its end, over resumed trials and clones alike; several objectives
    count by the first. The bound is mean + sqrt(beta) sd with beta = 0.2 + log(0.4 n) as in the authors' code. Slots that have
    started the new generation already are taken as observed at their mean, in order. Hyperparameters are fitted once a
    generation and recorded in the clone's note, {"pb2": {"generation": 3, "n": 16, "theta": [...]}}.

    Choices follow PBT's rules, which the paper leaves open: drawn afresh with probability `resample`, else kept, or the rule
    that `explore` gives. So do numbers (with `factors`) as long as no gain is known, at the first generation's end; they have no
    rules but "usual" and "fixed". What is explored, the `selection` and the `quorum` are PBT's; at quorum 1 any number of
    workers gives the same trials. Changed: wide priors in the fit; the last 400 results
    instead of a window that is fitted too. A clone costs O(n^3).

        space = {"lr": (1e-3, 1.0, "log"), "momentum": (0.0, 0.99)}
        def loss(config, until, seed):
            return (config["lr"] - 0.1) ** 2 + config["momentum"] / until
        study = hpo.Study(hpo.PB2(hpo.Random(space), population=4, generations=5, max_resource=10))
        hpo.run(study, hpo.Simulator(loss, workers=4))
    """

    def _arrange(self, top: int) -> None:
        super()._arrange(top)
        if self.changes != "all":
            raise ValueError(f"changes is {self.changes!r}, but PB2 chooses all numbers at once; allowed is 'all'")
        ruled = [name for name in self._columns if self.rules[name] != USUAL]
        if ruled:
            raise ValueError(f"the rule of {ruled[0]!r} is {self.rules[ruled[0]]!r}, but PB2 chooses numbers by its model; "
                             f"allowed are {USUAL!r} and {FIXED!r}")  # fmt: skip

    def perturb(self, history: History, mine: Key, donor: Key, rng: np.random.Generator) -> Draft:
        generation = int(history.jobs[donor].note.member["generation"])
        parent = history.jobs[donor].config
        names = [name for name in self._columns if name in parent]
        X, t, z = self.gains(history, generation)
        if not len(z) or not names:
            return super().perturb(history, mine, donor, rng)
        theta, record = self._fit(history, generation, X, t, z)
        process = TimeVaryingProcess.of(theta, X, t, z).condition(*self.pending_rows(history, generation))
        beta = 0.2 + max(0.0, math.log(0.4 * len(z)))
        columns = [self._columns.index(name) for name in names]
        rows = np.tile(self._row(parent), (CANDIDATES + 1, 1))
        rows[1:, columns] = rng.random((CANDIDATES, len(columns)))
        ranked = climb_bound(process, generation + 1, beta, rows, columns)[:, columns]
        return Draft(self._choose(parent, names, ranked, rng), {RECORD: record} if record else {})

    # -- what is explored --------------------------------------------------------------------------------------------

    @property
    def _columns(self) -> list[str]:
        """Names of the numbers that are explored, active or not."""
        return [name for name, spec in self.space.parameters.items() if name in self.rules and isinstance(spec, Float | Int)]

    def _row(self, config: Mapping[str, Any]) -> np.ndarray:
        """(k,) positions of the explored numbers in [0, 1]; 0.5 where one is not active."""
        specs = {name: self.space.parameters[name] for name in self._columns}
        return np.array([spec.encode(config[name]) if name in config else 0.5 for name, spec in specs.items()])

    def _choose(
        self, parent: Mapping[str, Any], names: Sequence[str], ranked: np.ndarray, rng: np.random.Generator
    ) -> Config:
        """The configuration with the best numbers that is feasible, and choices by PBT's rule; else the parent's."""
        choices = [name for name in self.rules if name in parent and name not in self._columns]
        for row in ranked[:TRIES]:
            fresh = self.space.decode(self.space.domain.random(rng, 1)[0])
            values = {**{n: v for n, v in fresh.items() if n not in parent}, **parent}
            for name in choices:
                if self.rules[name] != USUAL or name in fresh:
                    values[name] = self.explore_value(name, parent[name], fresh, rng)
            values |= {name: self.space.parameters[name].decode(float(u)) for name, u in zip(names, row, strict=True)}
            child = self._complete(values)
            if child is not None and self.space.is_feasible(child):
                return child
        return dict(parent)

    # -- what is known -----------------------------------------------------------------------------------------------

    def gains(self, history: History, generation: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X (n, k), t (n,) and z (n,) of all that finished generations 2 to `generation`, in their order, then by key; of the
        last MOST. A failure gains less than any other."""
        slots: Slots = history.fold(self.owner, self._begin)
        keys = [key for g in range(2, generation + 1) for key in sorted(slots.finished.get(g, ()))][-MOST:]
        times = [history.jobs[key].note.member["generation"] for key in keys]
        rises = [history.losses(key)[0] - history.losses(source)[0] if (source := history.jobs[key].source) else math.nan
                 for key in keys]  # fmt: skip
        known = [i for i, rise in enumerate(rises) if not math.isnan(rise)]  # a slot that was sampled afresh has no source
        rows = np.array([self._row(history.jobs[keys[i]].config) for i in known]).reshape(len(known), len(self._columns))
        return rows, np.array([float(times[i]) for i in known]), -standardise(np.array([rises[i] for i in known])).z

    def pending_rows(self, history: History, generation: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and times of what has started a later generation, in slot order, whether it has finished or not: at quorum 1 the
        clones of one generation are then the same for any number of workers."""
        slots: Slots = history.fold(self.owner, self._begin)
        keys = [key for slot in sorted(slots.length) for g in range(generation + 1, slots.length[slot] + 1)
                if (key := slots.keys.get((slot, g))) is not None]  # fmt: skip
        rows = np.array([self._row(history.jobs[key].config) for key in keys]).reshape(len(keys), len(self._columns))
        return rows, np.array([float(history.jobs[key].note.member["generation"]) for key in keys])

    def _fit(
        self, history: History, generation: int, X: np.ndarray, t: np.ndarray, z: np.ndarray
    ) -> tuple[Drift, dict[str, Any]]:
        """The hyperparameters of a generation: those that an earlier clone has recorded, else new ones and their record."""
        for job in reversed(history.jobs.values()):
            found = job.note.record.get(RECORD)
            if found is not None:
                if (found["generation"], found["n"]) == (generation, len(z)):
                    return Drift.from_list(found["theta"]), {}
                break
        theta = fit_drift(X, t, z)
        return theta, {"generation": generation, "n": len(z), "theta": theta.to_list()}
