"""What is run: the only place (with papers) where hpo meets models.

    job.py        the main job: a small GPT's space, its default configuration, its objective
    tune.py       `python -m experiments.tune`: tune it, live, and leave a folder with a report
      settings.py   everything that decides it, as flags or TOML
      build.py      from settings to optimizer, objective and corpus
      folder.py     the folder: lock, settings, what stands beside the log
      facts.py      what a history says in numbers
      live.py       the display
      after.py      what is measured after the search
      importance.py which hyperparameters mattered
      figures.py, report.py, report.html.j2   the report
    compare.py    `python -m experiments.compare`: every method on one-minute studies of the job, paired seeds
    rungs.py      `python -m experiments.rungs`: how well a short training predicts the whole
    benchmark/    `python -m experiments.benchmark`: ours against Optuna, BoTorch, SMAC, HEBO, Nevergrad on fixed tasks
    exactness/    `python -m experiments.exactness`: our mathematics against references; ugly data
    many.py       `python -m experiments.many`: what an exact GP should be made of when results are thousands
    results/      what was measured, as data
"""
