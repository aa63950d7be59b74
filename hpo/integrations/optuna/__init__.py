"""Ours inside of Optuna: `optuna.create_study(sampler=hpo.integrations.optuna.Sampler("gp"), pruner=...)`.

    spaces.py    distributions as a Space and back
    replica.py    an Optuna study's trials as a History
    sampler.py   Sampler: any of our samplers
    pruner.py    Pruner: any of our early-stopping rules
    trial.py, searching.py   minimize: an objective that was written for Optuna, on our studies
    studies.py   import_study, export_study
"""

from importlib.util import find_spec

if find_spec("optuna") is None:
    raise ModuleNotFoundError("hpo.integrations.optuna needs the package optuna; pip install '.[optuna]' installs it")

from hpo.integrations.optuna.pruner import Pruner
from hpo.integrations.optuna.sampler import Sampler
from hpo.integrations.optuna.searching import minimize
from hpo.integrations.optuna.spaces import list_distributions, read_distributions
from hpo.integrations.optuna.studies import export_study, import_study

__all__ = ["Pruner", "Sampler", "export_study", "import_study", "list_distributions", "minimize", "read_distributions"]
