"""The example in a docstring, run."""

from __future__ import annotations

import inspect
import re
from textwrap import dedent
from typing import Any

import hpo

MOST = 10  # lines


def run_example(documented: Any) -> dict[str, Any]:
    """Runs the last indented block of a docstring, at most ten lines; what it defined. `hpo` is imported already."""
    blocks = re.findall(r"(?:^    .*\n?)+", (inspect.getdoc(documented) or "") + "\n", re.MULTILINE)
    assert blocks, f"{documented.__name__} has no example"
    code = dedent(blocks[-1]).strip()
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST, code
    names: dict[str, Any] = {"hpo": hpo}
    exec(compile(code, f"<example of {documented.__name__}>", "exec"), names)
    return names
