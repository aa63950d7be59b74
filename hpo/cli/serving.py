"""The command that shows studies on a page: serve."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hpo.cli.app import Json, app
from hpo.cli.output import print_json


@app.command("serve")
def serve_page(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="logs, and databases of studies", show_default=False)],
    host: Annotated[str, typer.Option(help="what it is bound to; where others reach it, there is a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8080,
    token: Annotated[
        str | None, typer.Option(envvar="HPO_TOKEN", help="asked of everybody [made where it is needed]", show_default=False)
    ] = None,
    name: Annotated[list[str], typer.Option(metavar="NAME", help="by which others may call it, repeatedly")] = [],  # noqa: B006
    seconds: Annotated[float | None, typer.Option(min=0, help="after which it ends [never]", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Shows studies on a page that follows them live, until Ctrl-C. Nothing can be changed there."""
    from hpo.serve import Server

    server = Server(urls, host, port, token, name)
    if json:
        print_json({"url": server.url, **({"outer_url": server.outer_url} if server.outer_url else {})})
    else:
        print(f"{server.url}  (Ctrl-C ends it)")
        if server.outer_url:
            print(f"{server.outer_url}  (from other machines)")
    sys.stdout.flush()  # who reads it waits for it
    server.run(seconds)
