"""How many drivers a study in a database bears, and what a long one costs to write and to read.

places.py    a database of its own on a server, or a file
drivers.py   many processes at one study, ours and Optuna's
writing.py   one driver writes a long study, another reads it
"""
