"""Measurements in separate processes with one thread each, so that processes side by side do not disturb one another."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

START = 900.0  # seconds within which a process must have imported, built and compiled everything
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


def limit_threads() -> None:
    """Makes processes that are spawned from now on use one thread each: their libraries read this when they are loaded."""
    os.environ.update(ONE_THREAD)


def run_python(*arguments: str) -> Any:
    """Calls Python with these arguments, and returns the JSON in its last line. RuntimeError with its messages if it failed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=os.environ | ONE_THREAD, check=False)
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


class Child:
    """A function in a spawned process. Its first argument is a pipe, by which it sends answers; a text says why it failed."""

    def __init__(self, name: str, function: Callable[..., None], *arguments: Any) -> None:
        limit_threads()
        context = multiprocessing.get_context("spawn")
        self.name, (self.pipe, there) = name, context.Pipe()
        self.process = context.Process(target=function, args=(there, *arguments), daemon=True)
        self.process.start()
        there.close()

    def receive(self, limit: float = START) -> Any:
        """The next answer. RuntimeError in one sentence if the child failed, died or is too late; it is then closed."""
        try:
            answer = self.pipe.recv() if self.pipe.poll(limit) else f"no answer within {limit:.0f} seconds"
        except EOFError:
            answer = "its process died"
        if isinstance(answer, str):
            self.close()
            raise RuntimeError(f"{self.name}: {answer}")
        return answer

    def ask(self, what: Any) -> Any:
        """Sends a question, and returns the answer."""
        self.pipe.send(what)
        return self.receive()

    def close(self) -> None:
        self.process.kill()
        self.process.join()
