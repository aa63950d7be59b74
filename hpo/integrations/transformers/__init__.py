"""Ours around Hugging Face's Trainer.

    run.py        TrainerRun: a Trainer as a Run, which pauses, resumes and is cloned; tune: a search over such runs
    epochs.py     EpochRun: one that ends at its own epochs
    search.py     register: `trainer.hyperparameter_search` on our optimizers
    hp_space.py, shared.py, trial_run.py   what it searches, the one trainer of all trials, and a trial of it as a Run
    cloning.py    a checkpoint made another trial's
    names.py      hyperparameters as fields of TrainingArguments, with names that older guides use
"""

from importlib.util import find_spec

for package in ("transformers", "accelerate", "optuna"):
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"hpo.integrations.transformers needs the package {package}; pip install '.[hf]' installs it")

from hpo.integrations.transformers.epochs import EpochRun  # noqa: E402
from hpo.integrations.transformers.names import set_arguments  # noqa: E402
from hpo.integrations.transformers.run import TrainerObjective, TrainerRun, tune  # noqa: E402
from hpo.integrations.transformers.search import Summary, register  # noqa: E402

__all__ = ["EpochRun", "Summary", "TrainerObjective", "TrainerRun", "register", "set_arguments", "tune"]
