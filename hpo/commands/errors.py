"""What goes wrong with a command."""


class CommandError(Exception):
    """A command that could not be run, ended badly, or printed no metrics; the sentence says which."""
