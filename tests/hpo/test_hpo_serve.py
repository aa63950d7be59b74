"""hpo serve without a browser: who may ask, what is streamed, every kind of log while several drivers write."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx", reason="httpx is not installed: pip install 'hpo-lm[test]'")
pytest.importorskip("starlette", reason="starlette is not installed: pip install 'hpo-lm[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'hpo-lm[serve]'")

import httpx

import hpo
from hpo.analysis.export import write_table
from hpo.analysis.feed import Feed
from hpo.logs import LogError
from hpo.serve import Server
from hpo.serve.guard import is_loopback
from hpo.serve.server import Studies, make_app
from tests.hpo.commands import Commands, environment
from tests.hpo.servers import SHARED, url
from tests.thinning import thin

SPACE = hpo.Space(x=hpo.Float(0.0, 1.0), kind=hpo.Categorical(["a", "b"]))
TOKEN = "a-token-of-24-characters"
DRIVE = """
import sys, hpo
study = hpo.load(sys.argv[1])
for _ in range(int(sys.argv[2])):
    job = study.optimizer.ask()
    study.optimizer.tell(job, job.config["x"])
"""
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*logs: object, **options: Any) -> Server:
        servers.append(Server([str(log) for log in logs], port=0, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    hpo.minimize(lambda config: config["x"], SPACE, hpo.Random(SPACE, seed=1), 6, log=tmp_path / "study.db", quiet=True)
    return tmp_path / "study.db"


def ask(server: Server, path: str, method: str = "GET", **options: Any) -> Any:
    return httpx.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=None, trust_env=False, **options)


def messages(server: Server, **query: Any) -> Iterator[Any]:
    """What the stream sends; values that are no JSON fail."""
    where = f"http://127.0.0.1:{server.port}/follow"
    with httpx.stream("GET", where, params=query, timeout=None, trust_env=False) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                yield json.loads(line.removeprefix("data: "), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def documents(server: Server, **query: Any) -> Iterator[Any]:
    return (message for message in messages(server, **query) if "data" in message)


# -- who may ask -------------------------------------------------------------------------------------------------------


def test_the_page_asks_nobody_else(serve: Serve, log: Path) -> None:
    server = serve(log)
    page = ask(server, "/")
    assert page.status_code == 200 and "<script src=\"page.js\"></script>" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    for path in ("/", "/page.js", "/page.css", "/studies", "/nowhere"):
        answer = ask(server, path)
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers and "http://" not in answer.text + "https://"[:0]


@pytest.mark.parametrize(("name", "status"), [("127.0.0.1", 200), ("localhost:9999", 200), ("[::1]:80", 200), ("127.1.2.3", 200),
                                              ("evil.example", 421), ("localhost.evil.example", 421), ("192.168.0.7", 421),
                                              ("", 421), ("evil.example:127", 421), ("127.0.0.1.nip.io", 421)])  # fmt: skip
def test_it_answers_to_its_own_name_only(name: str, status: int, serve: Serve, log: Path) -> None:
    """Else the page of somebody else, whose name resolves to 127.0.0.1, could read studies."""
    assert ask(serve(log), "/studies", headers={"host": name}).status_code == status


def test_nothing_can_be_changed(serve: Serve, log: Path) -> None:
    server, before = serve(log), blake2b(log.read_bytes()).digest()
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(server, "/studies", method).status_code == 405
    next(documents(server, study="study.db"))
    assert ask(server, "/table.csv?study=study.db").status_code == 200
    assert blake2b(log.read_bytes()).digest() == before and [path.name for path in log.parent.iterdir()] == ["study.db"]


def test_where_others_reach_it_there_is_a_token(serve: Serve, log: Path) -> None:
    server = serve(log, host="0.0.0.0")
    assert server.token is not None and len(server.token) == 32 and server.url.endswith(f"/?token={server.token}")
    for path in ("/", "/page.js", "/studies", "/follow?study=study.db", "/table.csv?study=study.db", "/nowhere", "/?token=no"):
        refused = ask(server, path)
        assert refused.status_code == 401 and "study" not in refused.text
    assert ask(server, "/studies", headers={"authorization": "Bearer no"}).status_code == 401
    assert ask(server, "/studies", headers={"authorization": f"Bearer {server.token}"}).json() == ["study.db"]
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=None, trust_env=False) as visitor:
        entered = visitor.get(f"/?token={server.token}")
        assert (entered.status_code, entered.headers["location"]) == (303, "/"), "the token does not stay in the address"
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in entered.headers["set-cookie"].split(";")}
        assert visitor.get("/studies").json() == ["study.db"]
    there = ask(server, f"//evil.example/?token={server.token}")
    assert (there.status_code, there.headers["location"]) == (303, "/evil.example/"), "nobody is sent elsewhere"
    assert ask(server, "/studies", headers={"authorization": f"Bearer {server.token}", "host": "192.168.0.7"}).status_code == 200
    assert ask(server, "/studies", headers={"authorization": f"Bearer {server.token}", "host": "evil.example"}).status_code == 421


def test_a_token_and_names_of_ones_own(serve: Serve, log: Path) -> None:
    server = serve(log, host="0.0.0.0", token=TOKEN, names=["studies.example"])
    named = {"authorization": f"Bearer {TOKEN}", "host": "Studies.Example:443"}
    assert server.token == TOKEN and ask(server, "/studies", headers=named).status_code == 200
    local = serve(log, token=TOKEN)
    assert ask(local, "/studies").status_code == 401 and local.url.endswith(f"?token={TOKEN}")


def test_wrong_input_is_refused(log: Path, serve: Serve) -> None:
    with pytest.raises(ValueError, match=r"bound to '0\.0\.0\.0', where other machines reach it; it needs a token"):
        make_app([str(log)], "0.0.0.0")
    for token in ("short", "with a blank in the middle", "a\r\nset-cookie: b=c-d-e-f-g"):
        with pytest.raises(ValueError, match="a token is 16 to 256 letters"):
            Server([str(log)], port=0, token=token)
    with pytest.raises(FileNotFoundError, match="there is no"):
        Server([str(log.parent / "absent.db")], port=0)
    (log.parent / "plain.txt").write_text("no log at all")
    with pytest.raises(LogError, match=r"plain.txt' is not a log of this framework"):
        Server([str(log), str(log.parent / "plain.txt")], port=0)
    with pytest.raises(OSError, match="is a folder"):
        Server([str(log.parent)], port=0)
    server = serve(log)
    with pytest.raises(OSError, match=f"the address 127.0.0.1:{server.port} cannot be bound"):
        Server([str(log)], port=server.port)
    for path, status, said in (("/follow?study=absent", 404, "there is no study 'absent'"), ("/follow", 400, "allowed are one"),
                               ("/follow?study=study.db&since=-1", 400, "allowed is a whole number"),
                               ("/table.parquet?study=study.db", 404, "allowed are"), ("/table.csv", 404, "no study ''"),
                               ("/../../etc/passwd", 404, ""), ("/page.html.j2", 404, "")):  # fmt: skip
        answer = ask(server, path)
        assert answer.status_code == status and said in answer.text and answer.headers["content-type"].startswith("text/plain")


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.", "")))


# -- what is streamed --------------------------------------------------------------------------------------------------


def test_the_first_document_is_the_whole_and_the_next_only_what_is_new(serve: Serve, log: Path) -> None:
    stream = documents(serve(log), study="study.db")
    first, study = next(stream), hpo.load(log)
    whole = json.loads(Feed(study.history, study.space, "study.db").document())
    assert first["data"]["rows"] == whole["rows"] and first["data"]["summary"] == whole["summary"] and first["error"] == ""
    job = study.optimizer.ask()
    assert job is not None
    (row,) = next(message["data"]["rows"] for message in stream if message["data"]["rows"])  # its run may come first
    assert (row["t"], row["k"]) == (job.trial, "pending")
    study.optimizer.tell(job, 0.25)
    told = next(stream)["data"]
    assert [(row["t"], row["k"], row["v"]) for row in told["rows"]] == [(job.trial, "done", [0.25])] and "study" not in told


def test_whoever_comes_back_gets_what_was_missed(serve: Serve, log: Path) -> None:
    server, study = serve(log), hpo.load(log)
    first = next(documents(server, study="study.db"))
    job = study.optimizer.ask()
    assert job is not None
    study.optimizer.tell(job, 0.5)
    known = {"since": first["data"]["version"], "epoch": first["epoch"]}
    rows = {row["t"]: row["k"] for row in next(documents(server, study="study.db", **known))["data"]["rows"]}
    assert {*rows} == {job.trial}
    again = next(documents(server, study="study.db", since=known["since"], epoch=known["epoch"] - 1))["data"]
    assert len(again["rows"]) == 7 and "study" in again, "a version of another server counts for nothing"


def test_importance_and_lineage_follow(serve: Serve, studies: Path) -> None:
    found: dict[str, Any] = {}
    for message in messages(serve(studies / "pbt.db"), study="pbt.db"):
        found |= message
        if {"importance", "lineage", "data"} <= {*found}:
            break
    assert {(trial, until) for trial, until, _ in found["lineage"]} == {(row["t"], row["u"]) for row in found["data"]["rows"]}
    assert found["importance"][0]["said"]


LEASED = """
import sys, time, hpo
def f(config):
    print("begun", flush=True)
    time.sleep(900)
    return config["x"]
