"""The checkpoints of a training by itself: one every so many steps, of which the newest stay, and the best. Imports no torch.

A file's name says the step and what was measured there, such as `step-00000200-loss-2.3456.ckpt`, so that whoever goes on in
another process knows which is the best.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.stopping import FALLING

NAME = re.compile(r"step-(\d+)(?:-([a-z0-9_]+)-(\S+))?\.ckpt")



@dataclass(frozen=True)
class Snapshots:
    """A folder of them.

    keep   how many of the newest stay; 0: all
    """

    folder: Path
    keep: int = 0

    def list_steps(self) -> dict[int, Path]:
        """The files by step, rising."""
        found = {int(match[1]): path for path in self.folder.glob("step-*.ckpt") if (match := NAME.fullmatch(path.name))}
        return dict(sorted(found.items()))

    def newest(self) -> Path | None:
        """The file from which a training goes on; None if there is none."""
        return next(reversed(self.list_steps().values()), None)

    def best(self) -> Path | None:
        """The file with the best value; the first of equals. None if none has one."""
        ranked = [(self._loss(path), step, path) for step, path in self.list_steps().items() if self._loss(path) is not None]
        return min(ranked, key=lambda entry: entry[:2])[2] if ranked else None  # type: ignore[arg-type]

    def _loss(self, path: Path) -> float | None:
        """What is to be minimised."""
        match = NAME.fullmatch(path.name)
        if match is None or match[2] is None:
            return None
        return float(match[3]) if match[2] in FALLING else -float(match[3])

    def add(self, step: int, metric: str, value: float | None, save: Callable[[Path], None]) -> Path:
        """Saves the state of a step, with what was measured there, and deletes what is to stay no longer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        said = "" if value is None else f"-{metric}-{value:.6g}"
        path = self.folder / f"step-{step:08d}{said}.ckpt"
        save(path)
        self._clear(path)
        return path

    def _clear(self, newest: Path) -> None:
        """Deletes what is neither among the newest nor the best; a training that goes on from an earlier step leaves what was
        saved behind it, which it will write again."""
        if not self.keep:
            return
        stay = {*list(self.list_steps().values())[-self.keep :], self.best(), newest}
        for path in self.list_steps().values():
            if path not in stay:
                with suppress(FileNotFoundError):
                    path.unlink()
