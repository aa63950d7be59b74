"""Classes by the text that a person types: "package.module:Class", or "./file.py:Class"."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.values import format_value

METHODS = {"propose": "propose(history)", "sample": "sample(history, trial)"}  # what makes a plain class an optimizer


def is_reference(text: Any) -> bool:
    """Whether a text names a class by its module or file, that is, whether it has a colon."""
    return isinstance(text, str) and ":" in text


def resolve(text: str, base: type) -> type:
    """The class that "package.module:Class" or "./file.py:Class" names.

    base    the class must be a subclass of it or, if the base has a method `is_adaptable`, one for which that is true

    Modules are searched on Python's path, files from the current folder. ValueError if there is no such module, file or class,
    or if the import fails; TypeError if the class does not fit `base`.
    """
    if not is_reference(text) or not all(part.strip() for part in text.rpartition(":")):
        raise ValueError(f"{format_value(text)} names no class; allowed are 'package.module:Class' and './file.py:Class'")
    place, _, name = text.rpartition(":")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise ValueError(f"{place!r} has no class {name!r}; its classes are {classes}")
    if not isinstance(found, type):
        raise TypeError(f"{text!r} is {format_value(found)}; allowed is a class")
    if not (issubclass(found, base) or (hasattr(base, "is_adaptable") and base.is_adaptable(found))):
        bases = [one.__name__ for one in found.__mro__[1:-1]]
        lack = missing_methods(found, getattr(base, "written", ())) or f"its bases are {bases}"
        raise TypeError(f"{text!r} is no {base.__name__}; {lack}")
    return found


def find_object(text: str) -> Any:
    """Whatever "package.module:name" or "./file.py:name" names: a class, a function, an instance. ValueError as for `resolve`."""
    place, _, name = text.rpartition(":")
    if not place.strip() or not name.strip():
        raise ValueError(f"{format_value(text)} names nothing; allowed are 'package.module:name' and './file.py:name'")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    if not hasattr(module, name):
        raise ValueError(f"{place!r} has no {name!r}; it has {[key for key in vars(module) if not key.startswith('_')]}")
    return getattr(module, name)


def missing_methods(cls: type, names: Sequence[str]) -> str:
    """In words, the methods of which a class needs one and has none; empty if it has one, or if no method is needed."""
    if not names or any(callable(getattr(cls, name, None)) for name in names):
        return ""
    asked = [METHODS[name] for name in names]
    return f"{cls.__name__} has neither {' nor '.join(asked)}" if len(asked) > 1 else f"{cls.__name__} has no {asked[0]}"


def _module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"importing {name!r} failed: {error}") from error
        raise ValueError(f"there is no module {name!r} to import; a file is named by './{name.rpartition('.')[2]}.py'") from None
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"importing {name!r} failed: {type(error).__name__}: {error}") from error


def _module_of_file(path: Path) -> ModuleType:
    """The module of a file, under the name by which it would be imported from its own folder. So a class has one name and is
    loaded once, however often it is asked for, and by whichever of its two texts."""
    path, name = path.resolve(), path.stem
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    there = sys.modules.get(name)
    if there is not None and getattr(there, "__file__", None) and Path(str(there.__file__)).resolve() == path:
        return there
    spec = find_spec(name) if there is None and name.isidentifier() else None
    if there is not None or not name.isidentifier() or (spec is not None and spec.origin != str(path)):
        raise ValueError(f"{str(path)!r} would be the module {name!r}, which is another's or no name; rename the file")
    if spec is not None:
        return _module(name)
    return _load_file(path, name)


def _load_file(path: Path, name: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything
        del sys.modules[name]
        raise ValueError(f"importing {str(path)!r} failed: {type(error).__name__}: {error}") from error
    return module


def option_names(cls: type) -> list[str]:
    """The names of what a class is made with: a dataclass's fields, else the arguments of `__init__`."""
    return [field.name for field in fields(cls)] if has_fields(cls) else list(inspect.signature(cls).parameters)


def has_fields(cls: type) -> bool:
    """Whether the `__init__` of a class was made by `dataclass`, so that its options are fields."""
    owner = next(one for one in cls.__mro__ if "__init__" in vars(one))
    return "__dataclass_params__" in vars(owner)
