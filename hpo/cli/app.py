"""How every command of `hpo` is called and how it ends.

Exit status: 0 done; 1 the answer is no (nothing to ask now, no best yet, a job that comes out differently); 2 wrong input, which
one sentence on stderr names; 130 after Ctrl-C; 141 where nobody reads what is printed.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

NO, WRONG, INTERRUPT, UNREAD = 1, 2, 130, 141

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True,
    help="Studies from the command line: look at them, drive them by ask and tell, judge what one would try.",
)  # fmt: skip

LogPlace = Annotated[str, typer.Argument(metavar="LOG", help="a path or a URL", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document and nothing else")]
Own = Annotated[
    str | None,
    typer.Option("--optimizer", metavar="MODULE:NAME", help="what the log cannot hold: a class, an instance or what makes one"),
]


class No(Exception):
    """The answer is no, for the reason that the message gives."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, by default that of this process; the exit status."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            code = typer.main.get_command(app)(args=arguments, prog_name="hpo", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # typer makes the second of the first, where it comes while a command works
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains at its end
        return UNREAD
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPT)
    except No as answer:
        return _say(answer, NO)
    except Exception as error:
        return _say(_sentence(error), WRONG)
    return int(code or 0)


def _sentence(error: Exception) -> str:
    """What is wrong with the input; anything else is a mistake of ours, and raised again with its traceback."""
    if hasattr(error, "format_message"):  # every usage error has it, whatever package it comes from
        return str(error.format_message())
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.strerror}: {error.filename!r}"
    if isinstance(error, ValueError | TypeError | OSError | ImportError):
        return str(error)
    raise error


def _say(what: object, status: int) -> int:
    print(f"hpo: {' '.join(str(what).split())}", file=sys.stderr)
    return status


def _show_warning(message: Warning | str, *rest: Any) -> None:
    _say(message, 0)
