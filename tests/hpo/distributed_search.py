"""A search in several processes, as torchrun starts them: what each has seen is written to a file of its own.

    python -m tests.hpo.distributed_search FOLDER   (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT in the environment)
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

import hpo
from hpo.integrations.transformers import register
from tests.hpo.trainers import CONTEXT, WORDS, Lines


def make_model() -> GPT2LMHeadModel:
    shape = GPT2Config(vocab_size=WORDS, n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
                       loss_type="ForCausalLMLoss")  # fmt: skip
    return GPT2LMHeadModel(shape)


class Watch(TrainerCallback):
    """Notes the arguments of every training, and a sum of its weights at every evaluation."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.seen.append([args.learning_rate, args.seed, args.output_dir, state.global_step])

    def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        weights = sum(float(one.detach().double().sum()) for one in others["model"].parameters())
        self.seen[-1].append([state.global_step, weights])


def space(trial: Any) -> dict[str, Any]:
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True), "seed": trial.suggest_int("seed", 1, 40)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    args = TrainingArguments(str(folder), per_device_train_batch_size=4, report_to=[], disable_tqdm=True, use_cpu=True,
                             logging_strategy="no", num_train_epochs=3, eval_strategy="epoch", save_strategy="epoch")  # fmt: skip
    trainer, watch = Trainer(model_init=make_model, args=args, train_dataset=Lines(40, 0), eval_dataset=Lines(16, 1)), Watch()
    trainer.add_callback(watch)
    with register():
        best = trainer.hyperparameter_search(
            space, n_trials=5, sampler="random", scheduler=lambda sampler: hpo.ASHA(sampler, min_resource=1, max_resource=3)
        )
    weights = sum(float(one.detach().double().sum()) for one in trainer.model.parameters())
    found = {"seen": watch.seen, "best": [best[:3], best.run_summary.seed, best.run_summary.checkpoint], "weights": weights,
             "world": args.world_size, "leads": best.run_summary.study is not None}  # fmt: skip
    (folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
