"""Measurements after the search, outside its seconds: judges configurations that reached the end, and samples from the best."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.job import default, flat
from experiments.tune.folder import copy_file, write_file
from experiments.tune.handover import Handover, Judged, decide_handover
from experiments.tune.prepare import Search
from hpo.executors import standing_name
from hpo.job import Key

JUDGED_ON = 65_536  # tokens of validation text; fewer if the text has fewer
PARTS = 16  # into which the validation text is cut
SAMPLED = {"char": 1200, "bpe": 300}  # tokens of the sample


@dataclass(frozen=True)
class Judge:
    """Measures what is missing in a folder, and stores it there, so that a second call costs nothing."""

    work: Search

    def handover(self) -> Handover:
        """The handover by what is known now."""
        return decide_handover(self.work.study, self.work.folder.read_search(), self.work.has_default)

    def write_best(self) -> Handover:
        """Writes best.json, and best.ckpt if there is a checkpoint."""
        found = self.handover()
        if found.reason == "nothing":
            return found
        source = None if found.key is None else self._checkpoint(found.key)
        if source is not None and source.exists():
            copy_file(source, self.work.folder / "best.ckpt")
        else:
            (self.work.folder / "best.ckpt").unlink(missing_ok=True)  # an older one is not of the best any more
        write_file(self.work.folder / "best.json", json.dumps(self._about(found), indent=2) + "\n")
        return found

    def _about(self, found: Handover) -> dict[str, Any]:
        fixed = {name: getattr(self.work.settings, name) for name in ("text", "tokenizer", "context")}
        if found.key is None:
            return {"config": default(self.work.settings.space), "reason": found.reason, **fixed}
        trial = self.work.study.trial(found.key)
        about = {"config": dict(trial.config), "loss": trial.value, "until": trial.until, "trial": trial.number}
        judged = {key: one for key, one in found.judged.items() if key in (found.key, found.default)}
        losses: dict[str, Any] = {}
        if found.key in judged:
            losses = {"judged_loss": judged[found.key].loss, "judged_tokens": judged[found.key].tokens}
        if found.gain is not None:
            losses["below_the_default"] = [found.gain.mean, found.gain.low, found.gain.high]
        return {**about, "seed": trial.seed, **fixed, "reason": found.reason, "judged": losses}

    def is_measured(self) -> bool:
        """Whether nothing is left for `measure`."""
        found = self.handover()
        return len(found.judged) == len(found.ends)

    def measure(self) -> None:
        """Judges every configuration that reached the end and was not judged yet."""
        found = self.handover()
        for key in found.ends:
            if key not in found.judged and self._checkpoint(key).exists():
                entries = self.work.folder.read_search().get("judgements", [])
                entry = {"trial": key[0], "until": key[1], **self._judge(key).to_json()}
                self.work.folder.update_search(judgements=[*entries, entry])

    def _checkpoint(self, key: Key) -> Path:
        return self.work.folder / "checkpoints" / standing_name(self.work.study.history, key)

    def _judge(self, key: Key) -> Judged:
        """A checkpoint's losses on JUDGED_ON tokens of validation text, cut into parts that are the same for every checkpoint."""
        job, context, valid = self.work.study.history.jobs[key], self.work.settings.context, self.work.corpus.valid
        count = max(1, min(PARTS, len(valid) // (4 * context)))
        each = min(JUDGED_ON, len(valid)) // count // context * context or context
        objective = replace(self.work.objective, eval_tokens=each)
        losses = []
        for place in range(count):
            part = replace(self.work.corpus, valid=valid[place * len(valid) // count : (place + 1) * len(valid) // count])
            run = objective.on(part, job.config, job.seed, self.work.settings.horizon)
            run.load(str(self._checkpoint(key)))
            losses.append(float(run.advance(key[1])[0]["loss"]))
        return Judged(tuple(losses), count * each)

    def sample(self) -> str:
        """Writes sample.txt from best.ckpt, and returns the text; empty while there is no checkpoint."""
        found = self.handover()
        if found.key is None or not (self.work.folder / "best.ckpt").exists():
            return ""
        from models.decoding.parameters import DecodingParameters
        from models.sample import sample_text

        config = {"context": self.work.settings.context, **flat(self.work.study.history.jobs[found.key].config)}
        how = DecodingParameters(max_tokens=SAMPLED[self.work.settings.tokenizer], temperature=0.8)
        path, device = self.work.folder / "best.ckpt", self.work.settings.device
        text = sample_text(path, config, self.work.corpus, parameters=how, seed=self.work.settings.seed, device=device)
        write_file(self.work.folder / "sample.txt", text + "\n")
        return text

