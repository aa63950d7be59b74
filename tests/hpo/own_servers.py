"""Database servers of a test's own, in a temporary folder on a free port, that may be killed; and a line that may be cut."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import glob
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pytest


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _program(name: str, *elsewhere: str) -> str:
    """The path of a program; skips where there is none."""
    found = shutil.which(name) or next((path for pattern in elsewhere for path in sorted(glob(pattern), reverse=True)), None)
    if found is None:
        pytest.skip(f"there is no program {name} to start a server with")
    return found


class OwnServer:
    """A server that is started, killed and started again on the same data. `url` is its database `test`."""

    user: str  # whom the server runs as where the test is root
    shutdown: signal.Signals  # what ends it in order, whoever is connected
    scheme: str
    account: str
    packet = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/tmp"))  # sockets need short paths
        self.port = free_port()
        self.url = f"{self.scheme}://{self.account}@127.0.0.1:{self.port}/test"
        self.process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)

    def __enter__(self) -> Self:
        try:
            self.install()
            self.start()
            self.create()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self) -> None: ...
    def command(self) -> list[str]: ...  # type: ignore[empty-body]
    def create(self) -> None: ...

    def _options(self) -> dict[str, str]:
        return {"user": self.user} if os.getuid() == 0 else {}

    def call(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **self._options())  # type: ignore[call-overload]
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        log: IO[bytes] = open(self.folder / "output", "ab")  # noqa: SIM115
        options: dict[str, str] = self._options()
        self.process = subprocess.Popen(
            self.command(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **options
        )  # type: ignore[call-overload]
        log.close()
        for _ in range(6000):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise AssertionError(f"the server did not start: {(self.folder / 'output').read_text()}")

    def stop(self) -> None:
        """Ends the server in order."""
        assert self.process is not None
        self.process.send_signal(self.shutdown)
        self.process.wait()

    def kill(self) -> None:
        """Kills the server and what it has started, at once."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for child in self._children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for _ in range(200):
            if not self._children():
                return
            time.sleep(0.05)

    def _children(self) -> list[int]:
        """Processes that work in this folder: PostgreSQL's have groups of their own."""
        found = []
        for entry in glob("/proc/[0-9]*/cwd"):
            with suppress(OSError):
                if os.readlink(entry).startswith(f"{self.folder}/"):
                    found.append(int(entry.split("/")[2]))
        return found


class OwnPostgres(OwnServer):
    user, scheme, account, shutdown = "postgres", "postgresql", "postgres", signal.SIGINT

    def _path(self, name: str) -> str:
        return _program(name, f"/usr/lib/postgresql/*/bin/{name}")

    def install(self) -> None:
        self.call(self._path("initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def command(self) -> list[str]:
        where = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        return [self._path("postgres"), *where, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB"]

    def create(self) -> None:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        for _ in range(6000):
            done = subprocess.run([self._path("createdb"), *options, "test"], capture_output=True, text=True)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(done.stderr)


class OwnMariaDB(OwnServer):
    user, scheme, account, shutdown = "mysql", "mysql", "tester", signal.SIGTERM

    def install(self) -> None:
        where, options = f"--datadir={self.folder}/data", ["--auth-root-authentication-method=normal", "--skip-test-db"]
        self.call(_program("mariadb-install-db"), "--no-defaults", where, *options, "--skip-name-resolve")
        (self.folder / "begin.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS test;\nCREATE USER IF NOT EXISTS tester@'127.0.0.1';\n"
            "GRANT ALL ON *.* TO tester@'127.0.0.1';\n"
        )

    def command(self) -> list[str]:
        home, options = self.folder, ["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"]
        where = [f"--datadir={home}/data", f"--port={self.port}", f"--socket={home}/s", f"--pid-file={home}/p"]
        program = _program("mariadbd", "/usr/sbin/mariadbd")
        return [program, "--no-defaults", *where, *options, f"--init-file={home}/begin.sql", *self.packet.split()]


OWN: dict[str, type[OwnServer]] = {"postgresql": OwnPostgres, "mysql": OwnMariaDB}


class Line:
    """A line to a server that carries everything until it is cut: once, before or after a client's next message that holds a
    text. What came before it arrives; the answer to it never does."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.text, self.arrives = b"", False  # what the line is cut at, and whether that still reaches the server
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, text: bytes, arrives: bool) -> None:
        self.text, self.arrives = text, arrives

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target)
                threading.Thread(target=self._carry, args=(near, far, self._is_cut), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, lambda data, to: False), daemon=True).start()

    def _is_cut(self, data: bytes, far: socket.socket) -> bool:
        if not self.text or self.text not in data:
            return False
        if self.arrives:
            far.sendall(data)
            time.sleep(0.3)  # until the server has done it
        self.text, self.cuts = b"", self.cuts + 1
        return True

    def _carry(self, source: socket.socket, to: socket.socket, is_cut: Callable[[bytes, socket.socket], bool]) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not is_cut(data, to):
                to.sendall(data)
        for one in (source, to):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def drivers(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> Iterator[list[ForkProcess]]:
    """Processes of a test, one for each tuple of arguments, killed at its end if they still run."""
    found = [get_context("fork").Process(target=work, args=given) for given in arguments]
    for one in found:
        one.start()
    try:
        yield found
    finally:
        for one in found:
            one.kill()
            one.join()


def join(at_work: Sequence[ForkProcess]) -> None:
    """Waits until all have done their work."""
    for one in at_work:
        one.join(900)
    assert [one.exitcode for one in at_work] == [0] * len(at_work)
