"""Optimizers that are plain classes: no base, no dataclass, only `propose(history)` or `sample(history, trial)`.

Such an object gets the rest of the protocol from one of our base classes: a new class inherits from both. The two objects share
their attributes, so the user's object and the optimizer made of it never differ.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import new_class
from typing import Any, Protocol

from hpo.history import History
from hpo.job import Job
from hpo.space import Space
from hpo.values import format_value, whole

PROTOCOL = ("ask", "tell", "lose", "add", "enqueue", "bind", "decide", "history", "header")  # a plain class may not define these


class SupportsPropose(Protocol):
    """The type of an optimizer: one of ours, or a plain class with `propose`."""

    def propose(self, history: History, /) -> Job | None:
        """The next job; see `hpo.Optimizer.propose`."""
        ...


class SupportsSample(Protocol):
    """The type of a sampler: one of ours, or a plain class with `sample`."""

    def sample(self, history: History, trial: int, /) -> Mapping[str, Any] | None:
        """The configuration of a fresh trial; see `hpo.Sampler.sample`."""
        ...


def combine(author: object, base: type, method: str, *arguments: str, **methods: Any) -> Any:
    """An instance of `base` with the attributes and methods of a plain object, which override those of `base`.

    method, arguments   the method that the author wrote, and the arguments that it is called with
    methods             more methods, for those that the author's class does not define

    TypeError in a sentence if the method takes other arguments, or if the author's class uses a name of the protocol for
    something else.
    """
    cls = type(author)
    if not hasattr(author, "__dict__"):
        raise TypeError(f"{cls.__name__} has __slots__, which leave no room for a history; make it a class without them")
    mine = vars(author)
    _check_names(cls, [name for name in PROTOCOL if name in mine or hasattr(cls, name)])
    _check_arguments(cls, getattr(author, method), method, arguments)
    # a property of the base would hide an attribute of the object
    found = {name: value for name, value in mine.items() if isinstance(getattr(base, name, None), property)}
    found |= {name: value for name, value in methods.items() if not hasattr(author, name)}
    found |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    found |= {name: getattr(object, name) for name in ("__setattr__", "__eq__", "__hash__")}  # those of a frozen dataclass differ
    made: Any = object.__new__(new_class(cls.__name__, (cls, base), exec_body=lambda namespace: namespace.update(found)))
    made.__dict__ = mine
    return made


def _check_names(cls: type, taken: list[str]) -> None:
    if taken:
        raise TypeError(f"{cls.__name__} has a {taken[0]!r} of its own, which every optimizer has already; rename it")


def _check_arguments(cls: type, method: Any, name: str, arguments: tuple[str, ...]) -> None:
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        came = inspect.signature(method)
        raise TypeError(f"{cls.__name__}.{name} takes {came}; it is called with ({', '.join(arguments)})") from None
    except ValueError:  # a method in C has no signature
        return


def check_space(optimizer: Any) -> None:
    """TypeError or ValueError in a sentence if the space of an optimizer is no Space, or its seed no seed."""
    cls = type(optimizer)
    space = getattr(optimizer, "space", None)
    if not isinstance(space, Space):
        came = "has no space" if space is None else f"has the space {format_value(space)}, which is no Space"
        raise TypeError(f"{cls.__name__} {came}; its __init__ should say self.space = Space.of(space)")
    whole(f"the seed of {cls.__name__}", optimizer.seed, 0)


def options_of(optimizer: Any) -> dict[str, Any]:
    """Header entries for a class with an `__init__` of its own: its module, and its options, which are what `options()`
    returns, else its public attributes. ValueError if an option is called `name` or `module`, which every header has."""
    cls = type(optimizer)
    if callable(getattr(optimizer, "options", None)):
        options = dict(optimizer.options())
    else:
        apart = {"space", "seed", "owner"}
        options = {name: value for name, value in vars(optimizer).items() if not name.startswith("_") and name not in apart}
    taken = [name for name in ("name", "module") if name in options]
    if taken:
        raise ValueError(f"{cls.__name__} has an option {taken[0]!r}, which a log says of every optimizer; give it another name")
    return {"module": _module_name(cls), **options}


def _module_name(cls: type) -> str:
    """The module of a class; if that runs as a script, the name under which others import it."""
    if cls.__module__ != "__main__":
        return cls.__module__
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return spec.name if spec is not None else Path(file).stem if file else "__main__"
