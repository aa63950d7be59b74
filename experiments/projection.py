"""LlamaTune's projection: where does it help a sampler, and where does it hurt?

    python -m experiments.projection               # measures what is missing (a quarter of an hour), then prints the tables
    python -m experiments.projection --table       # only prints them, from experiments/results/projection.jsonl

The same sampler over the whole space and over its projection (HeSBO) to 16 dimensions, 50 evaluations, twenty seeds. Functions

    of few columns      Branin and Hartmann's function of six columns among 60 and 75; the others change nothing
    with special values knobs20: 20 numbers from 0 to 4096, of which six mean "off" at 0. Two of them should be off, two must not
                        be, and four plain numbers matter; 12 change nothing. LlamaTune is told of the six, or of none
    of all columns      a bowl in 60 dimensions and Rosenbrock's function in 20
    of few dimensions   Hartmann's in 6, mixed8 and the surface of a language model in 9: here every column has its own dimension,
                        so that only the buckets are left of the projection

The columns that matter, and the optimum of the bowl, were drawn once. A score is log2 of a ratio of regrets, with the
projection over without, see experiments/paired.py: -1 is half the regret.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hpo
from experiments.benchmark import functions
from experiments.benchmark.tasks import HARTMANN6, TASKS, Task
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
from experiments.paired import interval, scale_of, score
from hpo import Int, LlamaTune, Optimizer, Space, Study

RESULTS = Path(__file__).parent / "results" / "projection.jsonl"
EVALUATIONS, SEEDS, MARKS = 50, 20, (25, 50)

# -- functions ---------------------------------------------------------------------------------------------------------


def drawn_columns(of: int, count: int) -> list[int]:
    """Which columns matter, drawn once for each pair of numbers."""
    return [int(i) for i in np.random.default_rng([of, count]).permutation(of)[:count]]


def branin_among(config: Mapping[str, float]) -> float:
    i, j = drawn_columns(len(config), 2)
    return functions.branin({"x1": 15.0 * config[f"x{i + 1}"] - 5.0, "x2": 15.0 * config[f"x{j + 1}"]})


def hartmann6_among(config: Mapping[str, float]) -> float:
    return functions.hartmann6({f"x{k + 1}": config[f"x{i + 1}"] for k, i in enumerate(drawn_columns(len(config), 6))})


def shifted_bowl(config: Mapping[str, float]) -> float:
    """The mean square of the distance to a place that was drawn once."""
    place = np.random.default_rng(60).uniform(size=len(config))
    return float(np.mean((functions.vector(config) - place) ** 2))


KNOBS, TOP = 20, 4096
SWITCHES = tuple(f"x{i + 1}" for i in range(6))  # 0 is off
OFF, ON = SWITCHES[:2], SWITCHES[2:4]  # what should be off, and what must not be
PLAIN = {"x11": 0.9, "x12": 0.35, "x13": 0.7, "x14": 0.15}  # and where it should stand, as a share of the range


def knobs(config: Mapping[str, int]) -> float:
    """Zero at its best. What should be off costs 0.5 and more at any other value, and least where it is highest; what should not
    be off costs 1 there, and elsewhere as much as it is away from 0.6."""
    off = sum(0.0 if config[name] == 0 else 1.0 - 0.5 * config[name] / TOP for name in OFF)
    on = sum(1.0 if config[name] == 0 else abs(config[name] / TOP - 0.6) for name in ON)
    plain = sum(4.0 * (config[name] / TOP - place) ** 2 for name, place in PLAIN.items())
    least = 2 * abs(round(0.6 * TOP) / TOP - 0.6) + sum(4.0 * (round(p * TOP) / TOP - p) ** 2 for p in PLAIN.values())
    return off + on + plain - least


def knobs_space() -> Space:
    return Space({f"x{i + 1}": Int(0, TOP) for i in range(KNOBS)})


def _task(name: str, d: int, true: Callable[[Any], float], best: float, about: str) -> Task:
    return Task(name, "classical", partial(functions.box_space, d, 0.0, 1.0), true, best, about=about)


FUNCTIONS: dict[str, Task] = {
    "branin, 2 of 60": _task("branin, 2 of 60", 60, branin_among, 10 / (8 * math.pi), "two columns matter"),
    "hartmann6, 6 of 60": _task("hartmann6, 6 of 60", 60, hartmann6_among, HARTMANN6, "six columns matter"),
    "hartmann6, 6 of 75": _task("hartmann6, 6 of 75", 75, hartmann6_among, HARTMANN6, "six columns matter"),
    "knobs20": Task("knobs20", "mixed", knobs_space, knobs, 0.0, about="20 numbers, six with a special value"),
    "bowl60": _task("bowl60", 60, shifted_bowl, 0.0, "all columns matter equally"),
    "rosenbrock20": Task("rosenbrock20", "classical", partial(functions.box_space, 20, -5.0, 10.0), functions.rosenbrock, 0.0),
    **{name: TASKS[name] for name in ("hartmann6", "mixed8", "lm_pretrain")},
}
SPECIAL = {"knobs20": dict.fromkeys(SWITCHES, 0)}

# -- searches ----------------------------------------------------------------------------------------------------------

Make = Callable[[Space, int], Any]
SAMPLERS: dict[str, Make] = {
    "random": lambda space, seed: hpo.Random(space, seed=seed),
    "TPE": lambda space, seed: hpo.TPE(space, seed=seed),
    "CMAES": lambda space, seed: hpo.CMAES(space, seed=seed),
    "GP": lambda space, seed: hpo.GP(space, seed=seed),
}


@dataclass(frozen=True)
class Way:
    """What is done with a sampler: its projection's dimensions (None: none), and whether special values are told."""

    dimensions: int | None = None
    told: bool = True

    def make(self, sampler: Make, task: Task, seed: int) -> Optimizer:
        inner = sampler(task.space(), seed)
        if self.dimensions is None:
            return inner  # type: ignore[no-any-return]
        return LlamaTune(inner, self.dimensions, SPECIAL.get(task.name) if self.told else None)


