"""Early stopping: patience 5, min_delta 0.001, on a score that is to rise (guide D, 6).

A classifier is evaluated after every four steps of forty epochs and ends when five evaluations in a row bring no accuracy that is
0.001 better. Steps beside those of the whole training; its best accuracy and that of the whole are said.
"""

from __future__ import annotations

from experiments.cookbook.classification import start_classifier
from experiments.cookbook.outcome import Outcome
from experiments.cookbook.scale import Reduction

CONFIG = {"learning_rate": 3e-5, "batch_size": 32, "num_epochs": 40, "weight_decay": 0.01}
STOPPING = {"patience": 5, "min_delta": 0.001, "stop_metric": "accuracy"}


def early_end(scale: Reduction) -> Outcome:
    steps, best = {}, {}
    for name, fields in {"patient": STOPPING, "whole": {}}.items():
        run, scores = start_classifier(CONFIG, scale, eval_every=4, **fields), []
        while not run.is_over:
            scores.append(run.advance(run.step + 4)[0]["accuracy"])
        steps[name], best[name] = run.step, max(scores)
    facts = {"best accuracy": f"{best['patient']:.4f}", "of the whole": f"{best['whole']:.4f}"}
    return Outcome("steps", steps["patient"], {"whole": steps["whole"]}, facts=facts)
