"""What numbers depend on besides the code: interpreter, processor, versions of packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any


def environment(*packages: str) -> dict[str, Any]:
    """Python, the machine, its cores, and the version of every package by its name."""
    found = {package: version(package) for package in packages}
    return {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(), **found}
