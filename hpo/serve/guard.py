"""Who may ask the server, and what a browser may do with its answers.

Bound to this machine, the Host header must name it: else a page of somebody else, whose name resolves to 127.0.0.1 (DNS
rebinding), could read the studies. Bound elsewhere there is a token, and every name that is no address must have been allowed.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
                               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}  # fmt: skip
COOKIE = "hpo"


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own, which no other can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses what is no reading, what comes by a name that is not the server's, and what has no token where there is one.

    host    what the server is bound to
    token   None where none is asked for
    names   further names by which the server may be called
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None = None, names: Collection[str] = ()) -> None:
        self.app, self.token, self.is_local = app, token, is_loopback(host)
        self.names = {host.lower(), *(name.lower() for name in names)}
        if not self.is_local:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # its own start and end
            return await self.app(scope, receive, send)
        answer = self._refuse(HTTPConnection(scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((name.encode(), text.encode()) for name, text in HEADERS.items())]
            await send(message)

        await (answer or self.app)(scope, receive, send_with_headers)

    def _refuse(self, asked: HTTPConnection) -> Response | None:
        """What is answered in the place of the page; None where it may be seen."""
        if asked.scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("this server only shows studies\n", 405, {"allow": "GET, HEAD"})
        name = _host_name(asked.headers.get("host", ""))
        if not self._is_named(name):
            return PlainTextResponse(f"this server is not called {name[:80]!r}; hpo serve --name allows a name\n", 421)
        if self.token is None:
            return None
        given = parse_qs(asked.scope["query_string"].decode("latin-1")).get("token")
        if given is not None and self._is_token(given[-1]):
            cookie = f"{_cookie(asked)}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            here = f"/{asked.scope['path'].lstrip('/')}"  # two slashes would be the name of another server
            return RedirectResponse(here, 303, {"set-cookie": cookie})
        bearer = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if any(self._is_token(text) for text in (_read_cookie(asked), bearer)):
            return None
        said = "open the address that hpo serve has printed, with its token\n"
        return PlainTextResponse(said, 401, {"www-authenticate": "Bearer"})

    def _is_named(self, name: str) -> bool:
        return is_loopback(name) or name in self.names or (not self.is_local and _is_address(name))

    def _is_token(self, text: str) -> bool:
        """In a time that does not tell how much of it is right."""
        assert self.token is not None
        return hmac.compare_digest(text.encode(), self.token.encode())


def _host_name(text: str) -> str:
    """The name in a Host header, without the port and the brackets of IPv6."""
    name = text[: text.rindex("]") + 1] if text.startswith("[") and "]" in text else text.partition(":")[0]
    return name.strip("[]").lower()


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _cookie(asked: HTTPConnection) -> str:
    """A name for each port, since cookies are shared by all ports of a machine."""
    server: Any = asked.scope.get("server") or ("", 0)
    return f"{COOKIE}-{server[1]}"


def _read_cookie(asked: HTTPConnection) -> str:
    try:
        found = SimpleCookie(asked.headers.get("cookie", ""))
    except CookieError:
        return ""
    name = _cookie(asked)
    return found[name].value if name in found else ""
