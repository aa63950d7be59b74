"""What numbers depend on besides the code: interpreter, processor, versions of packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def environment(*packages: str) -> dict[str, Any]:
    """Python, the machine, its cores, and the version of every package by its name."""
    found = {package: version(package) for package in packages}
    return {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(), **found}


def processor() -> str:
    """What the CPU calls itself, and the widest vectors that it says it has."""
    file = Path("/proc/cpuinfo")
    lines = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line) if file.exists() else {}
    known = {name.strip(): value.split() for name, value in lines.items()}
    widest = next((flag for flag in ("amx_tile", "avx512f", "avx2") if flag in known.get("flags", [])), "")
    return " ".join([*known.get("model name", [platform.processor() or platform.machine()]), widest]).strip()
