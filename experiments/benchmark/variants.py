"""GP(...): ours with an acquisition of somebody's own, with options that are not its defaults, or with both.

    GP(module:function)                      an acquisition, as hpo.GP takes it
    GP(initial=20, explore_every=0)          options of hpo.GP: Python literals, in the order of the alphabet
    GP(module:function, explore_every=0)     both

Such a name is a method like any other: it is run beside GP, its studies lie in a file of their own, and what it was made
from is read off the name again.
"""

from __future__ import annotations

import ast
import importlib
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from experiments.ledger.digest import digest
from experiments.ledger.sources import gp_rows
from hpo.optimizer import Sampler
from hpo.optimizers.gp.sampler import GP
from hpo.space import Float, Space
from hpo.upgrade import RENAMED

FUNCTION = re.compile(r"[\w.]+:\w+")
OPTIONS = tuple(sorted({f.name for f in fields(GP)} - {f.name for f in fields(Sampler)}))
TRIED = 6  # evaluations: three of a first design, two of the model's, and one for another part of the space


@dataclass(frozen=True)
class Variant:
    """What stands in the brackets. ValueError in one sentence for a name that is none."""

    function: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.function is not None and not FUNCTION.fullmatch(self.function):
            raise ValueError(f"the acquisition {self.function!r} is not named as module:function")
        if unknown := [name for name in self.options if name not in OPTIONS]:
            raise ValueError(f"GP has no option {unknown[0]!r}; allowed are {', '.join(OPTIONS)}")
        if self.function is not None and "acquisition" in self.options:
            raise ValueError(f"the acquisition is given twice: {self.function} and {self.options['acquisition']!r}")

    @property
    def name(self) -> str:
        options = [f"{name}={value!r}" for name, value in sorted(self.options.items())]
        return f"GP({', '.join([*([self.function] if self.function else []), *options])})"

    @property
    def sources(self) -> tuple[str, ...]:
        """What decides beside GP itself, in the ledger's terms: the function, or the rows of tables that are used."""
        return tuple((gp_rows(**self.options) | ({} if self.function is None else {"acquisition": self.function})).values())

    def keywords(self) -> dict[str, Any]:
        """What hpo.GP is given. ValueError in one sentence where the acquisition cannot be imported."""
        return {**({} if self.function is None else {"acquisition": function(self.function)}), **self.options}

    def check(self) -> None:
        """Tries it on a small problem. ValueError in one sentence for whatever is refused or fails there."""
        try:
            keywords, space = self.keywords(), Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                GP(space, **keywords)  # with the `initial` that was asked for
                _play(GP(space, **{**keywords, "initial": 3}))
            digest(*self.sources)
        except Exception as error:  # anybody's code
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise ValueError(" ".join(f"{self.name} cannot run: {kind}{error}".split())) from None


def _play(optimizer: GP) -> None:
    for _ in range(TRIED):
        job = optimizer.ask()
        assert job is not None
        optimizer.tell(job, (job.config["x"] - 0.3) ** 2 + job.config["y"])


# -- reading -----------------------------------------------------------------------------------------------------------


def read_variant(name: str) -> Variant | None:
    """The variant of this name; None where it is no such name. ValueError for what stands in the brackets."""
    found = re.fullmatch(r"GP\((.+)\)", name)
    if found is None:
        return None
    function, _, rest = found[1].partition(",")
    if not FUNCTION.fullmatch(function):
        function, rest = "", found[1]
    given = _keywords(rest)
    return None if given is None else Variant(function or None, _options((current_name(name), value) for name, value in given))


def make_variant(function: str | None, options: Iterable[str]) -> Variant | None:
    """Of "module:function" and texts such as "explore_every=0"; None of nothing. ValueError in one sentence."""
    pairs = [text.partition("=") for text in options]
    if wrong := next((name for name, equals, _ in pairs if not equals), None):
        raise ValueError(f"the option {wrong!r} has no value; it is given as name=value, such as explore_every=0")
    given = _options([(name.strip(), value) for name, _, value in pairs])
    if old := next((name for name in given if current_name(name) != name), None):
        raise ValueError(f"the option {old!r} is called {current_name(old)!r} now")
    return Variant(function, given) if given or function is not None else None


def current_name(option: str) -> str:
    """What an option is called now, by any name that it has had."""
    return RENAMED["GP"].get(option, option)


def _keywords(text: str) -> list[tuple[str, str]] | None:
    """`a=1, b='c'` as pairs of texts; None for anything else."""
    try:
        call = ast.parse(f"GP({text})", mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        return None
    pairs = [(keyword.arg, ast.unparse(keyword.value)) for keyword in call.keywords]
    return None if any(name is None for name, _ in pairs) else [(str(name), value) for name, value in pairs]


def _options(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Their values, read as Python literals."""
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name in found:
            raise ValueError(f"the option {name!r} is given twice")
        try:
            found[name] = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError):
            raise ValueError(f"the option {name}={text} has no Python literal as its value; a text is {name}='...'") from None
    return found


def function(spec: str) -> Any:
    """What "module:function" names. ValueError in one sentence if there is nothing."""
    module, _, attribute = spec.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs anybody's code
        raise ValueError(f"the acquisition {spec!r} cannot be imported as module:function: {error}") from None