WAYS: dict[str, Way] = {
    "without": Way(), "LlamaTune": Way(16), "LlamaTune, 8 dimensions": Way(8), "LlamaTune, not told": Way(16, told=False),
}  # fmt: skip


GP_ON = (("branin, 2 of 60", "hartmann6, 6 of 60", "bowl60"), ("knobs20",))  # it costs ten times as much


def ways_on(task: str) -> list[str]:
    """The ways that differ on a task."""
    d = len(FUNCTIONS[task].space().columns)
    return [way for way, one in WAYS.items() if (one.told or task in SPECIAL) and (one.dimensions != 8 or d > 8)]


def searches() -> Iterator[tuple[str, str, str, int]]:
    """(task, sampler, way, seed) of all: first what is cheap, then the GP's, seed by seed: an interrupted run is of use."""
    cheap = [name for name in SAMPLERS if name != "GP"]
    for seed, task, sampler in itertools.product(range(SEEDS), FUNCTIONS, cheap):
        yield from ((task, sampler, way, seed) for way in ways_on(task))
    for tasks, seed in itertools.product(GP_ON, range(SEEDS)):
        yield from ((task, "GP", way, seed) for task in tasks for way in ("without", "LlamaTune"))


def measure_projection(task: Task, sampler: Make, way: Way, seed: int) -> dict[str, Any]:
    """The true regret of the lowest observed value, after each of MARKS."""
    study, found = Study(way.make(sampler, task, seed)), {}
    least, chosen = math.inf, math.nan
    for i in range(EVALUATIONS):
        job = study.optimizer.ask()
        assert job is not None
        value = task.observe(dict(job.config), 1000 * seed + i)
        study.optimizer.tell(job, value)
        if value < least:
            least, chosen = value, task.true(dict(job.config)) - task.best
        if i + 1 in MARKS:
            found[str(i + 1)] = float(f"{chosen:.6g}")
    return {"regret": found, "scale": float(f"{scale_of(task):.6g}")}


def projection_measurements() -> Iterator[Measurement]:
    """Those of `searches`."""
    for task, sampler, way, seed in searches():
        rows = (f"experiments.projection:SAMPLERS[{sampler}]", f"experiments.projection:WAYS[{way}]")
        models = gp_rows().values() if sampler == "GP" else ()
        sources = ("experiments.projection:measure_projection", *rows, *STUDY, *models)
        key = {"task": task, "sampler": sampler, "way": way, "seed": seed}
        run = partial(measure_projection, FUNCTIONS[task], SAMPLERS[sampler], WAYS[way], seed)
        yield Measurement(key, run, sources, FUNCTIONS[task].digest, f"{task} {sampler} {way}")


# -- the table ---------------------------------------------------------------------------------------------------------


def projection_tables(lines: Sequence[Any]) -> str:
    """By task: scores of each sampler with the projection against itself without, and what the samplers reach without."""
    by: dict[tuple[str, str, str], dict[int, Any]] = {}
    for line in lines:
        by.setdefault((line["task"], line["sampler"], line["way"]), {})[line["seed"]] = line
    rows, reached = [], []
    for task in FUNCTIONS:
        for way in ways_on(task)[1:]:
            cells = [compare_ways(by, task, sampler, way) for sampler in SAMPLERS]
            rows += [[f"{task}, {way}", *cells]] if any(cells) else []
        plain = [by.get((task, sampler, way), {}) for sampler in SAMPLERS for way in ("without", "LlamaTune")]
        cells = [f"{np.median([regret_of(line) for line in found.values()]):.3f}" if found else "" for found in plain]
        reached += [[task, *cells]] if any(cells) else []
    head = ["function, way", *SAMPLERS]
    names = [f"{sampler}{suffix}" for sampler in SAMPLERS for suffix in ("", " projected")]
    return "\n\n".join([markdown_table(head, rows), markdown_table(["function", *names], reached)])


def regret_of(line: Any) -> float:
    """At the end, as a share of the median regret of random configurations."""
    return float(line["regret"][str(EVALUATIONS)] / line["scale"])


def compare_ways(by: Mapping[Any, Mapping[int, Any]], task: str, sampler: str, way: str) -> str:
    mine, others = by.get((task, sampler, way), {}), by.get((task, sampler, "without"), {})
    seeds = sorted({*mine} & {*others})
    if len(seeds) < 2:
        return ""
    regrets = [[side[seed]["regret"][str(EVALUATIONS)] for seed in seeds] for side in (mine, others)]
    return interval(score(regrets[0], regrets[1], mine[seeds[0]]["scale"]))


def open_projection(path: Path) -> Ledger:
    return Ledger(path, list(projection_measurements()), can_measure=lambda one: FUNCTIONS[one.key["task"]].is_available)


app = command(__doc__, RESULTS, open_projection, lambda ledger: projection_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
