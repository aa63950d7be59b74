"""Several objectives: which method finds the front, by evaluations, beside Optuna?

    python -m experiments.objectives                       # measures what is missing; half an hour on one core
    python -m experiments.objectives --seconds 600         # begins nothing after ten minutes
    python -m experiments.objectives --table               # only prints, from experiments/results/objectives.jsonl
    python -m experiments.objectives --table --figure volumes.svg      # and draws what is left of the volume, by evaluations

Six problems with two or three objectives (experiments/problems.py), ten seeds, 60 evaluations one after the other, every method
with its documented defaults. What counts is the share of the exact front's hypervolume that all results so far dominate; the
reference points were fixed before anything was measured. Pairs are ours less Optuna's method of the same kind.

And by which order should ASHA promote? The same problems with budgets 1, 3 and 9: a result below 9 has an error, half a standard
deviation of the losses over the space at first, that shrinks to none. What counts is what results at 9 dominate, by budget spent.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import hpo
from experiments.ledger import Ledger, Measurement
from experiments.ledger.command import (
    Data,
    Recheck,
    Results,
    Seconds,
    Table,
    conduct,
    keep_lines,
    new_app,
    progress,
    use_data,
)
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
from experiments.problems import PROBLEMS, VectorProblem
from hpo import Optimizer, Space, Stop, Study
from hpo.executors import Simulator
from surrogates.hypervolume import hypervolume

RESULTS = Path(__file__).parent / "results" / "objectives.jsonl"
SEEDS, EVALUATIONS, MARKS = 10, 60, (20, 40, 60)
DRAWS = 4000  # of the bootstrap
Line = Mapping[str, Any]
Shares = dict[tuple[str, int], Sequence[float]]  # by problem and seed, after every evaluation


@dataclass(frozen=True)
class FrontSearch:
    """A method of ours, and the acquisition that it uses, where it is a Gaussian process."""

    make: Callable[[Space, int], Optimizer]
    acquisition: str = "auto"


METHODS: dict[str, FrontSearch] = {
    "random": FrontSearch(lambda space, seed: hpo.Random(space, seed=seed)),
    "NSGA2": FrontSearch(lambda space, seed: hpo.NSGA2(space, seed=seed)),
    "TPE": FrontSearch(lambda space, seed: hpo.TPE(space, seed=seed)),
    "GP, EHVI": FrontSearch(lambda space, seed: hpo.GP(space, seed=seed)),
    "GP, noisy EHVI": FrontSearch(lambda space, seed: hpo.GP(space, seed=seed, acquisition="nehvi"), "nehvi"),
    "GP, ParEGO": FrontSearch(lambda space, seed: hpo.GP(space, seed=seed, acquisition="parego"), "logei"),
}


@dataclass(frozen=True)
class PeerSampler:
    """A sampler of Optuna's, by name, with its options."""

    sampler: str
    options: Mapping[str, Any] = field(default_factory=dict)


PEERS: dict[str, PeerSampler] = {
    "Optuna NSGA-II": PeerSampler("NSGAIISampler"),
    "Optuna NSGA-II, 20": PeerSampler("NSGAIISampler", {"population_size": 20}),  # as many as ours; its default is 50
    "Optuna TPE": PeerSampler("TPESampler"),
    "Optuna GP": PeerSampler("GPSampler"),
}
ORDERED = {"ASHA, crowding": "crowding", "ASHA, epsilon": "epsilon"}
HORIZON, ERROR, DRAWN = 9, 0.5, 256  # DRAWN configurations tell the standard deviation of losses
SLOW = ("Optuna GP", "GP, noisy EHVI")  # they take most of the time
PAIRS = (
    ("NSGA2", "Optuna NSGA-II"), ("NSGA2", "Optuna NSGA-II, 20"), ("TPE", "Optuna TPE"), ("GP, EHVI", "Optuna GP"),
    ("GP, noisy EHVI", "Optuna GP"), ("GP, ParEGO", "Optuna GP"), ("GP, ParEGO", "GP, EHVI"),
    ("GP, noisy EHVI", "GP, EHVI"), ("ASHA, epsilon", "ASHA, crowding"),
)  # fmt: skip


