"""The command `hpo`: studies from the command line; a file a group of commands.

app.py       how a command is called, and how it ends
output.py    JSON documents, lines and tables
places.py    logs, spaces, configurations, objects that a log cannot hold
reading.py   studies, show, best, compare
driving.py   ask, tell, enqueue, retry
judging.py   score, replay
files.py     export, import, plot, report
removal.py   delete
running.py   run: searches over any command
serving.py   serve: a page that follows studies live
watching.py  watch: a study as others drive it
"""

from hpo.cli import driving, files, judging, reading, removal, running, serving, watching  # noqa: F401 - each registers its commands
from hpo.cli.app import main

__all__ = ["main"]
