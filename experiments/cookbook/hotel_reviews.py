"""Hotel reviews by the Trainer: trained once, then searched by `hyperparameter_search` on our GP (guide E, 1 and 2).

Rates, batches, epochs, ranges and rules are the guide's; the encoder is a small one from scratch, with characters as tokens,
where the guide has a pretrained one. Beside the one training, whose hyperparameters are the first point of the search, so that
the best is never worse; and beside always saying "positive".
"""

from __future__ import annotations

import tempfile
from typing import Any

from experiments.cookbook.outcome import Outcome, format_config
from experiments.cookbook.reviews import ONCE, find_corpus, make_classifier, name_texts, score_positive, suggest_values
from experiments.cookbook.scale import Reduction
from hpo.integrations.transformers import register


def hotel_reviews(scale: Reduction) -> Outcome:
    corpus = find_corpus(scale)
    with tempfile.TemporaryDirectory() as folder, register():
        trainer = make_classifier(corpus, scale, folder)
        trainer.train()
        once = trainer.evaluate()
        best: Any = trainer.hyperparameter_search(
            suggest_values, lambda metrics: metrics["eval_f1"], scale.count_trials(10), "maximize",
            sampler="gp", seed=scale.seed, first=[ONCE],
        )  # fmt: skip
    beside = {"trained once": once["eval_f1"], 'always "positive"': score_positive(corpus)}
    chosen = f"run {best.run_id}: {format_config(best.hyperparameters)}"
    facts = {"texts": name_texts(), "best": chosen, "its accuracy": f"{best.run_summary.metrics['eval_accuracy']:.3f}"}
    return Outcome("F1", best.objective, beside, is_higher_better=True, facts=facts)
