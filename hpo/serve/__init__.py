"""A page that follows studies live: read-only, served by Starlette and uvicorn.

guard.py    who may ask: the Host header, the token, what a browser may do with an answer
follow.py   one study that is read on while somebody looks
model.py    what takes long: the importance, in a process of its own
server.py   the routes, the stream of events, the server

The page itself, and what it shows, is in hpo/analysis: the same as the report's.
"""

try:
    from hpo.serve.server import Server
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(f"the page is served by Starlette and uvicorn ({_error}); pip install 'hpo-lm[serve]'") from None

__all__ = ["Server"]
