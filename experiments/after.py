"""What is measured after the search, outside its seconds: the default to the horizon, both winners judged, a sample.

The search picks its winner by the loss on a few thousand tokens of validation text, and a minimum over many trials looks
better than it is. So the winner and the default configuration are judged anew on more of the validation text.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import build, facts
from experiments.folder import Folder, copy, write
from experiments.job import DEFAULT, flat
from experiments.settings import Settings
from hpo.job import Key
from hpo.rng import training_seed
from hpo.study import Study

if TYPE_CHECKING:
    from models.data import Corpus

JUDGED_ON = 65_536  # tokens of validation text, as far as there are so many
SAMPLED = {"char": 1200, "bpe": 300}  # tokens of the sample


@dataclass(frozen=True)
class After:
    """Measures what is missing in a folder, and remembers it there, so that a second call costs nothing."""

    study: Study
    settings: Settings
    folder: Folder
    corpus: Corpus

    def best(self) -> Key | None:
        """Writes best.json and best.ckpt; the key, or None while nothing has succeeded."""
        key = facts.best_key(self.study)
        if key is None:
            return None
        trial = self.study.trial(key)
        source = self.folder / f"checkpoints/{key[0]}-{key[1]}.ckpt"
        if source.exists():
            copy(source, self.folder / "best.ckpt")
        about = {"config": dict(trial.config), "loss": trial.value, "until": trial.until, "trial": trial.number}
        kept = self.folder.remembered().get("best", {})
        judged = {"judged": kept} if kept.get("key") == list(key) else {}
        fixed = {name: getattr(self.settings, name) for name in ("text", "tokenizer", "context")}
        everything = {**about, "seed": trial.seed, **fixed, **judged}
        write(self.folder / "best.json", json.dumps(everything, indent=2) + "\n")
        return key

    def measured(self) -> bool:
        """Whether nothing is left for `measure`."""
        known, key = self.folder.remembered(), facts.best_key(self.study)
        return "default" in known and (key is None or known.get("best", {}).get("key") == list(key))

    def measure(self) -> None:
        """The default configuration to the horizon, and the best and the default judged; whatever is not known yet."""
        known = self.folder.remembered()
        if "default" not in known:
            self.folder.remember(default=self._default())
        key = self.best()
        if key is not None and known.get("best", {}).get("key") != list(key):
            self.folder.remember(best={"key": list(key), **self._judge(self.folder / "best.ckpt", key)})
            self.best()

    def _default(self) -> dict[str, Any]:
        """Trains the default configuration from where the search left it to the horizon; judges it there."""
        history, horizon = self.study.history, self.settings.horizon
        number = facts.queued_trial(history)
        seed = training_seed(self.settings.seed, 0 if number is None else number)
        run = build.objective(self.settings)(DEFAULT, seed, horizon)
        begun = self._left(number)
        if begun is not None:
            run.load(str(self._checkpoint(begun)))
        seconds, points = 0.0, {} if number is None else dict(facts.rung_points(history, number))
        start = 0 if begun is None else begun[1]
        for until in sorted({horizon, *(budget for budget in history.budgets if budget > start)}):
            metrics, _ = run.advance(until)  # stops where the search's trials did, so that curves can be compared
            seconds += metrics["seconds"]
            points[until] = metrics["loss"]
        path = self.folder / "checkpoints" / "default.ckpt"  # not a name of the executor, which therefore leaves it
        run.save(str(path))
        told = {"loss": _finite(metrics["loss"]), "seconds": seconds, "tokens": metrics["tokens"]}
        curve = sorted((until, loss) for until, loss in points.items() if math.isfinite(loss))
        return {"until": horizon, "seed": seed, "curve": curve, **told, **self._judge(path, None, seed)}

    def _left(self, number: int | None) -> Key | None:
        """The furthest checkpoint of the default configuration's trial that is still there."""
        keys = self.study.history.trials.get(number, []) if number is not None else []
        there = [key for key in keys if key in self.study.history.results and self._checkpoint(key).exists()]
        return there[-1] if there else None

    def _checkpoint(self, key: Key) -> Path:
        return self.folder / "checkpoints" / f"{key[0]}-{key[1]}.ckpt"

    def _judge(self, path: Path, key: Key | None, seed: int = 0) -> dict[str, Any]:
        """A checkpoint's loss on JUDGED_ON tokens of validation text."""
        horizon = self.settings.horizon
        config = DEFAULT if key is None else self.study.history.jobs[key].config
        judge = build.objective(self.settings, JUDGED_ON)(config, seed, horizon)
        judge.load(str(path))
        metrics, _ = judge.advance(horizon if key is None else key[1])
        available = len(self.corpus.valid) // self.settings.context * self.settings.context
        return {"judged_loss": _finite(metrics["loss"]), "judged_tokens": min(JUDGED_ON, available)}

    def sample(self) -> str:
        """Writes sample.txt from best.ckpt; empty while nothing has succeeded."""
        key = facts.best_key(self.study)
        if key is None or not (self.folder / "best.ckpt").exists():
            return ""
        from models.sample import sample_text

        config = {"context": self.settings.context, **flat(self.study.history.jobs[key].config)}
        length = SAMPLED[self.settings.tokenizer]
        path, device = self.folder / "best.ckpt", self.settings.device
        text = sample_text(path, config, self.corpus, tokens=length, seed=self.settings.seed, device=device)
        write(self.folder / "sample.txt", text + "\n")
        return text


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
