"""Rates that fall with depth under transformers' Trainer, whose own optimizer has one rate for all weights."""

from __future__ import annotations

from typing import Any

from models.pretrained.recipe import Recipe


def set_layer_rates(trainer: Any, recipe: Recipe) -> None:
    """Makes a Trainer train with `recipe.group_parameters`, which read `layer_decay`. Only matrices outside the embeddings
    decay.

    Rate, weight decay and the kind of optimizer with its other options are those of the trainer's arguments when a training
    begins. Checkpoints, clones and schedules work as before: a schedule multiplies every rate alike. ValueError for a trainer
    that was given an optimizer, and for a layer_decay outside (0, 1].
    """
    if trainer.optimizer is not None or trainer.optimizer_cls_and_kwargs is not None:
        raise ValueError("the trainer was given an optimizer, which has rates already; allowed is a trainer that makes its own")

    def create_optimizer(model: Any = None) -> Any:
        trained = trainer.model if model is None else model
        if trainer.optimizer is None:
            kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trained)
            groups = recipe.group_parameters(trained, trainer.args.learning_rate, trainer.args.weight_decay)
            trainer.optimizer = kind(groups, **options)
        return trainer.optimizer

    recipe.group_parameters(trainer.model, 1.0, 0.0)  # says now what is wrong, and not when a training begins
    trainer.create_optimizer = create_optimizer
