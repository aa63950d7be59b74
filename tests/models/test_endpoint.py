"""Our own model over OpenAI's protocol, by our client and a real HTTP server; and servers that fail in every way they do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf, nan
from typing import Any

import pytest
import torch

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import httpx
from starlette import responses
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from models.config import GPTConfig
from models.data.tokenizers import Characters
from models.decoding.completer import Completer
from models.decoding.completion import Completion
from models.decoding.parameters import DecodingParameters
from models.endpoint.client import Endpoint, EndpointError, read_pause
from models.endpoint.server import BackgroundServer, Service, make_app
from tests.models.tiny import shaken

torch.set_num_threads(1)
LETTERS = Characters("abcdefghijklmnopqrstuvwxyz :\n")
WRITER = Completer(shaken(GPTConfig(layers=1, hidden=16, heads=2, vocabulary=LETTERS.vocabulary, context=32)), LETTERS)
PROMPTS = ["abc", "hello", "a", "zz top", "user: x"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with BackgroundServer(make_app(Service(WRITER, "letters"))) as server:
        yield server.url


@pytest.mark.parametrize(
    "parameters",
    [
        DecodingParameters(max_tokens=12, temperature=0),
        DecodingParameters(max_tokens=12, temperature=0.8, top_p=0.9, frequency_penalty=0.5, presence_penalty=0.3),
        DecodingParameters(max_tokens=12, top_k=5, min_p=0.05, repetition_penalty=1.2, stop=["e", "ab"]),
        DecodingParameters(max_tokens=0),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_endpoint_completes_as_the_model_does(url: str, parameters: DecodingParameters, concurrency: int) -> None:
    """Every parameter arrives: texts, and why they end, are those of the model in this process, in the order of the prompts."""
    seeds = [5, 6, 7, 8, 1 << 40]
    found = Endpoint(url, "letters", concurrency=concurrency).complete(PROMPTS, parameters, seeds)
    expected = WRITER.complete(PROMPTS, parameters, seeds)
    assert [(one.text, one.reason) for one in found] == [(one.text, one.reason) for one in expected]


def test_a_chat_is_a_dialogue(url: str) -> None:
    parameters = DecodingParameters(max_tokens=8, temperature=0)
    (found,) = Endpoint(url, "letters", chat=True, system="be kind").complete(["hello"], parameters)
    (expected,) = WRITER.complete(["system: be kind\nuser: hello\nassistant:"], parameters, 0)
    assert (found.text, found.reason) == (expected.text, expected.reason)


def test_the_server_counts_tokens_and_gives_several_choices(url: str) -> None:
    body = {"prompt": ["ab", "c"], "n": 3, "max_tokens": 4, "seed": 1, "temperature": 1.0}
    first, second = (httpx.post(f"{url}/completions", json=body).json() for _ in range(2))
    assert first["choices"] == second["choices"] and len(first["choices"]) == 6
    assert [one["index"] for one in first["choices"]] == list(range(6))
    assert len({one["text"] for one in first["choices"][:3]}) > 1
    assert first["usage"] == {"prompt_tokens": 3, "completion_tokens": 24, "total_tokens": 27}
    unseeded = [httpx.post(f"{url}/completions", json={"prompt": "a", "max_tokens": 20}).json() for _ in range(2)]
    assert unseeded[0]["choices"] != unseeded[1]["choices"]
    assert httpx.get(f"{url}/models").json()["data"][0]["id"] == "letters"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("completions", {"prompt": "a", "temperature": -1}, "temperature is -1, but must be a finite number of at least 0"),
        ("completions", {"prompt": "a", "stream": True}, "stream is True, but this server does not know it"),
        ("completions", {"prompt": "a", "logit_bias": {"1": 2}}, "logit_bias is {'1': 2}, but this server does not know it"),
        ("completions", {"prompt": "a", "model": "gpt"}, "model is 'gpt', but there is only 'letters'"),
        ("completions", {"prompt": "a", "n": 0}, "n is 0, but must be a whole number from 1 to 128"),
        ("completions", {"prompt": "a", "seed": 1.5}, "seed is 1.5, but must be a whole number"),
        ("completions", {"prompt": [1, 2]}, "prompt must be a text or a list of texts"),
        ("completions", {"prompt": ""}, "the prompt is empty"),
        ("completions", {"prompt": "é"}, "the character 'é'"),
        ("completions", [], "the request is no JSON object"),
        ("chat/completions", {"messages": [{"role": "user"}]}, "messages must be a list of objects with a role and a content"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(url: str, path: str, body: Any, message: str) -> None:
    answer = httpx.post(f"{url}/{path}", json=body)
    assert answer.status_code == 400 and message in answer.json()["error"]["message"]


def test_what_is_no_json_is_refused(url: str) -> None:
    answer = httpx.post(f"{url}/completions", content=b"{")
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith("the request is no JSON: ")


# -- servers that fail ---------------------------------------------------------------------------------------------------

GOOD = {"choices": [{"text": "fine", "finish_reason": "stop"}]}
Answer = Callable[[], Any]


class Script:
    """A server that gives these answers one after the other, and the last of them from then on."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.bodies, self.keys = list(answers), [], []  # type: ignore[var-annotated]
        self.app = Starlette(routes=[Route("/v1/completions", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Any:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        one = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if one == "hang":
            await asyncio.sleep(2)
        if isinstance(one, tuple):
            return responses.Response(one[1], one[0], headers=dict(one[2:]))
        return responses.JSONResponse(GOOD) if one in ("good", "hang") else responses.PlainTextResponse(one)


def ask(script: Script, **options: Any) -> tuple[Completion, list[float]]:
    """The completion of one prompt, and how long the client waited before each retry."""
    waits: list[float] = []
    with BackgroundServer(script.app) as server:
        endpoint = Endpoint(server.url, "m", sleep=waits.append, **options)
        return endpoint.complete(["p"], DecodingParameters())[0], waits


@pytest.mark.parametrize(
    "failure",
    [(500, "oops"), (502, ""), (503, "busy"), (429, "slow"), "{broken", '{"choices": []}', '{"choices": [{"text": 3}]}', "[]"],
)
def test_a_request_is_sent_again_after_what_may_pass(failure: Any) -> None:
    script = Script(failure, failure, "good")
    found, waits = ask(script)
    assert found == Completion("fine", "stop") and len(script.bodies) == 3 and script.bodies[0] == script.bodies[2]
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


def test_retry_after_counts_up_to_the_longest_wait() -> None:
    script = Script(*((503, "", ("retry-after", text)) for text in ("7", "1e6", "soon")), "good")
    _, waits = ask(script, longest=20.0)
    assert waits[:2] == [7.0, 20.0] and 1.0 <= waits[2] <= 2.0


def test_retry_after_is_seconds_or_a_date() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    found = read_pause(format_datetime(later, usegmt=True))
    assert found is not None and 3000 < found <= 3600
    assert read_pause(format_datetime(later - timedelta(hours=2), usegmt=True)) == 0.0
    assert [read_pause(one) for one in ("0", "1.5", "-3")] == [0, 1.5, 0]
    assert {read_pause(one) for one in (None, "nan", "inf", "never", "")} == {None}


def test_a_server_that_hangs_is_left_and_asked_again() -> None:
    script = Script("hang", "good")
    found, waits = ask(script, timeout=0.3)
    assert found.text == "fine" and len(waits) == 1


@pytest.mark.parametrize(
    ("answers", "options", "message"),
    [
        ([(401, '{"error": {"message": "no such key"}}')], {"key": "s3cret"}, r"with 401 Unauthorized: no such key$"),
        ([(404, "")], {}, r"refused a request with 404 Not Found: \(nothing\)$"),
        ([(400, '{"error": "n is 0"}')], {}, r"400 Bad Request: n is 0$"),
        ([(500, "a\nb " * 200)], {"retries": 2}, r"asked 3 times, and at last said 500 Internal Server Error: a b a .*\.\.\.$"),
        (["{broken"], {"retries": 1}, r"was asked 2 times, and at last said what is no completion: \{broken$"),
        (["hang"], {"retries": 1, "timeout": 0.2}, r"was asked 2 times, and at last said nothing within 0\.2 s$"),
    ],
)
def test_an_error_names_what_the_server_said(answers: list[Any], options: dict[str, Any], message: str) -> None:
    script = Script(*answers)
    with pytest.raises(EndpointError, match=message) as caught:
        ask(script, **options)
    assert "\n" not in str(caught.value) and "s3cret" not in str(caught.value)
    assert script.keys[0] == (f"Bearer {options['key']}" if "key" in options else None)


@pytest.mark.parametrize("key", ["s3cret\n", " s3cret", "s3crét", "", b"s3cret"])
def test_a_key_that_no_header_may_hold_is_refused_without_being_shown(key: Any) -> None:
    with pytest.raises(ValueError, match=r"^key is no text, is empty, or has spaces around it") as caught:
        Endpoint("http://localhost/v1", "m", key=key)
    assert "s3c" not in str(caught.value)


def test_a_single_text_is_no_list_of_prompts() -> None:
    with pytest.raises(ValueError, match=r"^prompts is 'abc', but must be a list of texts"):
        Endpoint("http://localhost/v1", "m").complete("abc", DecodingParameters())


def test_an_answer_that_cannot_be_unpacked_is_asked_for_again() -> None:
    found, waits = ask(Script((200, "no gzip", ("content-encoding", "gzip")), "good"))
    assert found.text == "fine" and len(waits) == 1


def test_nobody_there_is_said() -> None:
    with BackgroundServer(Script("good").app) as server:
        url = server.url
    with pytest.raises(EndpointError, match="was asked 2 times, and at last said no answer, ConnectError"):
        Endpoint(url, "m", retries=1, sleep=lambda _: None).complete(["p"], DecodingParameters())


def test_one_refusal_ends_all() -> None:
    script = Script("good", (400, "no"), "good")
    with BackgroundServer(script.app) as server, pytest.raises(EndpointError, match="400 Bad Request: no"):
        Endpoint(server.url, "m", concurrency=1).complete(["p"] * 500, DecodingParameters())
    assert len(script.bodies) < 100


def test_only_what_openai_knows_is_sent_unless_it_is_changed() -> None:
    endpoint = Endpoint("http://localhost/v1", "m", key="s3cret")
    plain = endpoint.write_request("p", DecodingParameters(), (1 << 64) - 1)
    assert {*plain} == {"model", "seed", "prompt", "max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty"}
    assert plain["seed"] == (1 << 63) - 1
    changed = endpoint.write_request("p", DecodingParameters(top_k=3, min_p=0.1, repetition_penalty=1.1, stop="x"), 0)
    assert {*changed} - {*plain} == {"top_k", "min_p", "repetition_penalty", "stop"} and changed["stop"] == ["x"]
    assert "s3cret" not in repr(endpoint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost"}, "^url is 'localhost', but must begin with http"),
        ({"url": None}, "^url is None, but must begin with http"),
        ({"concurrency": 0}, "^concurrency is 0, but must be a whole number of at least 1"),
        ({"retries": True}, "^retries is True, "),
        ({"timeout": nan}, "^timeout is nan, but must be a finite number of seconds above 0"),
        ({"longest": inf}, "^longest is inf"),
        ({"backoff": 0}, "^backoff is 0, "),
        ({"system": "x"}, "^system is 'x', but completions know no system message"),
    ],
)
def test_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Endpoint(**{"url": "http://localhost/v1", "model": "m", **options})
