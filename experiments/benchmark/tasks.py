"""The tasks of the benchmark: what is tuned, what is true, what an optimizer sees, and the least value there is.

A task's `true` value is hidden; its regret is true(config) - best. An optimizer sees `observe(config, seed)`: the true
value, or one with noise drawn from `seed` alone. Give each evaluation of a study a seed of its own (an integer from 0):
under one seed for all of them the error is the same everywhere.

There are two suites. "all" are the fifteen that were fixed before ours ran; some of our defaults (the first point, a look at
another part of the space every fifth time) were chosen while looking at them. "fresh" are eleven more, fixed after that.
They were chosen by rule:

    functions   those of Surjanovic and Bingham's library for any number of dimensions that the fifteen lack and that are
                nowhere lower outside their box; translated, so that the optimum lies where one draw put it
                (functions.DRAWN), never in the middle
    TaskSet     the two tasks on which no search of this project was ever run
    FCNet       the two data sets that the fifteen lack
    grids       the one of Snoek et al. that the fifteen lack

Six of them nobody had looked at: salomon5, dixonprice6, zakharov6, taskset_lstm2, taskset_vrnn and logreg_grid. Relatives of
the other five were there when our options were compared: the two FCNet tables themselves, and Griewank, Rastrigin and
Styblinski-Tang in other boxes, their optima where the books put them.
"""

import hashlib
import importlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np

from experiments.benchmark import functions, lm, tables
from hpo.space import Config, Space

HARTMANN6 = -3.322368011415515  # Nelder-Mead from the published optimiser, to the last digit
HARTMANN_NOISE = 0.3  # standard deviation
PROBES = 100  # configurations by which a task is named


@dataclass(frozen=True)
class Noise:
    """A function of (config, random numbers) as one of (config, seed).

    The random numbers come from the seed alone: two methods that are compared on the same seeds meet the same noise.
    """

    draw: Callable[[Config, np.random.Generator], float]

    def __call__(self, config: Config, seed: int) -> float:
        return self.draw(config, np.random.default_rng(seed))


