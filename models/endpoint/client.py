"""Completions by any server that speaks OpenAI's protocol: vLLM, llama.cpp, OpenAI itself, or server.py. Imports no torch.

    model = Endpoint("http://localhost:8000/v1", "smollm2", key=os.environ.get("API_KEY"))
    model.complete(["Some fruits are:"], DecodingParameters(temperature=0.7), seeds=1)

Needs httpx: pip install '.[endpoint]'.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from models.decoding.completion import Completion, spread_seeds
from models.decoding.parameters import SEED, DecodingParameters
from models.files import short

if TYPE_CHECKING:
    import httpx

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # answers after which the same request may succeed
SAID = 300  # characters of what a server said that an error repeats
OWN = ("max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty")  # OpenAI's own parameters
FURTHER = ("top_k", "min_p", "repetition_penalty")  # which vLLM and others have as well: sent only where they are not the default
DEFAULTS = DecodingParameters()


class EndpointError(RuntimeError):
    """A server did not complete a prompt; the message says what it said, and how often it was asked."""


@dataclass(frozen=True)
class Endpoint:
    """A CompletionModel behind a URL. ValueError in one sentence for an argument that is not allowed.

    url          up to and with the version, such as https://api.openai.com/v1
    model        its name at the server
    key          sent as a bearer token; shown nowhere
    chat         a prompt is a user's message to chat/completions, behind `system` if given; else it is sent to completions
    concurrency  requests in flight at once
    retries      how often a request is sent again when the server is busy, fails, breaks off or answers what is no JSON
    timeout      seconds without a byte after which a request counts as broken off
    backoff      seconds before the first retry, twice as many before each next one, at most `longest`; drawn from the upper
                 half, so that requests do not come back all at once. A Retry-After counts instead, up to `longest`
    """

    url: str
    model: str
    key: str | None = None
    chat: bool = False
    system: str | None = None
    concurrency: int = 8
    retries: int = 5
    timeout: float = 60.0
    backoff: float = 0.5
    longest: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}, but must begin with http:// or https://")
        # Checked here, since the library's own error shows the header with the key; a line end comes with many a key from a file.
        if self.key is not None and not _fits_header(self.key):
            raise ValueError("key is no text, is empty, or has spaces around it, a line end or a letter beyond ASCII")
        for name, least in (("concurrency", 1), ("retries", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}, but must be a whole number of at least {least}")
        for name in ("timeout", "backoff", "longest"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}, but must be a finite number of seconds above 0")
        if self.system is not None and not self.chat:
            raise ValueError(f"system is {short(self.system)!r}, but completions know no system message: set chat=True")

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r}{', chat=True' if self.chat else ''})"

    def complete(
        self, prompts: Sequence[str], parameters: DecodingParameters, seeds: int | Sequence[int] = 0
    ) -> list[Completion]:
        """A completion of every prompt, in their order; each is a request of its own. EndpointError where one fails for good; the
        others that have not begun are then left out. ValueError for a single text instead of a list."""
        if isinstance(prompts, str):
            raise ValueError(f"prompts is {short(prompts)!r}, but must be a list of texts, even of one")
        each = [SEED.check("seed", seed) for seed in spread_seeds(seeds, len(prompts))]
        if not prompts or not parameters.max_tokens:  # servers refuse to write nothing
            return [Completion("", "length") for _ in prompts]
        client = _open_client(self)
        with client, ThreadPoolExecutor(min(self.concurrency, len(prompts))) as pool:
            bodies = [self.write_request(prompt, parameters, seed) for prompt, seed in zip(prompts, each, strict=True)]
            futures = [pool.submit(self._request, client, body) for body in bodies]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def write_request(self, prompt: str, parameters: DecodingParameters, seed: int) -> dict[str, Any]:
        """The body of a request. A seed has at most 63 bits there."""
        body: dict[str, Any] = {"model": self.model, "seed": seed & ((1 << 63) - 1)}
        if self.chat:
            system = [] if self.system is None else [{"role": "system", "content": self.system}]
            body["messages"] = [*system, {"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        body |= {name: getattr(parameters, name) for name in OWN}
        body |= {n: getattr(parameters, n) for n in FURTHER if getattr(parameters, n) != getattr(DEFAULTS, n)}
        return {**body, "stop": list(parameters.stops)} if parameters.stops else body

    def _request(self, client: "httpx.Client", body: Mapping[str, Any]) -> Completion:
        """Sends a request until it is answered, or was sent `retries` + 1 times."""
        import httpx

        path = "chat/completions" if self.chat else "completions"
        for turn in range(self.retries + 1):
            pause = None
            try:
                answer = client.post(path, json=body)
                if answer.is_success:
                    return read_completion(answer.text)
                said = f"{answer.status_code} {answer.reason_phrase}: {_read_error(answer.text)}"
                if answer.status_code not in PASSING:
                    raise EndpointError(f"{self.url}/{path} refused a request with {said}")
                pause = read_pause(answer.headers.get("retry-after"))
            except httpx.TimeoutException:
                said = f"nothing within {self.timeout:g} s"
            except (httpx.TransportError, httpx.DecodingError) as error:
                said = f"no answer, {type(error).__name__}: {short(str(error))}"
            except BrokenAnswer as error:
                said = str(error)
            if turn < self.retries:
                usual = min(self.backoff * 2.0**turn, self.longest) * random.uniform(0.5, 1.0)
                self.sleep(usual if pause is None else min(pause, self.longest))
        raise EndpointError(f"{self.url}/{path} was asked {self.retries + 1} times, and at last said {said}")


def _fits_header(key: Any) -> bool:
    return isinstance(key, str) and key != "" and key.isascii() and key.isprintable() and key == key.strip()


class BrokenAnswer(ValueError):
    """An answer that should have been a completion."""


def read_completion(text: str) -> Completion:
    """The first choice of an answer. BrokenAnswer, with the beginning of the answer, if it has none."""
    try:
        choice = json.loads(text)["choices"][0]
        found = choice["message"]["content"] if "message" in choice else choice["text"]
        if not isinstance(found, str):
            raise TypeError("the text is no text")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BrokenAnswer(f"what is no completion: {_shorten(text)}") from error
    return Completion(found, "length" if choice.get("finish_reason") == "length" else "stop")


def read_pause(header: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date; None if there is none that can be read."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if isfinite(seconds) else None


def _read_error(text: str) -> str:
    """The message in OpenAI's form of an error, else the beginning of the text."""
    try:
        error = json.loads(text)["error"]
        return _shorten(str(error["message"] if isinstance(error, dict) else error))
    except (ValueError, LookupError, TypeError, RecursionError):
        return _shorten(text)


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= SAID else line[: SAID - 3] + "...") or "(nothing)"


def _open_client(endpoint: Endpoint) -> "httpx.Client":
    try:
        import httpx
    except ImportError as error:
        raise ModuleNotFoundError("an endpoint needs the package httpx: pip install 'hpo-lm[endpoint]'") from error
    headers = {} if endpoint.key is None else {"Authorization": f"Bearer {endpoint.key}"}
    limits = httpx.Limits(max_connections=endpoint.concurrency)
    return httpx.Client(base_url=endpoint.url, headers=headers, timeout=endpoint.timeout, limits=limits)
