"""load: a study from its file alone, as far as a file can hold one.

The header describes the space, the optimizer with its options, the seed, objectives, unit and horizon. It cannot hold
functions (constraints of the space, acquisitions and cost functions of one's own, priors), only their names. Functions must
be given again, and are compared by name. Without them a study opens read-only, and an ask says what is missing. Nothing that
a file names is ever imported: names are looked up in hpo.optimizers and among the classes given to `hpo.register`.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from inspect import isabstract
from pathlib import Path
from typing import Any, cast

import hpo.optimizers
from hpo.frames import stack_level
from hpo.history import History
from hpo.job import Header, Key, differences
from hpo.logs import Log, LogError, SQLiteLog, open_log
from hpo.logs.base import encode_json
from hpo.optimizer import Optimizer, Sampler, adapt, describe_option
from hpo.optimizers.finals import FINALS, Finals
from hpo.parameters import Categorical, Const, Float, Int, Parameter
from hpo.registry import has_fields, option_names
from hpo.space import Config, Constraint, Space, code_name
from hpo.study import Study
from hpo.upgrade import upgrade_header
from hpo.values import format_value

WORD = re.compile(r"[A-Za-z_][\w %/-]*")  # the name of a table or a metric; the name of code has dots or brackets
NESTED = re.compile(r"[Ss]ampler|[Oo]ptimizer")  # the name or the type of an option that holds an optimizer
KINDS: dict[str, type[Parameter]] = {"float": Float, "int": Int, "choices": Categorical, "const": Const}


class Missing(Exception):
    """Something that a header cannot hold; the message says what."""


def load(
    path: str | Path | Log, constraints: Iterable[Constraint] | None = None, optimizer: Optimizer | None = None
) -> Study:
    """The study of a log, given as the path of a file, a URL, or the log itself.

    constraints   the constraints that the space was made with; they are compared by name
    optimizer     an instance like the one that the study was made with, if its options hold functions; it brings its own space

    If something is missing, or the file may not be written, the study can only be read: ask and tell raise PermissionError
    in one sentence. FileNotFoundError or ValueError if there is no such log, or if it belongs to another study.
    """
    optimizer = adapt(optimizer)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is an instance such as GP(space), but {optimizer!r} came")
    if optimizer is not None and constraints is not None:
        raise ValueError("an optimizer comes with the constraints of its own space; give one of the two")
    log = _open_existing(path)
    try:
        return _study(log, None if constraints is None else list(constraints), optimizer)
    except BaseException:
        if log is not path:  # opened here
            log.close()
        raise


def _open_existing(place: str | Path | Log) -> Log:
    """The log at a place, for reading only where its file may not be written."""
    if isinstance(place, Path) or (isinstance(place, str) and "://" not in place):
        if not Path(place).exists():
            raise FileNotFoundError(f"there is no log {str(place)!r}")
        return SQLiteLog(place, readonly=not _is_writable(Path(place)))
    if not isinstance(place, str):
        return open_log(place)
    log = open_log(place, readonly=True)  # read-only, so that no file is made where there is none
    if log.path is not None and not _is_writable(log.path):
        return log
    log.close()
    return open_log(place)


def _study(log: Log, constraints: Sequence[Constraint] | None, optimizer: Optimizer | None) -> Study:
    name, found = _name(log), log.header()
    if found is None:
        raise LogError(f"the log {name} holds no study yet")
    header, refusal = read_header(upgrade_header(found, name), name), None
    if optimizer is None:
        optimizer, refusal = _restore(header, name, constraints)
    objectives = dict(header.objectives)
    rest: dict[str, Any] = {"unit": header.unit, "horizon": header.horizon, "lost_limit": header.lost_limit,
                            "order": header.order}  # fmt: skip
    study = Study(optimizer, objectives=objectives, log=log, **rest)
    if not isinstance(optimizer, Finals | Recorded) and (keep := _came_later(study.history)) is not None:
        study = Study(Finals(optimizer, keep), objectives=objectives, log=log, **rest)
    study.history.refusal, study.history.by_hand = refusal, True  # by hand until a run begins
    return study


def _name(log: Log) -> str:
    return repr(log.place) if log.place else "that was given"


def _came_later(history: History) -> int | None:
    """How many trials the finals keep, if they were added to a study whose header does not name them; None without finals."""
    ended = [event.body for event in history.events if event.kind == "limit" and event.body.get("phase") == FINALS]
    return max((int(body.get("detail", {}).get("keep", 3)) for body in ended), default=None)


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def read_header(found: Mapping[str, Any], name: str) -> Header:
    """The header of a log, its types checked. LogError names what is missing or wrong."""
    types = {"space": dict, "objectives": list, "unit": str, "horizon": int, "optimizer": dict, "seed": int, "lost_limit": int,
             "order": str}  # fmt: skip
    for field, kind in types.items():
        value = found.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise LogError(f"the header of the log {name} holds {field}={value!r:.60}; it should be of the type {kind.__name__}")
    unknown = [field for field in found if field not in {*types, "version"}]
    if unknown:
        raise LogError(f"the header of the log {name} holds {unknown}, which this version of the framework does not know")
    try:
        return Header(**{**found, "objectives": {str(key): value for key, value in found["objectives"]}})
    except (TypeError, ValueError) as error:
        raise LogError(f"the header of the log {name} cannot be read: {error}") from None


def _restore(header: Header, name: str, constraints: Sequence[Constraint] | None) -> tuple[Optimizer, str | None]:
    """The optimizer of the header, and None. If something is missing: one that only reads, and a sentence that says what."""
    space = restore_space(header.space, constraints, name)
    lacks = _space_lacks(header.space, space)
    inner: Optimizer | None = None
    try:
        inner = restore_optimizer(header.optimizer, space, header.seed)
    except Missing as error:
        lacks.append(str(error))
    if inner is not None and not lacks:
        return inner, None
    again = f"optimizer={write_call(header.optimizer, header.seed)}"
    how = again if inner is None else f"constraints=[...] or {again}"
    what = " and ".join(lacks)
    sentence = f"the log {name} was opened for reading: {what} cannot stand in a file; hpo.load(path, {how}) takes it again"
    warnings.warn(sentence, stacklevel=stack_level())
    return Recorded(space, seed=header.seed, stored=header, inner=inner, reason=sentence), sentence


# -- the space -------------------------------------------------------------------------------------------------------


def restore_space(described: Mapping[str, Any], constraints: Sequence[Constraint] | None, name: str) -> Space:
    """The space of a description, with the given constraints. ValueError if their names differ from the description's."""
    names = described.get("constraints", [])
    given = _plain([code_name(predicate) for predicate in constraints or ()])
    if constraints is not None and given != names:
        raise ValueError(f"the constraints of the log {name} are {names}, but {given} came")
    parameters = described.get("parameters")
    if not isinstance(parameters, dict):
        raise LogError(f"the header of the log {name} describes no space")
    where = f"the header of the log {name} describes the parameter"
    restored = {key: parse_parameter(value, f"{where} {key!r}") for key, value in parameters.items()}
    return Space(restored, constraints=constraints or ())


