"""What is run: the only place (with papers) where hpo meets models.

    job.py        the main job: a small GPT's space, its default configuration, its objective
    tune.py       `python -m experiments.tune`: tune it, live, and leave a folder with a report
    compare.py    `python -m experiments.compare`: every method on one-minute studies of the job, paired seeds
    rungs.py      `python -m experiments.rungs`: how well a short training predicts the whole
    results/      what was measured, as data
"""