hpo.minimize(f, {"x": (0.0, 1.0)}, "random", 3, log=sys.argv[1], quiet=True)
"""


def test_drivers_and_their_leases_are_told(serve: Serve, tmp_path: Path) -> None:
    """Who lives, what each has in flight; and that one has been killed."""
    log = tmp_path / "driven.db"
    with subprocess.Popen([sys.executable, "-c", LEASED, log], env=environment(), stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        stream = messages(serve(log), study="driven.db")
        ((number, who, jobs, state),) = next(message["drivers"] for message in stream if message.get("drivers"))
        assert (number, who, jobs) == ("0", f"process {driver.pid}", "trial 0") and state.startswith("alive")
        driver.kill()
        driver.wait()
        dead = next(message["drivers"] for message in stream if message["drivers"][0][3].startswith("dead"))
        assert dead[0][:3] == ["0", f"process {driver.pid}", "trial 0"]


def test_several_studies_in_one_stream(serve: Serve, studies: Path, log: Path) -> None:
    server = serve(studies / "gp.db", studies / "front.db", log, log)
    assert ask(server, "/studies").json() == ["gp.db", "front.db", "study.db", "study.db (2)"]
    named = log.with_name("study.db (2)")
    named.write_bytes(log.read_bytes())
    assert [*Studies([str(named), str(log), str(log)]).places] == ["study.db (2)", "study.db", "study.db (3)"]
    seen: dict[str, Any] = {}
    for message in documents(server, study="gp.db", beside=["front.db", "study.db", "study.db (2)"]):
        seen[message["name"]] = message["data"]
        if len(seen) == 4:
            break
    assert len(seen["gp.db"]["rows"]) == 12 and all("rows" not in seen[name] for name in seen if name != "gp.db")
    assert len(seen["front.db"]["summary"]["steps"]) == 2 and seen["study.db"]["summary"]["results"] == 6


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_tables_to_download(suffix: str, serve: Serve, log: Path) -> None:
    write_table(hpo.load(log).history, log.with_name(f"table.{suffix}"))
    answer = ask(serve(log), f"/table.{suffix}?study=study.db")
    assert answer.content == log.with_name(f"table.{suffix}").read_bytes()
    assert answer.headers["content-disposition"] == f'attachment; filename="study.db.{suffix}"'


def test_a_log_that_goes_and_comes_back(serve: Serve, log: Path) -> None:
    stream = messages(serve(log), study="study.db")
    first = next(message for message in stream if "data" in message)
    kept = log.read_bytes()
    log.write_bytes(b"no log at all, for a while " * 40)
    broken = next(message for message in stream if message["error"])
    assert "study.db" in broken["error"]
    log.unlink()
    log.write_bytes(kept)
    back = next(message for message in stream if "data" in message)
    assert back["epoch"] > first["epoch"] and back["error"] == "" and len(back["data"]["rows"]) == 6


KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size=1")
db.execute("BEGIN IMMEDIATE")
db.execute("CREATE TABLE half (x)")
for _ in range(300):
    db.execute("INSERT INTO half VALUES (zeroblob(10000))")
os._exit(1)
"""


