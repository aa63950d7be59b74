"""Every method on one-minute studies of the main job: paired seeds, equal seconds, one worker a study.

    study.py      one study, in a process of its own
    table.py      paired differences with bootstrap intervals, and where the seconds went
    __main__.py   the command: what is measured, in which order
"""
