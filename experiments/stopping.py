"""Rules that stop: what do they save, and what is lost?

    python -m experiments.stopping                # measures what is missing (a quarter of an hour), then prints the tables
    python -m experiments.stopping --table        # only prints them, from experiments/results/stopping.jsonl

Rules of a study (hpo/stop_rules.py). A rule is a function of the history, so one search to the end tells where each rule would
have stopped it: searches of 60 evaluations by a GP and by random search on six tasks, of which three are noisy, twenty seeds.
What was saved are the evaluations behind the stop; what was lost is the true regret of the recommendation at the stop less that
at the end, in per cent of the task's scale: the median regret of random configurations. The same is shown for searches that
all end after as many evaluations as the rule takes on average: a rule is of use where it loses less than that. Thresholds and
`min_delta` are shares of the scale, which whoever sets them knows only roughly.

Rules of trials. The same 50 random configurations, whole and under each rule, on the curves of four recurrent language models
(TaskSet, 50 epochs): epochs saved, and the regret of the lowest loss of any epoch that was trained, on the scale of
experiments/fidelity.py, where the same rules are compared at equal epochs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hpo
from experiments.benchmark.tables import WORST, taskset_space
from experiments.benchmark.tasks import TASKS, Task
from experiments.curves.data import EPOCHS, RUNGS, curves_of, has_taskset
from experiments.fidelity import TASKS as CURVES
from experiments.ledger import Ledger, Measurement, command
from experiments.ledger.markdown import markdown_table
from experiments.ledger.sources import STUDY, gp_rows
from experiments.paired import half_width, interval, scale_of
from hpo import Optimizer, RegretBound, Simulator, Space, Stop, Study
from hpo.stop_rules import Model

RESULTS = Path(__file__).parent / "results" / "stopping.jsonl"
ON = ("branin", "hartmann6", "svm_grid", "hartmann6_noisy", "lm_pretrain", "fcnet_protein")
EVALUATIONS, SEEDS, TRIALS = 60, 20, 50
WARMUP, BETA = RegretBound.warmup, RegretBound().beta

# -- studies -----------------------------------------------------------------------------------------------------------

SAMPLERS: dict[str, Callable[[Space, int], Optimizer]] = {
    "GP": lambda space, seed: hpo.GP(space, seed=seed),
    "random": lambda space, seed: hpo.Random(space, seed=seed),
}


def measure_rules(task: Task, make: Callable[[Space, int], Optimizer], seed: int) -> dict[str, Any]:
    """After every result: what was observed, the recommendation's regret and, of a GP, the figures that its rules read."""
    study = Study(make(task.space(), seed))
    series: dict[str, list[float | None]] = {name: [] for name in ("losses", "regret", "bound", "noise", "gain")}
    for i in range(EVALUATIONS):
        job = study.optimizer.ask()
        assert job is not None
        value = task.observe(dict(job.config), 1000 * seed + i)
        study.optimizer.tell(job, value)
        chosen = None if study.history.highest_budget is None else study.recommend().config
        series["losses"].append(shorten(value))
        series["regret"].append(shorten(math.nan if chosen is None else task.true(dict(chosen)) - task.best))
        if isinstance(study.optimizer, hpo.GP):
            for name, figure in read_model(study).items():
                series[name].append(shorten(figure))
    return {"scale": shorten(scale_of(task)), "best": task.best, **{name: values for name, values in series.items() if values}}


def read_model(study: Study) -> dict[str, float]:
    """What RegretBound and ExpectedImprovementPerCost compare with their thresholds; nan while they are silent."""
    model = Model.of(study.history, study.optimizer, WARMUP)
    if model is None:
        return dict.fromkeys(("bound", "noise", "gain"), math.nan)
    beta = BETA(study.space.domain.d, len(model.read.keys))
    noise = model.scale * math.exp(0.5 * model.gp.theta.log_noise)
    return {"bound": model.scale * model.regret(beta), "noise": noise, "gain": model.scale * model.expected_improvement()}


