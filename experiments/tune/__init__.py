"""Tune a small GPT on a text, live, and leave a folder with a report: `python -m experiments.tune`.

    command.py    the flags; bad ones are refused in one sentence
    settings.py   everything that decides a study, as flags or TOML
    prepare.py    from settings to a study that can be run
      machine.py    this machine's memory, device, compilers, versions
      build.py      the objective and the text
      memory.py     which configurations fit into a worker's memory
      optimizer.py  the scheduler and the sampler, by name or module:Class
      folder.py     the folder: lock, settings, the files beside the log
    search.py     runs the search, judges, and writes the files of the folder
      live.py       the display
      report.py     the report: this job's own sections on the page of hpo/analysis
      judge.py      judges configurations that were trained to the end; writes the sample
      handover.py   which configuration is handed over, and how sure it is that it is no worse than the default
"""
