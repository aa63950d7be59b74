"""Optimizer and Sampler: the one protocol. An optimizer is a pure function of a history.

An author of a scheduler writes `propose(history) -> Job | None`; of a sampler `sample(history, trial) -> config | None` (or
`suggest`, if it has something to record). Neither may change anything: whatever must be remembered is in the history, and
whatever is random comes from `hpo.rng.stream(seed, trial, role)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from hpo.bounds import feasible
from hpo.history import History
from hpo.job import Header, Job, Key, Note, Result
from hpo.logs import Collision
from hpo.logs.base import canonical
from hpo.plain import check_space, combine, options_of
from hpo.registry import has_fields
from hpo.rng import training_seed
from hpo.space import Config, Space, code_name
from hpo.upgrade import refuse_renamed
from hpo.values import plain, quantity, whole

CANDIDATES = 3  # results that may be recommended
COLLISIONS = 1000  # so many proposals in a row taken by other drivers are an error


class Draft(NamedTuple):
    """A configuration for a fresh trial, with entries for the note of its job (see hpo.job.Note)."""

    config: Config
    record: Mapping[str, Any] = MappingProxyType({})
    study: Mapping[str, Any] = MappingProxyType({})


class Optimizer(ABC):
    """Ask and tell over a pure `propose`.

    Its options are written into the header. They are the fields of a dataclass, else what `options()` returns, else the public
    attributes. An option `constraints` that maps metrics to numbers bounds what results report: only such as keep the bounds
    are the best, on the front or recommended (hpo/bounds.py).
    """

    space: Space
    seed: int = 0
    is_endless = True  # whether it proposes until it is stopped; if not, it ends by itself
    clones = False  # whether it names another trial's checkpoint as a source
    written: ClassVar[tuple[str, ...]] = ("propose", "sample")  # with one of these methods a plain class is an optimizer
    _history: History | None = None

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        refuse_renamed((base.__name__ for base in cls.__mro__), options)
        return super().__new__(cls)

    @classmethod
    def is_adaptable(cls, found: type) -> bool:
        """Whether a class is an optimizer, or one that `adapt` makes into one."""
        if issubclass(found, Optimizer):
            return issubclass(found, cls)
        return any(callable(getattr(found, name, None)) for name in cls.written)

    # -- what an author writes ---------------------------------------------------------------------------------------

    @abstractmethod
    def propose(self, history: History) -> Job | None:
        """What should be trained next, until when, from which checkpoint. PURE: no state, no clock, no global RNG.

        None means "not before another tell"; with nothing pending it means "finished".
        """

    def live(self, history: History) -> Sequence[Key]:
        """Finished keys that a later job may still name as its source, most useful first."""
        return ()

    def may_name(self, history: History, key: Key) -> bool:
        """Whether a later job may still name a finished key as its source, that is, whether the key is in `live`."""
        return key in self.live(history)

    def released_keys(self, history: History) -> Sequence[Key] | None:
        """Keys that are dead although no job has started from them, in order; it only grows. None: `live` is read instead."""
        return None

    @property
    def horizon(self) -> int:
        """The largest budget that this optimizer asks for, unless the header sets another horizon."""
        return 1

    @property
    def chooser(self) -> Optimizer:
        """The optimizer that chooses configurations: this one, or the innermost one that it wraps."""
        return self

    def take_horizon(self, horizon: int | None, described: Mapping[str, Any] | None = None) -> None:
        """Sets an open largest budget from the study's horizon, before the header is written.

        horizon     None where the study names none
        described   the optimizer in the header of a log that is reopened: what it was set to then stays
        """

    def adapt(
        self, objective: Any, described: Mapping[str, Any] | None = None, pool: Callable[[], Any] | None = None
    ) -> Optimizer:
        """This optimizer, with its open options set by what the objective declares or can do. Called before the header is
        written.

        described   the optimizer in the header of a log that is reopened: what it was set to then stays
        pool        makes an executor of the objective, on which it may be tried out (default: one in this process)
        """
        return self

    # -- ask and tell ------------------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """The bound history; one in memory with the objective {"loss": "min"} if none was bound."""
        if self._history is None:
            self._history = History(self.header())
        return self._history

    def bind(self, history: History) -> None:
        """Makes ask and tell use this history. ValueError if this optimizer has already written to another one."""
        if self._history is not None and self._history is not history and len(self._history):
            raise ValueError(
                f"this {type(self).__name__} already has a history of {quantity(len(self._history), 'events')}; make a new one "
                f"for a new study, and add to it or enqueue after Study(...)"
            )
        self._history = history

    def header(
        self,
        objectives: Mapping[str, str] | None = None,
        unit: str = "evaluations",
        horizon: int | None = None,
        lost_limit: int = 3,
        order: str = "crowding",
    ) -> Header:
        """The header of a study by this optimizer."""
        return Header(
            space=self.space.describe(),
            objectives=dict(objectives) if objectives is not None else {"loss": "min"},
            unit=unit,
            horizon=horizon if horizon is not None else self.horizon,
            optimizer=self.describe(),
            seed=self.seed,
            lost_limit=lost_limit,
            order=order,
        )

    def decide(self, history: History) -> Job | None:
        """The next job: a lost job again, else a proposal. Pure; `ask` calls this and then `history.start`."""
        if history.retries:
            return next(iter(history.retries.values()))
        return self.propose(history)

    def ask(self, check: Callable[[History], None] | None = None) -> Job | None:
        """The next job, recorded as started; None if there is none before the next tell.

        check: called before every decision with the history as it will be read, so that a limit can be recorded in time.
        The limit of a run applies to that run only: an ask by hand after it, or after `hpo.load`, returns the next job, except
        in the finals. Raises PermissionError if the log is read-only.
        """
        history = self.history
        history.refuse_readers()
        for _ in range(COLLISIONS):
            with history.lock:
                history.refresh()
                if check is not None:
                    check(history)
                seen = len(history)
                job = self.decide(history)
                if job is None and history.by_hand and history.limited and history.phase == "search":
                    history.lift()
                    seen, job = len(history), self.decide(history)
                if job is None:
                    return None
                self._check(job, history)
                try:
                    history.start(job, seen)
                except Collision:
                    continue
                started = history.jobs[job.key]
                return replace(started, config=deepcopy(started.config))  # a copy, which the caller may change
        raise RuntimeError(f"{COLLISIONS} proposals in a row were taken by other drivers of the same log")

    def _check(self, job: Job, history: History) -> None:
        """ValueError that names the optimizer if a new trial's configuration does not lie in the space."""
        if job.trial in history.trials:
            return
        try:
            self.space.check(job.config)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{type(self).__name__} proposed a configuration outside its space: {error}") from error

    def tell(self, job: Job, result: Any) -> bool:
        """Records a number, a mapping of metrics or a Result. False if the job had a result already (which stands)."""
        if not isinstance(job, Job):
            raise TypeError(f"tell takes a job that ask returned, but {job!r} came; add() takes a configuration")
        return self.history.finish(job, Result.of(result, self.history.header.objectives))

    def lose(self, job: Job) -> bool:
        """Records that the machine lost the job; the next ask gives it out again, up to the header's limit."""
        return self.history.lose(job)

    def add(self, config: Mapping[str, Any], result: Any, until: int | None = None, seed: int = 0) -> Job:
        """Records a result that nobody asked for, at budget `until` (by default the horizon)."""
        history = self.history
        checked, told = self.space.check(config), Result.of(result, history.header.objectives)
        until = history.header.horizon if until is None else whole("until", until)
        if not 1 <= until <= history.header.horizon:
            raise ValueError(f"until is {until}; allowed is 1 to the horizon {history.header.horizon}")
        for _ in range(COLLISIONS):
            history.refresh()
            job = Job(history.next_trial, checked, until, seed=seed, note=Note(study={"added": True}))
            try:
                history.add(job, told)
            except Collision:
                continue
            return job
        raise RuntimeError(f"{COLLISIONS} trial numbers in a row were taken by other drivers of the same log")

    def enqueue(self, config: Mapping[str, Any]) -> None:
        """Pins a configuration: the next fresh trial takes it. Raises ValueError if it does not lie in the space."""
        self.history.enqueue(self.space.check(config))

    def recommend(self, history: History) -> Key | None:
        """The key to use: the first of the `candidates`, the lowest loss observed; None without one."""
        return next(iter(self.candidates(history)), None)

    def candidates(self, history: History) -> list[Key]:
        """The few best successes at the highest budget that has any; with bounds (hpo/bounds.py) of those that keep them.
        `recommend` chooses from them, so `run` keeps their checkpoints."""
        kept = feasible(history)
        return [] if kept.highest_budget is None else list(islice(kept.order(kept.highest_budget), CANDIDATES))

    # -- description -------------------------------------------------------------------------------------------------

    @cached_property
    def owner(self) -> str:
        """The key under which the history keeps this optimizer's folds."""
        return canonical(self.describe())

    def describe(self) -> dict[str, Any]:
        """The name and the options as JSON values, for the header."""
        if has_fields(type(self)):
            names = [f.name for f in fields(self) if f.name not in ("space", "seed")]  # type: ignore[arg-type]
            options = {name: getattr(self, name) for name in names}
        else:
            options = options_of(self)
        return {"name": type(self).__name__, **{name: describe_option(value) for name, value in options.items()}}


