"""What goes wrong with a command."""


class CommandError(Exception):
    """A command that could not be run, ended badly, or printed no metrics; the sentence says which.

    own_traceback   the end of what the command printed on stderr, which is kept in the place of a traceback through hpo
    """

    own_traceback = ""