@dataclass(frozen=True)
class Task:
    """One function to minimise over a space.

    kind    "classical" | "mixed" | "noisy" | "lm" | "tabular"
    space   makes the space when it is called
    true    the hidden value of a configuration, always finite
    best    the least true value over the space: exact, but for lm_pretrain and Hartmann, where it was found by search
    noise   (config, seed) -> what an optimizer sees, NaN where it diverges; None: it sees `true`
    needs   a file below the shared data folder, without which `true` raises FileNotFoundError
    suite   "all" | "fresh"
    """

    name: str
    kind: str
    space: Callable[[], Space]
    true: Callable[[Config], float]
    best: float
    noise: Callable[[Config, int], float] | None = None
    needs: str | None = None
    about: str = ""
    suite: str = "all"

    @property
    def is_available(self) -> bool:
        """Whether the file that the task reads is there."""
        return self.needs is None or tables.data_file(self.needs).exists()

    def observe(self, config: Config, seed: int) -> float:
        """What an optimizer is told of a configuration: deterministic in (config, seed), NaN where it diverged."""
        return self.true(config) if self.noise is None else self.noise(config, seed)

    @cached_property
    def digest(self) -> str | None:
        """Names what the task is, so that results on another definition of it are told apart; None without its file.

        16 hex digits of its space, its best value, and what is true and seen at some configurations, to seven digits: not
        of sources, since what is measured comes from files, and a task beside it changes nothing.
        """
        if not self.is_available:
            return None
        space = self.space()
        configs = [space.decode(row) for row in space.domain.from_unit(_spread(PROBES, space.domain.d))]
        values = [f"{self.true(c):.7g} {self.observe(c, seed):.7g}" for seed, c in enumerate(configs)]
        text = json.dumps([space.describe(), f"{self.best:.7g}", values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _spread(n: int, d: int) -> np.ndarray:
    """(n, d) evenly spread positions in the unit cube, from no generator: multiples of square roots of primes."""
    primes = [p for p in range(2, 400) if all(p % q for q in range(2, p))][:d]
    return np.asarray(np.arange(1, n + 1)[:, None] * np.sqrt(primes) % 1)


def _noisy_hartmann6(config: Config, rng: np.random.Generator) -> float:
    return functions.hartmann6(config) + HARTMANN_NOISE * float(rng.standard_normal())


def _classical(name: str, space: Callable[[], Space], true: Callable[[Config], float], best: float, about: str) -> Task:
    return Task(name, "classical", space, true, best, about=about)


def _taskset(name: str, task: str, best: float, about: str) -> Task:
    seen = partial(tables.taskset_seen, task)
    return Task(name, "lm", tables.taskset_space, partial(tables.taskset_true, task), best, seen, tables.TASKSET,
                f"8-d, 1000 real runs of a text classifier (TaskSet), {about}, interpolated; loss up to 2 ln 2")  # fmt: skip


def _fcnet(name: str, data: str, best: float) -> Task:
    seen = Noise(partial(tables.fcnet_seen, data))
    return Task(name, "tabular", tables.fcnet_space, partial(tables.fcnet_true, data), best, seen, tables.fcnet_file(data),
                "9-d, 62,208 measured networks x 4 repeats (FCNet); log10 of the validation MSE")  # fmt: skip


def _grid(name: str, grid: tables.Grid, best: float, about: str) -> Task:
    return Task(name, "tabular", grid.space, grid.true, best, needs=grid.file, about=about)


_TASKS = (
    _classical("branin", functions.branin_space, functions.branin, 10 / (8 * math.pi), "2-d, three equal minima"),
    _classical("hartmann6", partial(functions.box_space, 6, 0.0, 1.0), functions.hartmann6, HARTMANN6, "6-d, six local minima"),
    _classical("ackley5", partial(functions.box_space, 5, -32.768, 32.768), functions.ackley, 0.0,
               "5-d, many local minima, optimum at 7.3 in every dimension"),
    _classical("levy8", partial(functions.box_space, 8, -10.0, 10.0), functions.levy, 0.0, "8-d, many local minima"),
    _classical("rosenbrock4", partial(functions.box_space, 4, -5.0, 10.0), functions.rosenbrock, 0.0, "4-d, a bent valley"),
    Task("mixed8", "mixed", functions.mixed8_space, functions.mixed8, 0.0,
         about="8-d: 3 floats, 2 integers, choices of 3, 4 and 2 that move the optimum of the numbers; ours"),
    Task("conditional", "mixed", functions.conditional_space, functions.conditional, 0.0,
         about="12 parameters of which 5 to 7 are active, 3 branches and a second level; ours"),
    Task("hartmann6_noisy", "noisy", partial(functions.box_space, 6, 0.0, 1.0), functions.hartmann6, HARTMANN6,
         Noise(_noisy_hartmann6), about="hartmann6 seen with normal noise of standard deviation 0.3"),
    Task("lm_pretrain", "lm", lm.lm_space, lm.true, lm.BEST, Noise(lm.noise),
         about="9-d made-up surface of a language model's loss at fixed compute, nats a token; diverges; noise 0.004"),
    _taskset("taskset_irnn", "patch32_IRNN64_relu_avg_bs128", 0.48932790756225586, "a recurrent ReLU network"),
    _taskset("taskset_lstm", "patch32_LSTM128_E128_bs128", 0.5244767665863037, "an LSTM"),
    _fcnet("fcnet_protein", "protein_structure", -0.6548662822964808),
    _fcnet("fcnet_naval", "naval_propulsion", -4.498957859526099),
    _grid("lda_grid", tables.LDA, 1266.167382, "3-d, 288 points, online LDA; perplexity (Snoek et al. 2012)"),
    _grid("svm_grid", tables.SVM, 0.2411, "3-d, 1400 points, a latent structured SVM; error rate (Snoek et al. 2012)"),
)  # fmt: skip
_FRESH = (
    _classical("griewank6", partial(functions.box_space, 6, -600.0, 600.0), functions.griewank, 0.0,
               "6-d, a wide bowl with thousands of ripples, optimum where one draw put it"),
    _classical("rastrigin4", partial(functions.box_space, 4, -5.12, 5.12), functions.rastrigin, 0.0,
               "4-d, a bowl with thousands of local minima, optimum where one draw put it"),
    _classical("styblinski5", partial(functions.box_space, 5, -5.0, 5.0), functions.styblinski_tang, 5 * functions.WELL,
               "5-d, up to two wells a dimension, steep walls, optimum where one draw put it"),
    _classical("salomon5", partial(functions.box_space, 5, -100.0, 100.0), functions.salomon, 0.0,
               "5-d, rings around the optimum, which lies where one draw put it"),
    _classical("dixonprice6", partial(functions.box_space, 6, -10.0, 10.0), functions.dixon_price, 0.0,
               "6-d, a chain of bent valleys, optimum where one draw put it"),
    _classical("zakharov6", partial(functions.box_space, 6, -5.0, 10.0), functions.zakharov, 0.0,
               "6-d, a steep plate, optimum where one draw put it"),
    _taskset("taskset_lstm2", "patch32_LSTM128_bs128", 0.5300979614257812, "another LSTM"),
    _taskset("taskset_vrnn", "patch32_VRNN128_tanh_bs128", 0.5061859488487244, "a plain recurrent network"),
    _fcnet("fcnet_slice", "slice_localization", -3.717848788683206),
    _fcnet("fcnet_parkinsons", "parkinsons_telemonitoring", -2.181125581195272),
    _grid("logreg_grid", tables.LOGREG, 0.0685, "4-d, 9680 points, logistic regression; error rate (Snoek et al. 2012)"),
)  # fmt: skip
TASKS: dict[str, Task] = {task.name: task for task in (*_TASKS, *(replace(task, suite="fresh") for task in _FRESH))}


def find_task(name: str) -> Task:
    """A task by its name in TASKS, or one of somebody's own: "package.module:NAME", a Task that a module defines, under that
    name. ValueError for an unknown name."""
    if name in TASKS:
        return TASKS[name]
    if ":" not in name:
        raise ValueError(f"unknown task {name!r}; allowed are {list(TASKS)} and 'package.module:NAME'")
    return import_task(name)


@cache
def import_task(name: str) -> Task:
    """The task that a module defines, imported once. ValueError for what is none."""
    module, _, attribute = name.rpartition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs anybody's code
        raise ValueError(f"the task {name!r} cannot be imported as package.module:NAME: {error}") from None
    if not isinstance(found, Task):
        raise ValueError(f"{name!r} is {found!r}; it must be an experiments.benchmark.tasks.Task")
    return replace(found, name=name)


SUITES: dict[str, tuple[str, ...]] = {
    **{suite: tuple(t.name for t in TASKS.values() if t.suite == suite) for suite in ("all", "fresh")},
    **{kind: tuple(t.name for t in _TASKS if t.kind == kind) for kind in ("classical", "mixed", "noisy", "lm", "tabular")},
}