def test_a_driver_that_was_killed_while_it_wrote(serve: Serve, log: Path) -> None:
    """What it left half written is taken back, before the page is opened and while it follows."""
    kill = [sys.executable, "-c", KILLED, str(log)]
    for _ in range(2):
        subprocess.run(kill, check=False)
        assert log.with_name("study.db-journal").stat().st_size, "the journal of a write that never ended"
        server = serve(log)
        assert len(next(documents(server, study="study.db"))["data"]["rows"]) == 6
    stream = messages(server, study="study.db")
    next(message for message in stream if "data" in message)
    subprocess.run(kill, check=False)
    next(stream)
    study = hpo.load(log)
    study.optimizer.ask()
    assert next(message for message in stream if len(message.get("data", {"rows": ()})["rows"]))["error"] == ""


@pytest.mark.parametrize("name", thin(SHARED, 2))
def test_every_kind_of_log_while_several_drivers_write(name: str, place: Path, serve: Serve) -> None:
    where = url(name, place)
    hpo.Study(hpo.Random(SPACE, seed=1), log=where).history.log.close()
    stream = documents(serve(where), study=next(iter(_names(where))))
    rows = {row["t"]: row for row in next(stream)["data"]["rows"]}
    drivers = [subprocess.Popen([sys.executable, "-c", DRIVE, where, "5"], env=environment()) for _ in range(3)]
    while len(rows) < 15 or any(row["k"] != "done" for row in rows.values()):
        update = next(stream)
        assert update["error"] == ""
        rows |= {row["t"]: row for row in update["data"]["rows"]}
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    study = hpo.load(where)
    told = {key[0]: study.trial(key).value for key in study.history.results}
    assert {trial: row["v"][0] for trial, row in rows.items()} == told
    study.history.log.close()


