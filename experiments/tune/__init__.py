"""Tune a small GPT on a text, live, and leave a folder with a report: `python -m experiments.tune`.

    command.py    the flags, and what is refused in one sentence
    settings.py   everything that decides a study, as flags or TOML
    prepare.py    from settings to a study that can be run, in one way down
      machine.py    what this machine has: memory, device, compilers, versions
      build.py      the objective and the text
      memory.py     what fits into a worker's memory
      optimizer.py  the scheduler and the sampler, by name or module:Class
      folder.py     the folder: lock, settings, what stands beside the log
    search.py     the search, the judging, and what is left
      live.py       the display
      report.py     the report: what is of this job on the page of hpo/analysis
      judge.py      judges whoever reached the end; the sample
      handover.py   what is handed over, and how sure it is that it is no worse than the default
"""
