"""Our optimizers where people already are: other libraries' studies, trainers and trackers.

    optuna      a sampler and a pruner for Optuna's studies, and the way of spaces and trials between the two

Every module here imports hpo and one foreign library, which the extra of the same name installs; nothing of hpo imports them.
"""