def _names(where: str) -> dict[str, str]:
    from hpo.logs.listing import list_places

    return list_places(where)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_where_the_page_is(log: Path) -> None:
    command = [sys.executable, "-m", "hpo", "serve", str(log), "--port", "0", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        where = json.loads(server.stdout.readline())["url"]
        assert httpx.get(f"{where}studies", timeout=None, trust_env=False).json() == ["study.db"]
        with httpx.stream("GET", f"{where}follow?study=study.db", timeout=None, trust_env=False) as stream:
            next(stream.iter_lines())
            server.terminate()  # while somebody looks
            assert server.wait() in (0, -15) and server.stderr.read() == "", "it ends without a traceback"


def test_bound_elsewhere_the_command_says_what_others_open(commands: Commands, log: Path) -> None:
    first, second = commands.done("serve", log, "--host", "0.0.0.0", "--port", 0, "--seconds", 0).out.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=\S{32}  \(Ctrl-C ends it\)", first)
    assert second == first.split("  ")[0].replace("127.0.0.1", socket.gethostname()) + "  (from other machines)"
    found = commands.document("serve", log, "--host", "0.0.0.0", "--port", 0, "--seconds", 0)
    assert {*found} == {"url", "outer_url"} and commands.document("serve", log, "--port", 0, "--seconds", 0).keys() == {"url"}


def test_what_the_command_refuses(commands: Commands, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(log.parent)
    assert commands.refusal("serve", "absent.db") == "there is no log 'absent.db'"
    assert "a token is 16 to 256 letters" in commands.refusal("serve", "study.db", "--token", "short")
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    for name in ("hpo.serve", "hpo.serve.server"):
        monkeypatch.delitem(sys.modules, name)
    assert "pip install 'hpo-lm[serve]'" in commands.refusal("serve", "study.db")