def shorten(value: float) -> float | None:
    """Five digits; None for nan."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


# -- where a rule stops ------------------------------------------------------------------------------------------------


def stop_by_patience(line: Any, patience: int, min_delta: float = 0.0) -> int | None:
    """As NoImprovement; min_delta as a share of the scale."""
    best, stale = math.inf, 0
    for n, loss in enumerate(line["losses"], 1):
        if loss is not None and loss < best - min_delta * line["scale"]:
            best, stale = loss, 0
        else:
            stale += 1
        if stale >= patience and math.isfinite(best):
            return n
    return None


def stop_by_target(line: Any, share: float) -> int | None:
    goal = line["best"] + share * line["scale"]
    return next((n for n, loss in enumerate(line["losses"], 1) if loss is not None and loss <= goal), None)


def stop_by_bound(line: Any, share: float | None = None) -> int | None:
    """As RegretBound: below a share of the scale, or below the noise."""
    limits = line["noise"] if share is None else [share * line["scale"]] * len(line["bound"])
    pairs = enumerate(zip(line["bound"], limits, strict=True), 1)
    return next((n for n, (bound, limit) in pairs if bound is not None and bound <= limit), None)


def stop_by_gain(line: Any, share: float) -> int | None:
    """As ExpectedImprovementPerCost, a training costing 1."""
    return next((n for n, gain in enumerate(line["gain"], 1) if gain is not None and gain < share * line["scale"]), None)


RULES: dict[str, Callable[[Any], int | None]] = {
    "Target(best + 5 %)": partial(stop_by_target, share=0.05),
    "NoImprovement(10)": partial(stop_by_patience, patience=10),
    "NoImprovement(20)": partial(stop_by_patience, patience=20),
    "NoImprovement(30)": partial(stop_by_patience, patience=30),
    "NoImprovement(10, 1 %)": partial(stop_by_patience, patience=10, min_delta=0.01),
    "NoImprovement(20, 1 %)": partial(stop_by_patience, patience=20, min_delta=0.01),
    "RegretBound()": stop_by_bound,
    "RegretBound(1 %)": partial(stop_by_bound, share=0.01),
    "RegretBound(5 %)": partial(stop_by_bound, share=0.05),
    "ExpectedImprovementPerCost(0.1 %)": partial(stop_by_gain, share=0.001),
    "ExpectedImprovementPerCost(0.5 %)": partial(stop_by_gain, share=0.005),
    "ExpectedImprovementPerCost(1 %)": partial(stop_by_gain, share=0.01),
}  # fmt: skip

# -- trials ------------------------------------------------------------------------------------------------------------

LEVELS: dict[str, Any] = {"rungs": RUNGS[:-1], "max_resource": EPOCHS}
EVERY: dict[str, Any] = {"rungs": tuple(range(1, EPOCHS)), "max_resource": EPOCHS}
SCHEDULERS: dict[str, Callable[[Space, int], Optimizer]] = {
    "whole trainings": lambda space, seed: hpo.Random(space, seed=seed),
    "MedianStopping": lambda space, seed: hpo.MedianStopping(hpo.Random(space, seed=seed), **LEVELS),
    "PercentileStopping": lambda space, seed: hpo.PercentileStopping(hpo.Random(space, seed=seed), **LEVELS),
    "PatienceStopping(3)": lambda space, seed: hpo.PatienceStopping(hpo.Random(space, seed=seed), patience=3, **EVERY),
    "PatienceStopping(10)": lambda space, seed: hpo.PatienceStopping(hpo.Random(space, seed=seed), patience=10, **EVERY),
}


def measure_trials(task: str, make: Callable[[Space, int], Optimizer], seed: int) -> dict[str, Any]:
    """Epochs that 50 trials took, and the regret of the lowest loss of any of these epochs."""
    curves = curves_of(task)
    study = Study(make(taskset_space(), seed), unit="epochs", horizon=EPOCHS)
    hpo.run(study, Simulator(lambda config, until, _: float(curves.at(config)[0][until])), Stop(trials=TRIALS))
    history, epochs, best = study.history, 0, WORST
    for keys in history.trials.values():
        epochs += keys[-1][1]
        best = min(best, float(np.min(curves.at(history.jobs[keys[-1]].config)[0][1 : keys[-1][1] + 1])))
    least, median = float(curves.valid.min()), curves.scale[1]
    return {"epochs": epochs, "regret": shorten((best - least) / (median - least))}


def stopping_measurements() -> Iterator[Measurement]:
    """First what is cheap, then the GP's searches, seed by seed, so that an interrupted run is of use."""
    for seed, (name, method) in itertools.product(range(SEEDS), itertools.product(CURVES, SCHEDULERS)):
        row = f"experiments.stopping:SCHEDULERS[{method}]"
        key = {"part": "trials", "task": name, "method": method, "seed": seed}
        sources = ("experiments.stopping:measure_trials", row, *STUDY)
        yield Measurement(key, partial(measure_trials, name, SCHEDULERS[method], seed), sources, None, f"{name} {method}")
    for sampler, seed, name in itertools.product(("random", "GP"), range(SEEDS), ON):
        rows = (f"experiments.stopping:SAMPLERS[{sampler}]", *STUDY, *(gp_rows().values() if sampler == "GP" else ()))
        key = {"part": "study", "task": name, "method": sampler, "seed": seed}
        sources, run = ("experiments.stopping:measure_rules", *rows), partial(measure_rules, TASKS[name], SAMPLERS[sampler], seed)
        yield Measurement(key, run, sources, TASKS[name].digest, f"{name} {sampler}")


