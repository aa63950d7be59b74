"""Our own model over OpenAI's protocol: POST /v1/completions and /v1/chat/completions, GET /v1/models.

    serve(Completer(model, tokenizer), "small-gpt", port=8000)        # until Ctrl-C

Needs starlette and uvicorn: pip install '.[serve]'. What it does not know it refuses by name, in the protocol's form of an
error; it does not stream. One request is completed at a time, and all prompts of a request at once.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.decoding.completer import Completer
from models.decoding.completion import Completion
from models.decoding.parameters import DECODING_NAMES, SEED, DecodingParameters

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Message = Mapping[str, str]
# What may be asked beside decoding parameters; of the last four only what a server without them does anyway.
KNOWN = (*DECODING_NAMES, "model", "seed", "n", "prompt", "messages")
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "stream": (None, False), "echo": (None, False), "logprobs": (None, False, 0), "best_of": (None, 1),
}  # fmt: skip
MOST_CHOICES = 128
READY = 600.0  # seconds


def write_dialogue(messages: Sequence[Message]) -> str:
    """Messages as lines of a dialogue, and the beginning of the answer's line."""
    return "".join(f"{one['role']}: {one['content']}\n" for one in messages) + "assistant:"


class Service:
    """Answers requests of the protocol by a completer, which it calls from one thread at a time."""

    def __init__(self, completer: Completer, name: str, write: Callable[[Sequence[Message]], str] = write_dialogue) -> None:
        self.completer, self.name, self.write, self.lock = completer, name, write, threading.Lock()

    def answer(self, body: Any, chat: bool) -> dict[str, Any]:
        """The answer to the body of a request. ValueError in one sentence for what cannot be answered."""
        prompts = self._read_prompts(body, chat)
        count, seed = body.get("n"), body.get("seed")
        count = 1 if count is None else count
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_CHOICES:
            raise ValueError(f"n is {count!r}, but must be a whole number from 1 to {MOST_CHOICES}")
        first = time.time_ns() % (1 << 62) if seed is None else SEED.check("seed", seed)
        given = {name: body[name] for name in DECODING_NAMES if body.get(name) is not None}
        parameters = DecodingParameters(**given)
        each = [prompt for prompt in prompts for _ in range(count)]
        seeds = [(first + turn) % (1 << 63) for _ in prompts for turn in range(count)]
        with self.lock:
            found = self.completer.complete(each, parameters, seeds)
        choices = [_write_choice(place, one, chat) for place, one in enumerate(found)]
        read = sum(map(self.completer.count_tokens, prompts))
        written = sum(len(one.tokens or ()) for one in found)
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        kind = "chat.completion" if chat else "text_completion"
        return {"id": f"{kind}-{time.time_ns()}", "object": kind, "created": int(time.time()), "model": self.name,
                "choices": choices, "usage": usage}  # fmt: skip

    def _read_prompts(self, body: Any, chat: bool) -> list[str]:
        if not isinstance(body, dict):
            raise ValueError("the request is no JSON object")
        for name, value in body.items():
            if name not in KNOWN and value not in NEUTRAL.get(name, (None,)):
                raise ValueError(f"{name} is {value!r}, but this server does not know it")
        if body.get("model") not in (None, self.name):
            raise ValueError(f"model is {body['model']!r}, but there is only {self.name!r}")
        return [self._read_messages(body.get("messages"))] if chat else _read_texts(body.get("prompt"))

    def _read_messages(self, messages: Any) -> str:
        fits = isinstance(messages, list) and messages and all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str) for one in messages
        )  # fmt: skip
        if not fits:
            raise ValueError("messages must be a list of objects with a role and a content, both texts")
        return self.write(messages)


def _read_texts(prompt: Any) -> list[str]:
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise ValueError("prompt must be a text or a list of texts")
    return texts


def _write_choice(place: int, completion: Completion, chat: bool) -> dict[str, Any]:
    said = {"message": {"role": "assistant", "content": completion.text}} if chat else {"text": completion.text}
    return {"index": place, **said, "logprobs": None, "finish_reason": completion.reason}


def make_app(service: Service) -> "Starlette":
    """The service as an ASGI application."""
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError as error:
        raise ModuleNotFoundError("a server needs starlette and uvicorn: pip install 'hpo-lm[serve]'") from error

    def fail(message: str, status: int = 400) -> "Response":
        kind = "invalid_request_error" if status < 500 else "server_error"
        return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)

    async def complete(request: "Request") -> "Response":
        try:
            body = await request.json()
        except ValueError as error:
            return fail(f"the request is no JSON: {error}")
        try:
            return JSONResponse(await run_in_threadpool(service.answer, body, request.url.path.endswith("/chat/completions")))
        except ValueError as error:
            return fail(str(error))
        except Exception as error:  # the model's own fault: the client hears of it and may try again
            return fail(f"{type(error).__name__}: {error}", 500)

    async def models(request: "Request") -> "Response":
        return JSONResponse({"object": "list", "data": [{"id": service.name, "object": "model", "owned_by": "hpo-lm"}]})

    paths = ("/v1/completions", "/v1/chat/completions")
    routes = [*(Route(path, complete, methods=["POST"]) for path in paths), Route("/v1/models", models)]
    return Starlette(routes=routes)


def serve(
    completer: Completer, name: str, host: str = "127.0.0.1", port: int = 8000,
    write: Callable[[Sequence[Message]], str] = write_dialogue,
) -> None:  # fmt: skip
    """Serves a model until Ctrl-C."""
    app = make_app(Service(completer, name, write))
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning")


class BackgroundServer:
    """An ASGI application served on a free port of this machine by a thread, as a context; `url` is its address with /v1."""

    def __init__(self, app: Any) -> None:
        import uvicorn

        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> "BackgroundServer":
        self.thread.start()
        end = time.monotonic() + READY
        while not self.server.started:
            if not self.thread.is_alive() or time.monotonic() > end:
                raise OSError("the server did not start")
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(READY)
