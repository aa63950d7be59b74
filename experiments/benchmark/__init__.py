"""Ours against its peers: equal evaluations, paired seeds, every run recorded. `python -m experiments.benchmark`

tasks.py      what is optimised: functions.py, lm.py, tables.py
methods.py    who optimises it: ours and the peers of peers/, one adapter a file
variants.py   GP(...): ours with an acquisition or options that are not its defaults
study.py      one study: ask, observe, tell, and what is recorded of it
runner.py     which studies are missing, and the processes that run them
records.py    the lines that studies leave in experiments/results/benchmark, in the ledger's terms
timing.py     seconds of whole runs and of single asks, side by side
analyse.py    what was found: collected.py, ranking.py, ranks.py, summary.py, notes.py
pages.py      the page, CSV files and figures of it: sentences.py, plots.py, index.html.j2
"""
