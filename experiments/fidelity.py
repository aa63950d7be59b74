"""Early stopping on real learning curves: how soon does each method reach what random search reaches?

    python -m experiments.fidelity                    # measures what is missing; about 40 minutes on one core
    .fidelity/bin/python -m experiments.fidelity      # Syne Tune's and DEHB's searches too: fidelity.txt; 20 minutes more
    python -m experiments.fidelity --seconds 600      # begins nothing after ten minutes
    python -m experiments.fidelity --table            # only prints, from experiments/results/fidelity.jsonl

Four tasks of TaskSet (recurrent language models, 50 epochs, 8 hyperparameters), one worker, twenty seeds, every method with its
documented defaults (rungs at 2, 6, 18 and 50 epochs, or from 2 to 50 by a factor of 3). What counts is the lowest validation
loss of any epoch that was trained so far: its checkpoint can be handed over. Regret is (loss - least) / (median - least), where
least is the lowest of the table and median that of its last losses. Methods with a Gaussian process and several budgets are
ended after 30 whole trainings, and so are Syne Tune's with a model; all others after 100.

Targets, fixed before anything was measured: the mean regret of random search after 50 and after 100 whole trainings. The best
of ours is to reach the second 10 times sooner than random search, and 3 times sooner than our GP with whole trainings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hpo
from experiments.benchmark.tables import TASKSET, WORST, taskset_space
from experiments.curves.data import EPOCHS, RUNGS, Curves, curves_of, has_taskset
from experiments.fidelity_peers import INSTALL, OTHERS
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.command import progress
from experiments.ledger.environment import environment
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
from hpo import Float, Optimizer, Space, Stop, Study
from hpo.executors import Simulator

RESULTS = Path(__file__).parent / "results" / "fidelity.jsonl"
TASKS = (
    "patch128_LSTM128_avg_bs64", "patch128_LSTM128_bs64", "patch32_GRU64_avg_bs128", "patch32_VRNN64_relu_avg_bs128",
)  # fmt: skip
SEEDS, WHOLE, SHORT = 20, 100, 30  # trainings to the end that a search may spend
FEWER = {"Syne Tune CQR": 2}  # seeds of a method whose search takes half a minute
MARKS = (1, 2, 3, 5, 10, 20, 30, 50, 100)  # of them
TARGETS = (50, 100)  # whole trainings of random search
STEPS: dict[str, Any] = {"min_resource": RUNGS[0], "max_resource": EPOCHS, "reduction_factor": 3}
LOWER = STEPS | {"min_resource": 1}  # Hyperband's rungs are 50 / 3^k: from 2 epochs on the lowest is 6, from 1 on it is 2
LEVELS: dict[str, Any] = {"rungs": RUNGS[:-1], "max_resource": EPOCHS}


@dataclass(frozen=True)
class Searcher:
    """A method: what makes it, and for how many whole trainings it searches."""

    make: Callable[[Space, int], Optimizer]
    wholes: int = WHOLE


METHODS: dict[str, Searcher] = {
    "random": Searcher(lambda space, seed: hpo.Random(space, seed=seed)),
    "TPE": Searcher(lambda space, seed: hpo.TPE(space, seed=seed)),
    "GP": Searcher(lambda space, seed: hpo.GP(space, seed=seed)),
    "SuccessiveHalving": Searcher(lambda space, seed: hpo.SuccessiveHalving(hpo.Random(space, seed=seed), **STEPS)),
    "Hyperband": Searcher(lambda space, seed: hpo.Hyperband(hpo.Random(space, seed=seed), **STEPS)),
    "ASHA": Searcher(lambda space, seed: hpo.ASHA(hpo.Random(space, seed=seed), **STEPS)),
    "ASHA, stopping": Searcher(lambda space, seed: hpo.ASHAStopping(hpo.Random(space, seed=seed), **STEPS)),
    "PASHA": Searcher(lambda space, seed: hpo.PASHA(hpo.Random(space, seed=seed), **STEPS)),
    "MedianStopping": Searcher(lambda space, seed: hpo.MedianStopping(hpo.Random(space, seed=seed), **LEVELS)),
    "PercentileStopping": Searcher(lambda space, seed: hpo.PercentileStopping(hpo.Random(space, seed=seed), **LEVELS)),
    "DEHB": Searcher(lambda space, seed: hpo.DEHB(hpo.Random(space, seed=seed), **STEPS)),
    "BOHB": Searcher(lambda space, seed: hpo.BOHB(hpo.KDE(space, seed=seed), **STEPS)),
    "Hyperband(TPE)": Searcher(lambda space, seed: hpo.Hyperband(hpo.TPE(space, seed=seed), **STEPS)),
    "ASHA(TPE)": Searcher(lambda space, seed: hpo.ASHA(hpo.TPE(space, seed=seed), **STEPS)),
    "ASHA(GP)": Searcher(lambda space, seed: hpo.ASHA(hpo.GP(space, seed=seed), **STEPS), SHORT),
    "FreezeThaw(GP)": Searcher(lambda space, seed: hpo.FreezeThaw(hpo.GP(space, seed=seed), **STEPS), SHORT),
    "SuccessiveHalving, from 1": Searcher(lambda space, seed: hpo.SuccessiveHalving(hpo.Random(space, seed=seed), **LOWER)),
    "Hyperband, from 1": Searcher(lambda space, seed: hpo.Hyperband(hpo.Random(space, seed=seed), **LOWER)),
    "Hyperband(TPE), from 1": Searcher(lambda space, seed: hpo.Hyperband(hpo.TPE(space, seed=seed), **LOWER)),
    "BOHB, from 1": Searcher(lambda space, seed: hpo.BOHB(hpo.KDE(space, seed=seed), **LOWER)),
    "DEHB, from 1": Searcher(lambda space, seed: hpo.DEHB(hpo.Random(space, seed=seed), **LOWER)),
}
PEERS = {  # Optuna's pruners: the sampler, the pruner and its options
    "Optuna TPE, Hyperband": ("TPESampler", "HyperbandPruner", STEPS),
    "Optuna TPE, halving": ("TPESampler", "SuccessiveHalvingPruner", {}),
    "Optuna TPE, median": ("TPESampler", "MedianPruner", {}),
    "Optuna random, Hyperband": ("RandomSampler", "HyperbandPruner", STEPS),
}
PAIRS = (  # whose regrets are compared seed by seed: what makes Hyperband slow, then ours beside the same method elsewhere
    ("Hyperband, from 1", "Hyperband"), ("SuccessiveHalving", "Hyperband"), ("SuccessiveHalving, from 1", "ASHA"),
    ("Hyperband, from 1", "Optuna random, Hyperband"), ("ASHA, stopping", "Syne Tune ASHA"), ("BOHB, from 1", "Syne Tune BOHB"),
    ("DEHB", "DEHB (authors)"),
)  # fmt: skip
PAIRED = (5, 20, 30, 100)  # of MARKS


# -- searches ----------------------------------------------------------------------------------------------------------


def measure_ours(task: str, method: str, seed: int) -> dict[str, Any]:
    """[epochs spent, lowest loss so far] wherever it fell, by one of ours."""
    curves, chosen = curves_of(task), METHODS[method]
    study = Study(chosen.make(taskset_space(), seed), unit="epochs", horizon=EPOCHS)
    simulator = Simulator(lambda config, until, _: float(curves.at(config)[0][until]))
    hpo.run(study, simulator, Stop(when=lambda history: simulator.now >= chosen.wholes * EPOCHS))
    history, spent, falls = study.history, 0, Falls()
    for event in history.events:
        if event.kind == "finish":
            key = event.body["trial"], event.body["until"]
            source = history.jobs[key].source
            begun, losses = source[1] if source is not None else 0, curves.at(history.jobs[key].config)[0]
            for epoch in range(begun + 1, key[1] + 1):
                falls.add(spent + epoch - begun, float(losses[epoch]))
            spent += key[1] - begun
    return {"trials": len(history.trials), **falls.line(curves)}


def measure_peer(task: str, method: str, seed: int) -> dict[str, Any]:
    """The same by Optuna, which is told of every epoch and may stop a trial behind it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner, options = PEERS[method]
    curves, space = curves_of(task), taskset_space().parameters
    ranges = {name: spec for name, spec in space.items() if isinstance(spec, Float)}
    chosen = getattr(optuna.samplers, sampler)(seed=seed), getattr(optuna.pruners, pruner)(**options)
    study = optuna.create_study(sampler=chosen[0], pruner=chosen[1])
    spent, falls = 0, Falls()
    while spent < WHOLE * EPOCHS:
        trial = study.ask()
        config = {name: trial.suggest_float(name, spec.lo, spec.hi, log=spec.log) for name, spec in ranges.items()}
        losses, state = np.minimum(curves.at(config)[0], WORST), optuna.trial.TrialState.COMPLETE
        for epoch in range(1, EPOCHS + 1):
            trial.report(float(losses[epoch]), epoch)
            spent += 1
            falls.add(spent, float(losses[epoch]))
            if epoch < EPOCHS and trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        study.tell(trial, float(losses[epoch]) if state == optuna.trial.TrialState.COMPLETE else None, state=state)
    return {"trials": len(study.trials), **falls.line(curves), **environment("optuna")}


