"""What is run: the only place (with papers) where hpo meets models.

    job.py        the main job: a small GPT on a text, as a space, a default configuration and an objective
    spaces.py     its two spaces: standard, and wide with all that the trainer offers
    tune/         `python -m experiments.tune`: tune it, live, and leave a folder with a report
    compare/      `python -m experiments.compare`: every method on one-minute studies of the job, paired seeds
    rungs.py      `python -m experiments.rungs`: how well a short training predicts the whole
    benchmark/    `python -m experiments.benchmark`: ours against Optuna, BoTorch, SMAC, HEBO, Nevergrad on fixed tasks
    exactness/    `python -m experiments.exactness`: our mathematics against references; ugly data
    subsets.py    `python -m experiments.subsets`: what an exact GP should be made of when results are thousands
      subset_models.py  the models that it compares
    curves/       `python -m experiments.curves`: what a short training says of the whole, on real learning curves
    fidelity.py   `python -m experiments.fidelity`: early stopping on real learning curves, how soon it reaches a target
      fidelity_peers.py  the methods of other projects in it
    speed/        `python -m experiments.speed`: our training loop beside nanoGPT's and Hugging Face's Trainer
    objectives.py `python -m experiments.objectives`: several objectives beside Optuna, by hypervolume; problems.py: on what
    finetuning/   `python -m experiments.finetuning`: tuned against default hyperparameters, LoRA against all weights, equal time
    sentiment/    `python -m experiments.sentiment`: what a search gains on two sentiment tasks, beside stock Optuna
    cookbook/     `python -m experiments.cookbook`: programs of tuning guides, for the Trainer and for Optuna, rewritten on ours
    mup.py        `python -m experiments.mup`: does what was tuned on a narrow model hold on a wide one?
    events.py     `python -m experiments.events`: what a job costs in a long study
    large.py      `python -m experiments.large`: what an ask of a GP costs in a large study
    schedules.py  the figure of the learning rate schedules
    ledger/       what all of these keep results with; LOG.md: what was tried and found, negative results too
    results/      what was measured, as data
"""
