"""Ours inside of Optuna: `optuna.create_study(sampler=hpo.integrations.optuna.Sampler("gp"), pruner=...)`.

    spaces.py    distributions as a Space and back
    replay.py    an Optuna study's trials as a History
    sampler.py   Sampler: any of our samplers
    pruner.py    Pruner: any of our early-stopping rules
"""

from hpo.integrations.optuna.pruner import Pruner
from hpo.integrations.optuna.sampler import Sampler
from hpo.integrations.optuna.spaces import list_distributions, read_distributions

__all__ = ["Pruner", "Sampler", "list_distributions", "read_distributions"]