def measure_other(task: str, method: str, seed: int) -> dict[str, Any]:
    """The same by a method of another project, from an environment of its own."""
    curves, peer, falls = curves_of(task), OTHERS[method], Falls()
    epochs = list(itertools.islice(peer.search(curves, taskset_space(), seed), peer.wholes * EPOCHS))
    for spent, (_, loss) in enumerate(epochs, start=1):
        falls.add(spent, loss)
    return {"trials": epochs[-1][0] + 1, **falls.line(curves), **environment(*peer.packages)}


class Falls:
    """Where the lowest loss so far fell."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, float]] = []

    def add(self, spent: int, loss: float) -> None:
        if np.isfinite(loss) and (not self.steps or loss < self.steps[-1][1]):
            self.steps.append((spent, round(loss, 6)))

    def line(self, curves: Curves) -> dict[str, Any]:
        return {"steps": self.steps, "scale": [float(curves.valid.min()), curves.scale[1]]}


def fidelity_measurements() -> Iterator[Measurement]:
    """Seed by seed, so that an interrupted run is of use."""
    for seed, task, method in itertools.product(range(SEEDS), TASKS, (*METHODS, *PEERS, *OTHERS)):
        key = {"task": task, "method": method, "seed": seed}
        if method in OTHERS:
            if seed >= FEWER.get(method, SEEDS):
                continue
            sources: tuple[str, ...] = ("experiments.fidelity:measure_other", f"experiments.fidelity_peers:OTHERS[{method}]")
            run: Callable[[], Any] = partial(measure_other, task, method, seed)
        elif method in PEERS:
            sources = ("experiments.fidelity:measure_peer", "experiments.fidelity:PEERS")
            run = partial(measure_peer, task, method, seed)
        else:
            row = f"experiments.fidelity:METHODS[{method}]"
            sources = ("experiments.fidelity:measure_ours", row, *STUDY, *gp_rows().values())
            run = partial(measure_ours, task, method, seed)
        yield Measurement(key, run, sources, group=f"{task} {method}")


# -- the table ---------------------------------------------------------------------------------------------------------


def regret_at(line: Any, epochs: float) -> float:
    """Of the lowest loss after so many epochs; before the first result, that of guessing."""
    least, median = line["scale"]
    losses = [loss for spent, loss in line["steps"] if spent <= epochs]
    return (min(losses[-1] if losses else WORST, WORST) - least) / (median - least)


def epochs_to(line: Any, regret: float) -> float:
    """The epochs after which the regret is no higher; infinite if it never is."""
    least, median = line["scale"]
    return next((float(spent) for spent, loss in line["steps"] if (loss - least) / (median - least) <= regret), np.inf)


def fidelity_tables(lines: Sequence[Any]) -> str:
    """Epochs that a trial got, regret by whole trainings spent, and how much sooner than random search each target is reached;
    means and medians of the searches, with 95 % intervals of a bootstrap over them."""
    by: dict[str, dict[tuple[str, int], Any]] = {}
    for line in lines:
        by.setdefault(line["method"], {})[line["task"], line["seed"]] = line
    if "random" not in by:
        return "random search is not measured yet"
    rows, tasks = [], [task for task in TASKS if any(key[0] == task for key in by["random"])]
    targets = {(task, n): np.mean([regret_at(line, n * EPOCHS) for key, line in by["random"].items() if key[0] == task])
               for task in tasks for n in TARGETS}  # fmt: skip
    for method in (name for name in (*METHODS, *PEERS, *OTHERS) if name in by):
        mine, wholes = by[method], wholes_of(method)
        each = f"{np.mean([wholes * EPOCHS / line['trials'] for line in mine.values()]):.1f}"
        regrets = [mean_regret(list(mine.values()), n * EPOCHS) if n <= wholes else "" for n in MARKS]
        rows.append([method, str(len(mine)), each, *regrets, *(speed_up(mine, targets, n) for n in TARGETS)])
    head = ["method", "searches", "epochs a trial", *(f"regret after {n}" for n in MARKS)]
    table = markdown_table([*head, *(f"sooner than {n} of random" for n in TARGETS)], rows)
    pairs = [compare_pair(by, *pair) for pair in PAIRS if by.get(pair[0], {}).keys() & by.get(pair[1], {}).keys()]
    return f"{table}\n\n{markdown_table(['regret of', 'less that of', 'pairs', *(f'after {n}' for n in PAIRED)], pairs)}"


def compare_pair(by: Any, ours: str, other: str) -> list[str]:
    """The row of a pair: the mean difference in regret over the searches of one task and seed, with its interval."""
    keys = [key for key in by[ours] if key in by[other]]
    cells = []
    for n in (n for n in PAIRED if n <= min(wholes_of(ours), wholes_of(other))):
        differences = [regret_at(by[ours][key], n * EPOCHS) - regret_at(by[other][key], n * EPOCHS) for key in keys]
        low, high = np.quantile(draw_again(np.array(differences)).mean(axis=1), [0.025, 0.975])
        cells.append(f"{np.mean(differences):+.3f} [{low:+.3f}, {high:+.3f}]")
    return [ours, other, str(len(keys)), *cells, *[""] * (len(PAIRED) - len(cells))]


def wholes_of(method: str) -> int:
    """For how many whole trainings a method searches."""
    return METHODS[method].wholes if method in METHODS else OTHERS[method].wholes if method in OTHERS else WHOLE


def draw_again(values: np.ndarray) -> np.ndarray:
    """(2000, n) values of n searches, drawn with replacement."""
    return np.asarray(values[np.random.default_rng(0).integers(len(values), size=(2000, len(values)))])


def mean_regret(lines: Sequence[Any], epochs: float) -> str:
    """`0.906 [0.85, 0.96]`: the mean regret after so many epochs, and its interval."""
    regrets = np.array([regret_at(line, epochs) for line in lines])
    low, high = np.quantile(draw_again(regrets).mean(axis=1), [0.025, 0.975])
    return f"{regrets.mean():.3f} [{low:.2f}, {high:.2f}]"


def speed_up(mine: Any, targets: Any, n: int) -> str:
    """`9.1x [7.0, 12.0], 80%`: random search's epochs over a method's (the median search, and its interval), and how many
    searches reach the target. One that does not counts as infinitely late."""
    ratios = np.array([n * EPOCHS / epochs_to(line, targets[key[0], n]) for key, line in mine.items()])
    low, high = np.quantile(np.median(draw_again(ratios), axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.1f}x [{low:.1f}, {high:.1f}], {np.mean(ratios > 0):.0%}"


def can_measure(one: Measurement) -> bool:
    """Whether TaskSet's file is here, and the packages of a method of another project."""
    peer = OTHERS.get(one.key["method"])
    return has_taskset() and (peer is None or peer.is_here)


def open_fidelity(path: Path) -> Ledger:
    """The ledger, and one sentence for each thing that cannot be measured here."""
    if not has_taskset():
        progress(f"nothing is measured: it needs {TASKSET} below the folder of shared data (HPO_DATA)")
    ledger = Ledger(path, list(fidelity_measurements()), can_measure=can_measure)
    there = ledger.current()
    for method in dict.fromkeys(one.key["method"] for one in ledger.measurements if one.name not in there):
        if method in OTHERS and not OTHERS[method].is_here:
            progress(f"{method} is not measured: {INSTALL}")
    return ledger


app = command(__doc__, RESULTS, open_fidelity, lambda ledger: fidelity_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
