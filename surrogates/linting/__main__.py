"""`python -m surrogates.linting module:function`, or a name such as logei: prints what is wrong with an acquisition.

Exit codes: 0 nothing failed, 1 something did, 2 it cannot be imported (one sentence says why).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from surrogates.acquisitions import ACQUISITIONS
from surrogates.linting import lint


def load(name: str) -> Any:
    """What "module:attribute" or a name of ACQUISITIONS stands for. ValueError in one sentence if there is nothing."""
    if name in ACQUISITIONS:
        return name
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"{name!r} is no acquisition; allowed are module:function and {', '.join(ACQUISITIONS)}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs anybody's code
        raise ValueError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(found) and not hasattr(found, "score"):
        raise ValueError(f"{name!r} is {found!r}; allowed is a function f(posterior, incumbent) or an acquisition")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser("python -m surrogates.linting", description="What is wrong with an acquisition?")
    parser.add_argument("acquisition", help=f"module:function, or one of {', '.join(ACQUISITIONS)}")
    try:
        report = lint(load(parser.parse_args(arguments).acquisition))
    except ValueError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(report)
    return 0 if report.is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