# -- searches ----------------------------------------------------------------------------------------------------------


def measure_shares(name: str, method: str, seed: int) -> dict[str, Any]:
    """The share of the volume after every evaluation of one of ours."""
    problem = PROBLEMS[name]
    space, names = problem.space(), [f"loss{i + 1}" for i in range(len(problem.reference))]
    optimizer = METHODS[method].make(space, seed)
    study = hpo.minimize(problem.losses, space, optimizer, EVALUATIONS, objectives=names, quiet=True)
    every = [study.history.losses(key) for key in study.history.finished_keys]  # one worker: in the order of evaluation
    return {"shares": shares_of(problem, every)}


def measure_peer_shares(name: str, method: str, seed: int) -> dict[str, Any]:
    """The same of Optuna."""
    import optuna

    from experiments.benchmark.peers.optuna import suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem, peer = PROBLEMS[name], PEERS[method]
    sampler = getattr(optuna.samplers, peer.sampler)(seed=seed, **peer.options)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(problem.reference))
    parameters, every = problem.space().parameters, []
    for _ in range(EVALUATIONS):
        trial = study.ask()
        every.append(problem.losses({name: suggest(trial, name, spec) for name, spec in parameters.items()}))
        study.tell(trial, list(every[-1]))
    return {"shares": shares_of(problem, every), **environment("optuna")}