def parse_parameter(described: Any, where: str) -> Parameter:
    """The parameter that a header describes. LogError that begins with `where` for what describes none."""
    known = described if isinstance(described, dict) else {}
    for kind, cls in KINDS.items():
        if kind in known:
            rest = {field: value for field, value in known.items() if field != kind}
            placed = known[kind] if cls in (Float, Int) else [known[kind]]
            try:
                return cls(*placed, **rest)
            except (TypeError, ValueError) as error:
                raise LogError(f"{where} in a way that fails: {error}") from None
    raise LogError(f"{where} as {described!r:.60}; allowed are {list(KINDS)}")


def _space_lacks(described: Mapping[str, Any], space: Space) -> list[str]:
    now = _plain(space.describe())
    names = described.get("constraints", [])
    lacks = [f"the constraints {names}"] if now["constraints"] != names else []
    other = [key for key, value in described["parameters"].items() if now["parameters"].get(key) != value]
    return lacks + ([f"the values of {other}"] if other else [])


# -- the optimizer ---------------------------------------------------------------------------------------------------


def restore_optimizer(described: Mapping[str, Any], space: Space, seed: int) -> Optimizer:
    """The optimizer of a description. Raises Missing if its class is neither in hpo.optimizers nor registered, or if an option
    holds code."""
    name, classes = described.get("name"), _classes()
    if name not in classes:
        raise Missing(f"the optimizer {name!r}, which is none of hpo.optimizers and was not registered,")
    cls = classes[name]
    options = {option: value for option, value in described.items() if option not in ("name", "module")}
    types = _option_types(cls)
    for option, value in options.items():
        if option not in types:
            raise Missing(f"the option {option!r} of {name}, which this version does not know,")
        if isinstance(value, dict) and "name" in value and NESTED.search(f"{option}: {types[option]}"):
            options[option] = restore_optimizer(value, space, seed)
        elif _is_code(value, types[option]):
            raise Missing(f"the {option} {value!r:.120} of {name}")
    options |= {option: value for option, value in (("space", space), ("seed", seed)) if option in types}
    try:
        made = adapt(cls(**options))
    except (TypeError, ValueError) as error:
        raise Missing(f"an option of {name} ({error})") from None
    other = differences({**described, "seed": seed}, _plain({**made.describe(), "seed": made.seed}))
    if other:
        raise Missing(f"an option of {name} ({'; '.join(other)})")
    return cast(Optimizer, made)


