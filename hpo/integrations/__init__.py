"""Our optimizers where people already are: other libraries' studies, trainers and trackers.

    optuna      a sampler and a pruner for Optuna's studies, its objectives on our studies, studies there and back
    tables      trials from CSV files and from what Weights & Biases and MLflow export
    trackers    watchers that write a study's results: CSV here, and a module each for tensorboard, mlflow, wandb and trackio

Every module here imports hpo and one foreign library, which the extra of the same name installs; nothing of hpo imports them.
"""
