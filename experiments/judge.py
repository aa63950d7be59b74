"""What is measured after the search, outside its seconds: whoever reached the end is judged, the best writes a sample."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import build, handover
from experiments.folder import Folder, copy, write
from experiments.handover import Handover, Judged
from experiments.job import flat
from experiments.settings import Settings
from experiments.spaces import default as default_config
from hpo.executors import checkpoint_name
from hpo.job import Key
from hpo.study import Study

if TYPE_CHECKING:
    from models.data.batches import Corpus

JUDGED_ON = 65_536  # tokens of validation text, as far as there are so many
PARTS = 16  # into which the validation text is cut
SAMPLED = {"char": 1200, "bpe": 300}  # tokens of the sample


@dataclass(frozen=True)
class After:
    """Measures what is missing in a folder, and remembers it there, so that a second call costs nothing."""

    study: Study
    settings: Settings
    folder: Folder
    corpus: Corpus
    wanted: bool = True  # whether there is a default configuration, which the memory may not let in

    def handover(self) -> Handover:
        """What there is to hand over by what is known now."""
        return handover.handover(self.study, self.folder.remembered(), self.wanted)

    def leave(self) -> Handover:
        """Writes best.json and best.ckpt, as far as there is something to write."""
        found = self.handover()
        if found.reason == "nothing":
            return found
        source = None if found.key is None else self._checkpoint(found.key)
        if source is not None and source.exists():
            copy(source, self.folder / "best.ckpt")
        else:
            (self.folder / "best.ckpt").unlink(missing_ok=True)  # not that of a configuration which is not the best any more
        write(self.folder / "best.json", json.dumps(self._about(found), indent=2) + "\n")
        return found

    def _about(self, found: Handover) -> dict[str, Any]:
        fixed = {name: getattr(self.settings, name) for name in ("text", "tokenizer", "context")}
        if found.key is None:
            return {"config": default_config(self.settings.space), "reason": found.reason, **fixed}
        trial = self.study.trial(found.key)
        about = {"config": dict(trial.config), "loss": trial.value, "until": trial.until, "trial": trial.number}
        judged = {key: one for key, one in found.judged.items() if key in (found.key, found.default)}
        losses: dict[str, Any] = {}
        if found.key in judged:
            losses = {"judged_loss": judged[found.key].loss, "judged_tokens": judged[found.key].tokens}
        if found.gain is not None:
            losses["below_the_default"] = [found.gain.mean, found.gain.low, found.gain.high]
        return {**about, "seed": trial.seed, **fixed, "reason": found.reason, "judged": losses}

    def measured(self) -> bool:
        """Whether nothing is left for `measure`."""
        found = self.handover()
        return len(found.judged) == len(found.ends)

    def measure(self) -> None:
        """Judges whoever reached the end and was not judged yet."""
        found = self.handover()
        for key in found.ends:
            if key not in found.judged and self._checkpoint(key).exists():
                entries = self.folder.remembered().get("judgements", [])
                entry = {"trial": key[0], "until": key[1], **self._judge(key).to_json()}
                self.folder.remember(judgements=[*entries, entry])

    def _checkpoint(self, key: Key) -> Path:
        return self.folder / "checkpoints" / checkpoint_name(key)

    def _judge(self, key: Key) -> Judged:
        """A checkpoint's loss on JUDGED_ON tokens of validation text, by parts that are the same for every checkpoint."""
        job, context, valid = self.study.history.jobs[key], self.settings.context, self.corpus.valid
        count = max(1, min(PARTS, len(valid) // (4 * context)))
        each = min(JUDGED_ON, len(valid)) // count // context * context or context
        objective = build.objective(self.settings, each)
        losses = []
        for place in range(count):
            part = replace(self.corpus, valid=valid[place * len(valid) // count : (place + 1) * len(valid) // count])
            run = objective.on(part, job.config, job.seed, self.settings.horizon)
            run.load(str(self._checkpoint(key)))
            losses.append(float(run.advance(key[1])[0]["loss"]))
        return Judged(tuple(losses), count * each)

    def sample(self) -> str:
        """Writes sample.txt from best.ckpt; empty while there is none."""
        found = self.handover()
        if found.key is None or not (self.folder / "best.ckpt").exists():
            return ""
        from models.sample import sample_text

        config = {"context": self.settings.context, **flat(self.study.history.jobs[found.key].config)}
        length = SAMPLED[self.settings.tokenizer]
        path, device = self.folder / "best.ckpt", self.settings.device
        text = sample_text(path, config, self.corpus, tokens=length, seed=self.settings.seed, device=device)
        write(self.folder / "sample.txt", text + "\n")
        return text
