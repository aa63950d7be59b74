"""The routes and the server: the page, its studies, a stream of what is new, tables to download."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain, count
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hpo.analysis.export import encode_table
from hpo.analysis.page import page_script, page_style, render_shell
from hpo.logs.listing import list_places
from hpo.serve.follow import LogFollower, open_for_reading
from hpo.serve.guard import Guard, is_loopback

TYPES = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}
AT_ONCE = 24  # studies in one stream
LOOK = 0.1  # seconds between two looks of a stream whether the server ends


class Studies:
    """The studies behind some paths and URLs, by name, and those of them that are followed."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self._followers: dict[str, LogFollower] = {}
        self.places = self.find()

    def find(self) -> dict[str, str]:
        """The place of every study by its name. A name that stands behind two of the URLs gets a number."""
        found: dict[str, str] = {}
        for url in self.urls:
            for name, place in list_places(url).items():
                names = chain([name], (f"{name} ({number})" for number in count(2)))
                found[next(one for one in names if one not in found)] = place
        return found

    def check(self) -> None:
        """LogError or OSError in a sentence for a path that leads to no log. What stands behind URLs is read when it is shown."""
        for path in (Path(url) for url in self.urls if "://" not in url):
            if path.is_dir():
                raise IsADirectoryError(f"{str(path)!r} is a folder; allowed are logs, and databases of studies")
            open_for_reading(str(path)).close()

    def follower(self, name: str) -> LogFollower:
        """The one that follows a study. HTTPException 404 for a name that none has."""
        if name not in self._followers:
            if name not in self.places:
                raise HTTPException(404, f"there is no study {name!r:.80}\n")
            self._followers[name] = LogFollower(name, self.places[name])
        return self._followers[name]

    async def close(self) -> None:
        """Ends all following."""
        for follower in self._followers.values():
            await follower.close()


def make_app(
    urls: Sequence[str], host: str = "127.0.0.1", token: str | None = None, names: Collection[str] = (),
    is_ending: Callable[[], bool] = lambda: False,
) -> Starlette:  # fmt: skip
    """The application. Raises as logs do where there is no study at a URL.

    host, token, names   see Guard
    is_ending   whether the server wants to end: then streams do, which else never would
    """
    if token is None and not is_loopback(host):
        raise ValueError(f"the server is bound to {host!r}, where other machines reach it; it needs a token")
    studies = Studies(urls)
    studies.check()

    async def page(request: Request) -> Response:
        return Response(render_shell(), media_type="text/html")

    async def script(request: Request) -> Response:
        return Response(page_script(), media_type="text/javascript")

    async def style(request: Request) -> Response:
        return Response(page_style(), media_type="text/css")

    async def names_of_studies(request: Request) -> Response:
        with suppress(OSError, ValueError):  # then those that were there
            studies.places = await asyncio.to_thread(studies.find)
        return JSONResponse([*studies.places])

    async def follow(request: Request) -> Response:
        whole, beside = request.query_params.get("study"), request.query_params.getlist("beside")
        if whole is None or len(beside) >= AT_ONCE:
            raise HTTPException(400, f"allowed are one study and up to {AT_ONCE - 1} beside it\n")
        since = [_number(request, name) for name in ("since", "epoch")]
        streams = [studies.follower(whole).stream(True, *since)]
        streams += [studies.follower(name).stream(False) for name in dict.fromkeys(beside) if name != whole]
        lines = (f"data: {text}\n\n" async for text in _merge(streams, is_ending))
        return StreamingResponse(lines, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def table(request: Request) -> Response:
        suffix = f".{request.path_params['suffix']}"
        name = request.query_params.get("study", "")
        follower = studies.follower(name)
        if suffix not in TYPES:
            raise HTTPException(404, f"allowed are {[*TYPES]}\n")
        content = await follower.export(lambda history: encode_table(history, suffix))
        safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip(".") or "study"
        disposition = f'attachment; filename="{safe}{suffix}"'
        return Response(content, media_type=TYPES[suffix], headers={"content-disposition": disposition})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await studies.close()

    routes = [Route("/", page), Route("/page.js", script), Route("/page.css", style), Route("/studies", names_of_studies),
              Route("/follow", follow), Route("/table.{suffix}", table)]  # fmt: skip
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _explain})
    app.add_middleware(Guard, host=host, token=token, names=names)  # type: ignore[arg-type]
    return app


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code)


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not text.isdecimal() or len(text) > 18:
        raise HTTPException(400, f"{name} is {text[:40]!r}; allowed is a whole number\n")
    return int(text)


async def _merge(streams: Sequence[AsyncIterator[str]], is_ending: Callable[[], bool]) -> AsyncIterator[str]:
    """What comes from any of the streams, in the order in which it comes, until the server ends. A slow reader slows each of them
    down by itself."""
    queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue(1)

    async def pump(stream: AsyncIterator[str]) -> None:
        try:
            async for text in stream:
                await queue.put(text)
        except Exception as error:
            await queue.put(error)

    async def attend() -> None:
        while not is_ending():
            await asyncio.sleep(LOOK)
        await queue.put(None)

    tasks = [asyncio.create_task(work) for work in (attend(), *map(pump, streams))]
    try:
        while (text := await queue.get()) is not None:
            if isinstance(text, BaseException):
                raise text
            yield text
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bind(host: str, port: int) -> socket.socket:
    """A socket of the first address that the host has."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError:
        found.close()
        raise
    return found


class Server:
    """The page of some studies, served at an address of this machine.

    urls    paths and URLs of logs, and of databases of studies
    host    what it is bound to
    port    0 for any that is free
    token   asked of everybody; made where it is None and the host can be reached from other machines
    names   by which it may be called where it can be reached from others, beside the machine's own and addresses

    ValueError and OSError in a sentence where there is no study, or where the address cannot be bound.
    """

    def __init__(
        self, urls: Sequence[str], host: str = "127.0.0.1", port: int = 8080, token: str | None = None,
        names: Collection[str] = (),
    ) -> None:  # fmt: skip
        if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,256}", token):
            raise ValueError("a token is 16 to 256 letters, digits, - and _; another one came")
        self.token = token if token is not None or is_loopback(host) else secrets.token_urlsafe(24)
        self.host, self.names = host, names
        app = make_app(urls, host, self.token, names, lambda: self._server.should_exit)
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, server_header=False,
                                timeout_graceful_shutdown=1, lifespan="on", ws="none")  # fmt: skip
        self._server = uvicorn.Server(config)
        try:
            self._socket = _bind(host, port)
        except OSError as error:
            raise OSError(f"the address {host}:{port} cannot be bound: {error.strerror or error}") from None
        self.port = int(self._socket.getsockname()[1])
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where a browser finds it, with the token."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    @property
    def outer_url(self) -> str | None:
        """Where others find it, by this machine's name, if it is bound to all of its addresses."""
        if self.host not in ("0.0.0.0", "::"):
            return None
        return f"http://{socket.gethostname()}:{self.port}/?token={self.token}"

    def run(self, seconds: float | None = None) -> None:
        """Serves until Ctrl-C or SIGTERM, at most for so many seconds."""
        end = threading.Timer(threading.TIMEOUT_MAX if seconds is None else seconds, self._end)
        end.daemon = True
        end.start()
        try:
            self._server.run([self._socket])
        finally:
            end.cancel()
            self._socket.close()

    def start(self) -> None:
        """Serves in a thread, until `close`."""
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="hpo serve", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends what `start` began, and frees the address."""
        self._end()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _end(self) -> None:
        self._server.should_exit = True