def write_call(described: Mapping[str, Any], seed: int) -> str:
    """The call that makes the optimizer of a description: `ASHA(Mutate(space, seed=1, elite=3), max_resource=9)`, with `...`
    in the place of code. Options of dataclasses that have their default are left out, and the seed of a class without one."""
    name = described.get("name")
    cls = _classes().get(str(name))
    types = {} if cls is None else _option_types(cls)
    arguments, said = [], []
    for option, value in described.items():
        if isinstance(value, dict) and "name" in value and NESTED.search(option):
            arguments.append(write_call(value, seed))
        elif option not in ("name", "module") and not (cls is not None and _is_default(cls, option, value)):
            said.append(f"{option}={'...' if _is_code(value, types.get(option)) else format_value(value)}")
    seeded = "seed" in types if cls is not None else seed != 0  # a class that is not known here may take none
    arguments = arguments or ["space", *[f"seed={seed}"] * seeded]
    return f"{name or '...'}({', '.join([*arguments, *said])})"


def _is_default(cls: type, option: str, value: Any) -> bool:
    found = next((field for field in fields(cls) if field.name == option), None) if has_fields(cls) else None
    if found is None:
        return False
    usual = found.default_factory() if found.default_factory is not MISSING else found.default
    return usual is not MISSING and value == describe_option(usual)


def _is_code(value: Any, kind: str | None) -> bool:
    """Whether an option was a function: judged by its type or, if that is not known, by how the header writes it."""
    if kind is None:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return (isinstance(value, str) and not WORD.fullmatch(value)) or any(_is_code(part, None) for part in parts)
    plain = value is None or isinstance(value, int | float) or (isinstance(value, str) and WORD.fullmatch(value))
    return "Callable" in kind and not plain


def _option_types(cls: type) -> dict[str, str | None]:
    """The type of every option as the source writes it; None for each option of a class with an `__init__` of its own."""
    if has_fields(cls):
        return {field.name: str(field.type) for field in fields(cls)}
    return dict.fromkeys(option_names(cls))


def _classes() -> dict[str, type]:
    """Every optimizer of ours and every registered class, by the name that a header uses for it; ours first."""
    every = [*hpo.optimizers.OPTIMIZERS.values(), *vars(hpo.optimizers).values(), Finals]
    return {cls.__name__: cls for cls in every if isinstance(cls, type) and Optimizer.is_adaptable(cls) and not isabstract(cls)}


def _plain(value: Any) -> Any:
    return json.loads(encode_json(value))


@dataclass(eq=False)
class Recorded(Sampler):
    """The optimizer of a study that can only be read: it has the stored header, and asks for nothing."""

    stored: Header | None = None
    inner: Optimizer | None = None  # the real one without the space's constraints, if the file holds enough for it
    reason: str = ""

    def header(
        self,
        objectives: Mapping[str, str] | None = None,
        unit: str = "evaluations",
        horizon: int | None = None,
        lost_limit: int = 3,
        order: str = "crowding",
    ) -> Header:
        assert self.stored is not None
        return self.stored

    def describe(self) -> dict[str, Any]:
        return dict(self.stored.optimizer) if self.stored is not None else {}

    def sample(self, history: History, trial: int) -> Config | None:
        raise PermissionError(self.reason)

    def live(self, history: History) -> Sequence[Key]:
        raise PermissionError(self.reason)  # else `run` would delete checkpoints that the real optimizer may still name

    def candidates(self, history: History) -> list[Key]:
        return self._asked.candidates(history)

    def recommend(self, history: History) -> Key | None:
        return self._asked.recommend(history)

    @property
    def _asked(self) -> Optimizer:
        if self.inner is None:
            raise PermissionError(self.reason)
        return self.inner
