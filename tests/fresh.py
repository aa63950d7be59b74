"""Programs in processes of their own, without the second that every one of them would import the same for.

A Python imports what it is told, and then runs each program in a fork of it, in which nothing else has happened before: other
arguments, folder, environment and files for what it prints, and an end as `python ...` ends.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]


class Python:
    """Runs programs as `python` does that has imported these modules already."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from tests.fresh import serve; serve()", *modules], cwd=ROOT, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        atexit.register(self.process.communicate)  # it ends where nothing more is asked of it

    def run(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """What `subprocess.run([sys.executable, *arguments])` returns: of a file, of -m or of -c."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            own = f"/proc/{os.getpid()}/fd"
            asked = [list(arguments), str(cwd), dict(env), f"{own}/{out.fileno()}", f"{own}/{err.fileno()}"]
            self.process.stdin.write(f"{json.dumps(asked)}\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read().decode(), err.read().decode())


@cache
def python(*modules: str) -> Python:
    return Python(modules)


def serve() -> None:
    """Imports the modules that sys.argv names, then runs what is asked for on stdin, and answers with exit codes."""
    for name in sys.argv[1:]:
        import_module(name)
    gc.freeze()  # a fork shares what it does not touch
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            end(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def end(*asked: Any) -> NoReturn:
    """Runs a program and ends with its exit code, as Python does, without taking apart all that was imported."""
    code: Any = 1
    try:
        execute(*asked)
        code = None
    except SystemExit as exit:
        code = exit.code
        if not isinstance(code, int | None):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as multiprocessing's processes do
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def execute(arguments: list[str], cwd: str, env: dict[str, str], *printed: str) -> None:
    """Makes this process that of a program, and runs it."""
    for descriptor, path in enumerate((os.devnull, *printed)):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    how, name = ("", arguments[0]) if arguments[0][:1] != "-" else (arguments[0], arguments[1])
    sys.argv = arguments if not how else [how, *arguments[2:]]
    sys.path[0] = str(Path(name).absolute().parent) if not how else "" if how == "-c" else cwd
    main = sys.modules["__main__"] = ModuleType("__main__")
    if how == "-m":
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif how == "-c":
        exec(compile(name, "<string>", "exec"), main.__dict__)
    else:
        main.__file__ = str(Path(name).absolute())
        exec(compile(Path(name).read_text(encoding="utf-8"), name, "exec"), main.__dict__)