def measure_order_shares(name: str, method: str, seed: int) -> dict[str, Any]:
    """The share after every whole training's budget, of ASHA's results at the horizon."""
    problem = PROBLEMS[name]
    space, names = problem.space(), [f"loss{i + 1}" for i in range(len(problem.reference))]
    drawn = space.domain.random(np.random.default_rng(0), DRAWN)
    sd = np.std([problem.losses(space.decode(row)) for row in drawn], axis=0)

    def value(config: dict[str, Any], until: int, seed: int) -> tuple[float, ...]:
        error = np.random.default_rng(seed).normal(size=len(sd))
        return tuple(problem.losses(config) + ERROR * sd * error * (1.0 - until / HORIZON))

    optimizer = hpo.ASHA(hpo.Random(space, seed=seed), min_resource=1, max_resource=HORIZON)
    study, simulator = Study(optimizer, objectives=names, order=ORDERED[method]), Simulator(value)
    history = hpo.run(study, simulator, Stop(when=lambda history: simulator.now >= EVALUATIONS * HORIZON))
    spent, every, counts = 0, [], [0] * EVALUATIONS
    for job in history.jobs.values():  # one worker: in the order in which they finished
        spent += job.until - (job.source[1] if job.source is not None else 0)
        if job.until == HORIZON:
            every.append(history.losses(job.key))
            counts[-(-spent // HORIZON) - 1 :] = [len(every)] * len(counts[-(-spent // HORIZON) - 1 :])
    shares = [0.0, *shares_of(problem, every)]
    return {"shares": [shares[count] for count in counts], "trials": len(history.trials)}


def shares_of(problem: VectorProblem, every: Sequence[tuple[float, ...]]) -> list[float]:
    """What the first 1, 2, ... losses dominate, as a share of the exact front's volume."""
    reference = np.array(problem.reference)
    volumes = [hypervolume(np.array(every[: count + 1]), reference) for count in range(len(every))]
    return [round(volume / problem.volume, 6) for volume in volumes]


def objectives_measurements() -> Iterator[Measurement]:
    """What is quick first, then seed by seed, so that an interrupted run is of use."""
    here, every = "experiments.objectives", [*METHODS, *PEERS]
    quick = itertools.product(range(SEEDS), PROBLEMS, [method for method in (*every, *ORDERED) if method not in SLOW])
    for seed, problem, method in [*quick, *itertools.product(range(SEEDS), PROBLEMS, SLOW)]:
        key = {"problem": problem, "method": method, "seed": seed}
        on = f"experiments.problems:PROBLEMS[{problem}]"
        if method in PEERS:
            sources: tuple[str, ...] = (f"{here}:measure_peer_shares", f"{here}:PEERS[{method}]", on)
            run: Callable[[], Any] = partial(measure_peer_shares, problem, method, seed)
        elif method in ORDERED:
            sources = (f"{here}:measure_order_shares", f"{here}:ORDERED[{method}]", on, *STUDY)
            run = partial(measure_order_shares, problem, method, seed)
        else:
            rows = gp_rows(acquisition=METHODS[method].acquisition)
            sources = (f"{here}:measure_shares", f"{here}:METHODS[{method}]", on, *STUDY, *rows.values())
            run = partial(measure_shares, problem, method, seed)
        yield Measurement(key, run, sources, group=f"{problem} {method}")


# -- tables ------------------------------------------------------------------------------------------------------------


def shares_by_method(lines: Sequence[Line]) -> dict[str, Shares]:
    """Shares by method, methods in their order."""
    found: dict[str, Shares] = {}
    for line in lines:
        found.setdefault(line["method"], {})[line["problem"], line["seed"]] = line["shares"]
    return {method: found[method] for method in (*METHODS, *PEERS, *ORDERED) if method in found}


def mean_and_interval(values: Mapping[tuple[str, int], float]) -> tuple[float, float, float]:
    """The mean over problems of the mean over seeds, and its 95 % interval: seeds are drawn anew within every problem."""
    by: dict[str, list[float]] = {}
    for (problem, _), value in values.items():
        by.setdefault(problem, []).append(value)
    rng, groups = np.random.default_rng(0), [np.array(group) for group in by.values()]
    drawn = [group[rng.integers(len(group), size=(DRAWS, len(group)))].mean(axis=1) for group in groups]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return float(np.mean([group.mean() for group in groups])), float(low), float(high)


def mean_ranks(found: Mapping[str, Shares], mark: int) -> dict[str, float]:
    """The mean rank of every method among all, over the problems and seeds that all of them have; 1 is the best."""
    from scipy.stats import rankdata

    both = sorted(set.intersection(*({*shares} for shares in found.values())))
    if not both:
        return dict.fromkeys(found, float("nan"))
    table = np.array([[shares[key][mark - 1] for key in both] for shares in found.values()])
    return dict(zip(found, rankdata(-table, axis=0).mean(axis=1).tolist(), strict=True))


def method_table(found: Mapping[str, Shares]) -> str:
    """Mean shares after so many evaluations, and the mean rank at the end."""
    ranks, rows = mean_ranks(found, MARKS[-1]), []
    for method, shares in found.items():
        found_at = [mean_and_interval({key: share[mark - 1] for key, share in shares.items()}) for mark in MARKS]
        cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in found_at]
        rows.append([method, str(len(shares)), *cells, f"{ranks[method]:.2f}"])
    head = ["method", "searches", *(f"share after {mark}" for mark in MARKS), f"mean rank after {MARKS[-1]}"]
    return markdown_table(head, rows)


def pair_table(found: Mapping[str, Shares]) -> str:
    """Paired differences, seed by seed: above 0 the first is better."""
    rows = []
    for ours, peer in PAIRS:
        both = [key for key in found.get(ours, {}) if key in found.get(peer, {})]
        if not both:
            continue
        gaps = [{key: found[ours][key][mark - 1] - found[peer][key][mark - 1] for key in both} for mark in MARKS]
        cells = [f"{m:+.3f} [{low:+.3f}, {high:+.3f}]" for m, low, high in map(mean_and_interval, gaps)]
        by_problem = [np.mean([gap for key, gap in gaps[-1].items() if key[0] == name]) for name in PROBLEMS if (name, 0) in both]
        rows.append([f"{ours} less {peer}", *cells, f"{sum(gap > 0 for gap in by_problem)} of {len(by_problem)}"])
    return markdown_table(["difference of shares", *(f"after {mark}" for mark in MARKS), "problems better"], rows)


def problem_table(found: Mapping[str, Shares]) -> str:
    """The mean share of every method at the end, problem by problem."""
    rows = []
    for method, shares in found.items():
        ends = [[share[-1] for key, share in shares.items() if key[0] == name] for name in PROBLEMS]
        rows.append([method, *(f"{np.mean(end):.3f}" if end else "" for end in ends)])
    return markdown_table([f"share after {MARKS[-1]}", *PROBLEMS], rows)


def objectives_tables(ledger: Ledger) -> str:
    """Methods, pairs, problems; and ASHA by its order."""
    found = shares_by_method(list(ledger.latest().values()))
    searched = {name: shares for name, shares in found.items() if name not in ORDERED}
    ordered = {name: shares for name, shares in found.items() if name in ORDERED}
    parts = [method_table(searched), pair_table(found), problem_table(searched)] if searched else []
    return "\n\n".join([*parts, *([method_table(ordered), problem_table(ordered)] if ordered else [])])


# -- the figure --------------------------------------------------------------------------------------------------------

COLUMNS = 3
BESIDE = {"Optuna NSGA-II": "NSGA2", "Optuna TPE": "TPE", "Optuna GP": "GP, EHVI"}  # dashed, in the colour of ours


def draw_volumes(found: Mapping[str, Shares], path: Path) -> None:
    """What is left of the volume, by evaluations: a panel for each problem, means over seeds, Optuna dashed."""
    import matplotlib
    from matplotlib.figure import Figure

    from surrogates.style import BLUE, GREEN, GREY, INK, ORANGE, STYLE

    colours = {"random": GREY, "NSGA2": GREEN, "TPE": ORANGE, "GP, EHVI": BLUE, "GP, ParEGO": INK}
    there = [name for name in PROBLEMS if any(key[0] == name for shares in found.values() for key in shares)]
    lines: dict[str, Any] = {}
    with matplotlib.rc_context(STYLE):
        rows = -(-len(there) // COLUMNS)
        picture = Figure(figsize=(11.0, 2.8 * rows), layout="constrained")
        axes = picture.subplots(rows, COLUMNS, squeeze=False).ravel()
        for ax, name in zip(axes, there, strict=False):
            for method, shares in found.items():
                kind = BESIDE.get(method, method)
                every = [share for key, share in shares.items() if key[0] == name]
                if kind in colours and every:
                    left = np.maximum(1.0 - np.mean(every, axis=0), 1e-4)
                    style = "--" if method in BESIDE else "-"
                    lines[method] = ax.plot(range(1, len(left) + 1), left, style, color=colours[kind], lw=1.3)[0]
            ax.set(title=name, yscale="log", xlabel="evaluations", ylabel="share not reached")
        for ax in axes[len(there) :]:
            ax.set_axis_off()
        picture.legend(lines.values(), lines.keys(), loc="outside right center")
        picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


# -- the command -------------------------------------------------------------------------------------------------------


def open_objectives(path: Path) -> Ledger:
    """The ledger, and one sentence for what cannot be measured here."""
    absent = [name for name, problem in PROBLEMS.items() if not problem.is_available]
    if absent:
        progress(f"{', '.join(absent)} are not measured: their files are not below the folder of shared data (HPO_DATA)")
    return Ledger(path, list(objectives_measurements()), can_measure=lambda one: PROBLEMS[str(one.key["problem"])].is_available)


app = new_app()


@app.command(help=keep_lines(__doc__))
def main(
    table: Table = False, recheck: Recheck = False, seconds: Seconds = float("inf"), results: Results = RESULTS,
    data: Data = None,
    figure: Annotated[Path | None, typer.Option(help="draw what is left of the volume into this file")] = None,
) -> None:  # fmt: skip
    """Measures what is missing, prints the tables, and draws the figure if asked."""
    use_data(data)
    ledger = open_objectives(results)
    conduct(ledger, objectives_tables, table, recheck, seconds)
    if figure is not None:
        draw_volumes(shares_by_method(list(ledger.latest().values())), figure)


if __name__ == "__main__":
    app()
