"""Processes of their own: what they answer, and what is said where one fails, dies or is too late."""

import os
from multiprocessing.connection import Connection

import pytest

from experiments.ledger.children import ONE_THREAD, Child, run_python


def echo(pipe: Connection, first: int) -> None:
    pipe.send(first)
    while True:
        asked = pipe.recv()
        if asked == "die":
            os._exit(1)
        pipe.send("it is tired" if asked == "fail" else {"asked": asked, "threads": os.environ["OMP_NUM_THREADS"]})


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ONE_THREAD:  # put back afterwards
        monkeypatch.setenv(name, "7")


def test_a_child_answers_and_is_closed() -> None:
    child = Child("echo", echo, 7)
    assert child.receive() == 7 and child.ask([1]) == {"asked": [1], "threads": "1"}
    child.close()
    assert not child.process.is_alive()


@pytest.mark.parametrize(("asked", "why"), [("fail", "it is tired"), ("die", "its process died")])
def test_a_child_that_fails_says_why_and_is_closed(asked: str, why: str) -> None:
    child = Child("echo", echo, 7)
    child.receive()
    with pytest.raises(RuntimeError, match=f"^echo: {why}$"):
        child.ask(asked)
    assert not child.process.is_alive()


def test_a_child_that_is_too_late_is_closed() -> None:
    child = Child("echo", echo, 7)
    child.receive()
    with pytest.raises(RuntimeError, match=r"^echo: no answer within 0 seconds$"):
        child.receive(limit=0.0)
    assert not child.process.is_alive()


def test_the_last_line_that_python_prints_is_read() -> None:
    assert run_python("-c", "import os; print('begun'); print([int(os.environ['MKL_NUM_THREADS'])])") == [1]
    with pytest.raises(RuntimeError, match=r"^python -c 1/0 failed:\n(.|\n)*ZeroDivisionError"):
        run_python("-c", "1/0")
