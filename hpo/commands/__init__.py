"""Any command as a trial: hyperparameters go in as flags, variables or files, metrics come out of what it prints.

command.py    command(...): the objective; what one trial is
template.py   the command line, environment and files of a configuration
metrics.py    metrics in what was printed
child.py      one running command: read, suspended, ended with all that it started
plan.py       a search over a command, as a file says it
"""

from hpo.commands.command import command
from hpo.commands.errors import CommandError
from hpo.commands.template import ConfigFile

__all__ = ["CommandError", "ConfigFile", "command"]
