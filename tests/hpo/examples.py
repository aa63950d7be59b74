"""The example in a docstring, run: the indented block that begins with `import hpo`."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

MOST = 10  # lines


def read_example(documented: Any) -> str:
    """The source of an object's example. AssertionError where there is none, or it is too long."""
    lines = inspect.getdoc(documented).splitlines()  # type: ignore[union-attr]
    first = next((i for i, line in enumerate(lines) if line.strip() == "import hpo"), None)
    assert first is not None, f"{documented.__name__} has no example"
    indent = len(lines[first]) - len(lines[first].lstrip())
    block = [line for line in lines[first:]]
    last = next((i for i, line in enumerate(block) if line.strip() and len(line) - len(line.lstrip()) < indent), len(block))
    code = textwrap.dedent("\n".join(block[:last])).strip()
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST
    return code


def run_example(documented: Any) -> dict[str, Any]:
    """Runs it; what it defined."""
    names: dict[str, Any] = {}
    exec(compile(read_example(documented), f"<example of {documented.__name__}>", "exec"), names)
    return names
