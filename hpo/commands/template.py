"""A command line with places for hyperparameters, and what else a configuration goes into: variables and files.

`{lr}` stands for a hyperparameter, `{flags}` for all of them as flags, `{{` for a brace. What else may be named: `{seed}`,
`{trial}` (its number), `{folder}` (where its output stands), the name of a file such as `{config.json}`; of commands that resume
also `{checkpoint}`, `{until}` and `{horizon}`. `Template.check` refuses, before anything runs, a place that stands for nothing
and a hyperparameter that would reach no command.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.commands.errors import CommandError
from hpo.space import Space
from hpo.values import format_value

PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.\-]*)\}")
FLAGS = "flags"  # the place of all hyperparameters
SUFFIXES = (".json", ".yaml", ".yml", ".toml")


@dataclass(frozen=True)
class ConfigFile:
    """A file in the trial's folder with the hyperparameters, in the format that its name says: .json, .yaml, .toml.

    base   a file of the same format, whose other entries stay as they are
    keys   where a hyperparameter goes, {"lr": "optimizer.lr"}: entries within entries, by dots; by default under its own name
    """

    base: str | Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path, config: Mapping[str, Any]) -> None:
        """Writes the file of a configuration. CommandError where the base cannot be read, or an entry has no place in it."""
        entries = {} if self.base is None else _read_entries(Path(self.base), path.suffix)
        for name, value in config.items():
            _set_entry(entries, self.keys.get(name, name).split("."), value)
        _write_entries(path, entries)


def _set_entry(entries: Any, keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        entries = entries.setdefault(key, {})
        if not hasattr(entries, "setdefault"):
            name = ".".join(keys)
            raise CommandError(f"the entry {name!r} has no place in the file, since {key!r} holds {format_value(entries)}")
    entries[keys[-1]] = value


def _read_entries(path: Path, suffix: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if suffix == ".json":
            return json.loads(text)
        return _library(suffix).parse(text) if suffix == ".toml" else _library(suffix).safe_load(text)
    except OSError as error:
        raise CommandError(f"the file {str(path)!r} cannot be read: {error.strerror}") from None
    except ImportError:
        raise
    except Exception as error:  # every library has its own
        raise CommandError(f"the file {str(path)!r} is no {suffix[1:]}: {error}") from None


def _write_entries(path: Path, entries: Any) -> None:
    if path.suffix == ".json":
        text = json.dumps(entries, indent=2) + "\n"
    else:
        library = _library(path.suffix)
        text = library.dumps(entries) if path.suffix == ".toml" else library.safe_dump(entries, sort_keys=False)
    path.write_text(text, encoding="utf-8")


def _library(suffix: str) -> Any:
    name, package = ("tomlkit", "tomlkit") if suffix == ".toml" else ("yaml", "pyyaml")
    try:
        return __import__(name)
    except ImportError:
        raise ImportError(f"a file {suffix} needs the package {package}: pip install '{package}'") from None


@dataclass(frozen=True)
class Template:
    """What a configuration becomes.

    run           the command line: a text, which is split as a shell does it, or a list of words; no shell runs it
    flag          what `{flags}` becomes for each active hyperparameter: "--{name}={value}", or "--{name} {value}" for two words
    environment   variables beside those of this process, with places
    files         by name, in the trial's folder
    """

    run: str | Sequence[str]
    flag: str = "--{name}={value}"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, ConfigFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError(f"the command is {format_value(self.run)}; allowed is such as 'python train.py {{flags}}'")
        for name in self.files:
            if Path(name).suffix not in SUFFIXES or Path(name).name != name:
                raise ValueError(f"files names {name!r}; allowed are names that end in {', '.join(SUFFIXES)}, without a folder")

    @property
    def words(self) -> list[str]:
        """The command line in words, with its places."""
        if isinstance(self.run, str):
            try:
                return shlex.split(self.run)
            except ValueError as error:
                raise ValueError(f"the command {self.run!r} cannot be split into words: {error}") from None
        return [str(word) for word in self.run]

    def has_place(self, name: str) -> bool:
        """Whether the command or a variable names it."""
        return any(name in list_placeholders(text) for text in [*self.words, *self.environment.values()])

    def check(self, space: Space, others: Collection[str], extra: Sequence[str] = ()) -> None:
        """ValueError in a sentence for a place that stands for nothing in this space, for a hyperparameter that has no place,
        and for a file that nothing names.

        others   what else may be named, beside hyperparameters, files and {folder}
        extra    further words of the command
        """
        words, values = [*self.words, *extra], [*self.environment.values()]
        flags, allowed = f"{{{FLAGS}}}", {*space.parameters, *self.files, *others, "folder"}
        for text in [*words, *values]:
            for name in list_placeholders(text) if text != flags or text in values else ():
                if name not in allowed:
                    alone = f"; {flags} is a word of its own in the command" if name == FLAGS else ""
                    raise ValueError(f"the place {{{name}}} in {text!r} stands for nothing; there are {sorted(allowed)}{alone}")
        named = {name for text in [*words, *values] for name in list_placeholders(text)}
        for name in self.files:
            if named.isdisjoint({name, "folder", "trial"}):
                raise ValueError(f"files names {name!r}, but nothing tells the command of it; {{{name}}} is its path")
        lost = [name for name in space.columns if name not in named]
        if lost and FLAGS not in named and not self.files:
            raise ValueError(f"the hyperparameter {lost[0]!r} has no place in the command, which would never hear of it; {flags} "
                             f"hands over all of them, {{{lost[0]}}} this one")  # fmt: skip

    def fill(
        self, config: Mapping[str, Any], folder: Path, others: Mapping[str, Any], extra: Sequence[str] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """The words and the variables of a configuration; writes its files. CommandError for a place that stands for nothing."""
        for name, file in self.files.items():
            file.write(folder / name, config)
        values = {**others, "folder": folder, **{name: folder / name for name in self.files}, **config}
        words = [word for text in [*self.words, *extra] for word in self._fill_word(text, config, values)]
        return words, {name: fill_text(text, values) for name, text in self.environment.items()}

    def _fill_word(self, text: str, config: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
        if text != f"{{{FLAGS}}}":
            return [fill_text(text, values)]
        return [word for name, value in config.items() for word in self._fill_flag(name, value)]

    def _fill_flag(self, name: str, value: Any) -> list[str]:
        return [fill_text(word, {"name": name, "value": value}) for word in self.flag.split()]


def list_placeholders(text: str) -> list[str]:
    """The names of the places in a text."""
    return [match[1] for match in PLACE.finditer(text) if match[1] is not None]


def fill_text(text: str, values: Mapping[str, Any]) -> str:
    """A text with its places filled."""

    def fill(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in values:
            raise CommandError(f"the place {match[0]} in {text!r} stands for nothing here; there are {sorted(map(str, values))}")
        return str(values[match[1]])

    return PLACE.sub(fill, text)
