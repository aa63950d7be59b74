"""Tune a small GPT for loss, bytes and measured inference time at once, and show the front: `python -m experiments.front`.

    command.py    the flags; bad ones are refused in one sentence
    settings.py   those of experiments/tune, and how inference is measured
    objective.py  a training that also reports bytes and milliseconds
    study.py      the default configuration first, then the search, then all files of the folder
    record.py     what a finished search has found, as one line of JSON
    verdict.py    measures the front's members again, in turns: does the front hold?
    table.py      the table, and sentences about it
    picture.py    the picture
"""
