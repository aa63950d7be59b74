"""One running command: its output is kept and read line by line; it is suspended, and ended with all that it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from hpo.commands.errors import CommandError
from hpo.executors.watchdog import Watchdog, list_groups, signal_groups

LOOK = 0.1  # seconds between two looks whether the process has ended, while something that it started keeps a pipe open
CHUNK = 1 << 16
TAIL = 8000  # bytes of stderr that a failure keeps
STREAMS = ("stdout", "stderr")


@cache
def _watchdog(process: int) -> Watchdog:
    """One for each process that runs commands: it ends them where that process dies."""
    return Watchdog()


class Running(set["Child"]):
    """The commands of an objective that run in this process; a copy that is sent to another process has none."""

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return Running, ()


class Child:
    """A process in a group of its own. `stdout.txt` and `stderr.txt` in the folder keep what it prints, with `append` after what
    they hold.

    CommandError where there is no such command. It is closed by `end`, also after it has ended by itself.
    """

    def __init__(self, words: Sequence[str], variables: Mapping[str, str], cwd: Path, folder: Path, append: bool) -> None:
        try:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(cwd), process_group=0,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            )  # fmt: skip
        except OSError as error:
            where = f" in the folder {str(cwd)!r}" if error.filename == str(cwd) else ""
            raise CommandError(f"the command {words[0]!r} cannot be started{where}: {error.strerror}") from None
        _watchdog(os.getpid()).watch(self.process.pid)
        self.lines: list[str] = []  # the last ones, for a sentence
        self.is_stopped = False  # whether somebody else wants it to end; who reads it ends it
        self.seconds = 0.0  # that it has run, without those in which it was suspended
        self._since: float | None = time.monotonic()
        self._errors = folder / "stderr.txt"
        self._selector = selectors.DefaultSelector()
        self._files: list[IO[bytes]] = []
        for stream in STREAMS:
            pipe = getattr(self.process, stream)
            os.set_blocking(pipe.fileno(), False)
            kept = (folder / f"{stream}.txt").open("ab" if append else "wb")
            self._files.append(kept)
            self._selector.register(pipe, selectors.EVENT_READ, _Lines(kept))

    def read(self, timeout: float | None = None) -> Iterator[str]:
        """The lines that it prints, as it prints them, until it has ended. CommandError after `timeout` seconds of running, and
        once it is stopped."""
        while True:
            if self.is_stopped:
                raise CommandError("the command was ended with the search")
            ended = self.process.poll() is not None
            for key, _ in self._selector.select(0.0 if ended else LOOK):
                yield from self._take(key)
            if (ended and not self._selector.select(0.0)) or (not self._selector.get_map() and self._is_over()):
                break
            if timeout is not None and self.elapsed_seconds() >= timeout:
                raise CommandError(f"timeout: still running after {timeout:g} s")
        for key in list(self._selector.get_map().values()):
            yield from self._note(key.data.close())

    def _take(self, key: selectors.SelectorKey) -> Iterator[str]:
        with suppress(BlockingIOError):
            chunk = os.read(key.fd, CHUNK)
            if not chunk:
                self._selector.unregister(key.fileobj)
                yield from self._note(key.data.close())
                return
            yield from self._note(key.data.take(chunk))

    def _note(self, lines: list[str]) -> list[str]:
        self.lines = [*self.lines, *lines][-5:]
        return lines

    def _is_over(self) -> bool:
        """Whether it has ended, where both pipes are closed: waits a moment for that."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LOOK)
        return self.process.poll() is not None

    def elapsed_seconds(self) -> float:
        """Seconds that it has run."""
        return self.seconds + (0.0 if self._since is None else time.monotonic() - self._since)

    def suspend(self) -> None:
        """Stops all of it where it is; it keeps its memory."""
        signal_groups(list_groups(self.process.pid), signal.SIGSTOP)
        self.seconds, self._since = self.elapsed_seconds(), None

    def resume(self) -> None:
        """Lets it go on."""
        signal_groups(list_groups(self.process.pid), signal.SIGCONT)
        self._since = time.monotonic()

    def check_status(self) -> None:
        """CommandError unless it has ended with status 0."""
        status = self.process.wait()
        if status == 0:
            return
        how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status} ({signal.Signals(-status).name})"
        said = " / ".join(line.strip() for line in self.lines if line.strip())
        raise CommandError(f"the command {how}" + (f"; it said last: {said[-500:]}" if said else " and said nothing"))

    def read_errors(self) -> str:
        """The end of what it has printed on stderr."""
        with self._errors.open("rb") as file:
            file.seek(max(0, self._errors.stat().st_size - TAIL))
            return file.read().decode("utf-8", "replace")

    def end(self, grace: float) -> None:
        """Ends it with all that it started: SIGTERM, and after `grace` seconds SIGKILL. What has begun a group of its own gets
        only the second: a launcher ends its workers itself at the first."""
        groups = list_groups(self.process.pid)  # while it lives, its descendants can be found
        if self.process.poll() is None:
            signal_groups([self.process.pid], signal.SIGTERM)
            signal_groups(groups, signal.SIGCONT)  # a suspended one takes a signal when it goes on
            self._drain(time.monotonic() + grace)
        signal_groups({*groups, *list_groups(self.process.pid)}, signal.SIGKILL)  # what is left, of its children too
        self.process.wait()
        _watchdog(os.getpid()).forget(self.process.pid)
        self._selector.close()
        for file in [*self._files, self.process.stdout, self.process.stderr]:
            assert file is not None
            file.close()

    def _drain(self, until: float) -> None:
        """Waits for its end, and keeps what it still prints."""
        while self.process.poll() is None and time.monotonic() < until:
            if not self._selector.get_map():
                time.sleep(LOOK / 10)
                continue
            for key, _ in self._selector.select(LOOK):
                for _ in self._take(key):
                    pass


class _Lines:
    """Bytes in, lines out; the bytes are kept in a file. A carriage return ends a line too, as progress bars have it."""

    def __init__(self, kept: Any) -> None:
        self.kept, self.rest = kept, b""

    def take(self, chunk: bytes) -> list[str]:
        self.kept.write(chunk)
        self.kept.flush()
        *lines, self.rest = (self.rest + chunk).replace(b"\r", b"\n").split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> list[str]:
        """The last line, if it has no end."""
        rest, self.rest = self.rest, b""
        return [rest.decode("utf-8", "replace")] if rest else []