# -- the tables --------------------------------------------------------------------------------------------------------


def stopping_tables(lines: Sequence[Any]) -> str:
    """By rule over all tasks; by rule and task; rules of trials."""
    studies = [line for line in lines if line["part"] == "study"]
    tables = [rules_table(studies), rules_by_task(studies), trials_table([line for line in lines if line["part"] == "trials"])]
    return "\n\n".join(table for table in tables if table)


def lost_at(line: Any, n: int | None) -> float:
    """Regret after n evaluations less that at the end, in per cent of the scale."""
    if n is None:
        return 0.0
    here = next(value for value in line["regret"][n - 1 :] if value is not None)  # the first there is
    return float(100.0 * (here - line["regret"][-1]) / line["scale"])


def mean_over_tasks(lines: Sequence[Any], values: Sequence[float]) -> np.ndarray:
    """(seeds,) means over the tasks, of seeds that all tasks have."""
    by: dict[int, dict[str, float]] = {}
    for line, value in zip(lines, values, strict=True):
        by.setdefault(line["seed"], {})[line["task"]] = value
    most = max(map(len, by.values()))
    return np.array([np.mean(list(found.values())) for found in by.values() if len(found) == most])


def rules_table(lines: Sequence[Any]) -> str:
    rows = []
    for sampler, (rule, stop) in itertools.product(SAMPLERS, RULES.items()):
        mine = [line for line in lines if line["method"] == sampler]
        if not mine or (sampler == "random" and not rule.startswith(("Target", "NoImprovement"))):
            continue
        stops = [stop(line) for line in mine]
        usual = round(float(np.mean([EVALUATIONS if n is None else n for n in stops])))
        saved = mean_over_tasks(mine, [0.0 if n is None else EVALUATIONS - n for n in stops])
        lost, always = ([lost_at(line, n) for line, n in zip(mine, ns, strict=True)] for ns in (stops, [usual] * len(mine)))
        rows.append([f"{rule}, {sampler}", f"{np.mean([n is not None for n in stops]):.0%}", interval(saved, 1),
                     interval(mean_over_tasks(mine, lost)), interval(mean_over_tasks(mine, always)),
                     f"{np.mean(np.array(lost) > 1.0):.0%}"])  # fmt: skip
    head = ["rule, sampler", "stopped", f"of {EVALUATIONS} evaluations saved", "lost, %", "lost by always stopping there, %",
            "lost more than 1 %"]  # fmt: skip
    return markdown_table(head, rows)


def rules_by_task(lines: Sequence[Any]) -> str:
    """`41.2 saved, 0.10 % lost` by task, of the GP's searches."""
    rows = []
    for rule, stop in RULES.items():
        cells = []
        for task in ON:
            mine = [line for line in lines if line["task"] == task and line["method"] == "GP"]
            stops = [stop(line) for line in mine]
            saved = [0.0 if n is None else EVALUATIONS - n for n in stops]
            cells.append(f"{np.mean(saved):.1f}, {np.mean([lost_at(*pair) for pair in zip(mine, stops, strict=True)]):.2f} %"
                         if mine else "")  # fmt: skip
        rows.append([rule, *cells])
    return markdown_table(["rule: evaluations saved, lost", *ON], rows)


def trials_table(lines: Sequence[Any]) -> str:
    by: dict[str, dict[tuple[str, int], Mapping[str, Any]]] = {}
    for line in lines:
        by.setdefault(line["method"], {})[line["task"], line["seed"]] = line
    rows, whole = [], by.get("whole trainings", {})
    for method in SCHEDULERS:
        keys = [key for key in by.get(method, {}) if key in whole]
        if keys:
            mine = by[method]
            saved = np.array([100.0 * (1 - mine[key]["epochs"] / whole[key]["epochs"]) for key in keys])
            lost = np.array([mine[key]["regret"] - whole[key]["regret"] for key in keys])
            rows.append([method, str(len(keys)), f"{np.mean(saved):.1f} ± {half_width(saved):.1f}", interval(lost, 3),
                         f"{np.mean(lost > 1e-9):.0%}"])  # fmt: skip
    return markdown_table(["rule of trials", "searches", "epochs saved, %", "regret lost", "lost the best"], rows) if rows else ""


def has_file(task: str) -> bool:
    """Whether the file is there that a task reads."""
    return has_taskset() if task in CURVES else TASKS[task].is_available


def open_stopping(path: Path) -> Ledger:
    return Ledger(path, list(stopping_measurements()), can_measure=lambda one: has_file(one.key["task"]))


app = command(__doc__, RESULTS, open_stopping, lambda ledger: stopping_tables(list(ledger.latest().values())))

if __name__ == "__main__":
    app()