def describe_option(value: Any) -> Any:
    """An option as the header writes it."""
    value = plain(value)
    if isinstance(value, Optimizer):
        return value.describe()
    if isinstance(value, Mapping):
        return {str(k): describe_option(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [describe_option(v) for v in value]
    return value if value is None or isinstance(value, str | int | float) else code_name(value)


@dataclass(eq=False)
class Sampler(Optimizer):
    """An optimizer that only chooses configurations. Used alone, it trains each of them to the horizon."""

    space: Space
    _: KW_ONLY
    seed: int = 0

    written: ClassVar[tuple[str, ...]] = ("sample",)
    repeats: ClassVar[bool] = True  # whether it may propose a configuration again while something new is feasible

    def __post_init__(self) -> None:
        self.space = Space.of(self.space)
        self.seed = whole("seed", self.seed, 0)
        if self.seed >= 2**64:  # streams read 64 bits of it
            raise ValueError(f"seed is {self.seed}; allowed is an integer of at least 0 and below 2^64")

    @abstractmethod
    def sample(self, history: History, trial: int) -> Config | None:
        """A configuration for the fresh trial; None if there are no more."""

    def released_keys(self, history: History) -> Sequence[Key] | None:
        return ()  # nothing is ever live

    def suggest(self, history: History, trial: int) -> Draft | None:
        """`sample`, with entries for the job's note. A sampler that has something to record overrides this method."""
        config = self.sample(history, trial)
        return None if config is None else Draft(config)

    def suggest_at(self, history: History, trial: int, until: int) -> Draft | None:
        """`suggest` for a trial that is first trained to `until`; a sampler with a state for each first budget overrides it."""
        return self.suggest(history, trial)

    def draft(self, history: History, trial: int, until: int | None = None) -> Draft | None:
        """The configuration of a fresh trial that is first trained to `until` (by default the horizon): the oldest pinned one,
        else a suggestion. Schedulers call this."""
        pinned = history.queue_head
        if pinned is not None:
            return Draft(dict(pinned[1]), study={"queued": pinned[0]})
        return self.suggest_at(history, trial, history.header.horizon if until is None else until)

    def fresh(self, history: History, until: int, member: Mapping[str, Any] | None = None) -> Job | None:
        """A job that starts a new trial; None if there is no configuration for it, or if the run's limit is reached.

        member: where the trial belongs (rung, bracket, slot); later jobs of the trial record the same.
        """
        if history.limited:
            return None
        trial = history.next_trial
        draft = self.draft(history, trial, until)
        if draft is None:
            return None
        seed = training_seed(self.seed, trial)
        return Job(trial, draft.config, until, seed=seed, note=Note(draft.study, member or {}, draft.record))

    def propose(self, history: History) -> Job | None:
        return self.fresh(history, history.header.horizon)


@dataclass(eq=False)
class Scheduler(Optimizer):
    """An optimizer that decides budgets and sources, over any sampler."""

    if TYPE_CHECKING:
        sampler: Any  # a plain class with `sample`, too
    else:
        sampler: Sampler

    written: ClassVar[tuple[str, ...]] = ("propose",)
    usual: ClassVar[str] = "random"  # the sampler that `make` uses if none is named

    def __post_init__(self) -> None:
        self.sampler = adapt(self.sampler)
        if not isinstance(self.sampler, Sampler):
            name, came = type(self).__name__, self.sampler
            raise TypeError(f"{name} takes a sampler such as Random(space) or GP(space), but {came!r} came")

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        return self.sampler.is_endless

    @property
    def chooser(self) -> Optimizer:
        return self.sampler.chooser

    @property
    def space(self) -> Space:  # type: ignore[override]
        return self.sampler.space

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.sampler.seed

    def resume(self, history: History, trial: int, until: int) -> Job:
        """The trial's next job. It continues from the trial's last key, with the same configuration, seed and `note.member`."""
        last = history.jobs[history.trials[trial][-1]]
        return Job(trial, last.config, until, last.key, last.seed, Note(member=last.note.member))

    def recommend(self, history: History) -> Key | None:
        return self.sampler.recommend(history)


def adapt(value: Any) -> Any:
    """Makes an optimizer of an object of a plain class: a sampler if it has `sample(history, trial)`, a scheduler if it has
    `propose(history)` and an attribute `sampler`, else an optimizer if it has `propose(history)`. Anything else is returned
    as it is.

    TypeError in a sentence if such an object lacks something that an optimizer needs.
    """
    if isinstance(value, type) or not Optimizer.is_adaptable(type(value)):
        return value
    made = value
    if not isinstance(value, Optimizer):
        inner = adapt(getattr(value, "sampler", None))
        if Sampler.is_adaptable(type(value)):
            made = combine(value, Sampler, "sample", "history", "trial")
        elif isinstance(inner, Sampler):
            made = combine(value, Scheduler, "propose", "history", live=_last_successes)
            made.sampler = inner
        else:
            made = combine(value, Optimizer, "propose", "history", live=_last_successes)
    check_space(made)
    return made


def _last_successes(optimizer: Optimizer, history: History) -> Sequence[Key]:
    """What `live` is for a plain class without one: the last checkpoint of every trial that can go on."""
    last = (keys[-1] for trial, keys in history.trials.items() if trial not in history.added)
    return [key for key in last if key[1] < history.header.horizon and key in history.results and not history.is_failure(key)]
