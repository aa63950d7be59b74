"""The ledger: lines, what is current, missing and stale, rechecks, claims, the command."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experiments.ledger import Claim, Ledger, Measurement, Verdict, command
from experiments.ledger import measurement as measurement_module
from experiments.ledger.claims import source_of
from experiments.ledger.lines import append_line, read_lines

CODE = ("experiments.ledger.lines:append_line",)
ran: list[int] = []


def square(x: int) -> dict[str, Any]:
    ran.append(x)
    if x < 0:
        raise ValueError(f"{x} is negative")
    return {"y": x * x, "versions": {"numpy": "2"}}


def one(x: int, **more: Any) -> Measurement:
    return Measurement({"x": x}, partial(square, x), **{"sources": CODE, "group": str(x % 2), **more})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ran.clear()
    return Ledger(tmp_path / "below" / "squares.jsonl", [one(x) for x in range(4)])


def said_by(ledger: Ledger, what: str, *arguments: Any) -> tuple[Any, list[str]]:
    said: list[str] = []
    return getattr(ledger, what)(said.append, *arguments), said


def age(ledger: Ledger, digest: str | None = "older", **more: Any) -> None:
    """Rewrites the file as other sources would have left it; None: sources from before digests were recorded."""
    lines = [{**line, "digest": digest, **more} for line in read_lines(ledger.path)]
    lines = [{name: value for name, value in line.items() if value is not None} for line in lines]
    ledger.path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_ledger_of_a_file_lists_each_of_its_measurements_once(ledger: Ledger) -> None:
    """Some are listed no longer: their lines stay, and nothing is missing."""
    ledger.measure(lambda line: None)
    append_line(ledger.path, {"x": 1, "y": 7})
    found = Ledger.of_file(ledger.path, ("x",), lambda x: one(x) if x < 3 else None)
    assert [each.key["x"] for each in found.measurements] == [0, 1, 2] == [*(line["x"] for line in found.latest().values())]
    assert found.list_missing() == [] and sum(1 for _ in read_lines(ledger.path)) == 5
    assert Ledger.of_file(ledger.path.with_name("nothing"), ("x",), one).measurements == []


# -- lines -------------------------------------------------------------------------------------------------------------


def test_a_line_that_was_cut_off_is_passed_over_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"x": 0})
    path.write_text(path.read_text() + '{"x": 1, "y')
    assert [*read_lines(path)] == [{"x": 0}]
    append_line(path, {"x": 2})
    append_line(path, {"x": 3})
    assert [*read_lines(path)] == [{"x": 0}, {"x": 2}, {"x": 3}]
    assert path.read_bytes().count(b"\n") == 4 and [*read_lines(tmp_path / "nothing")] == []


def test_a_line_is_one_write_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda handle, data: calls.append("write") or write(handle, data))
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append("fsync") or fsync(handle))
    append_line(tmp_path / "lines.jsonl", {"x": 0})
    assert calls == ["write", "fsync"]
    with pytest.raises(ValueError, match="JSON"):
        append_line(tmp_path / "lines.jsonl", {"x": float("nan")})
    assert calls == ["write", "fsync"]


# -- measuring ---------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_measured_once(ledger: Ledger) -> None:
    assert [each.key["x"] for each in ledger.list_missing()] == [0, 1, 2, 3]
    assert said_by(ledger, "measure")[0] == (0, 0) and ran == [0, 1, 2, 3]
    assert said_by(ledger, "measure") == ((0, 0), ["0 to measure"]) and ran == [0, 1, 2, 3]
    assert [line["y"] for line in ledger.current().values()] == [0, 1, 4, 9]
    assert all(line["digest"] == one(0).digest for line in read_lines(ledger.path))


@pytest.mark.parametrize("threads", [1, 2])
def test_one_that_fails_is_said_and_the_others_are_measured(threads: int, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "squares.jsonl", [one(-1), one(1), one(2)])
    counts, said = said_by(ledger, "measure", float("inf"), threads)
    assert counts == (1, 0) and "x -1: failed with ValueError: -1 is negative" in said
    assert sorted(line["x"] for line in read_lines(ledger.path)) == [1, 2]
    assert [each.key["x"] for each in ledger.list_missing()] == [-1]


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_begun_when_the_time_is_up(threads: int, ledger: Ledger) -> None:
    assert said_by(ledger, "measure", 0.0, threads)[0] == (0, 4) and not ran and not ledger.path.exists()


def test_measurements_may_have_different_fields_and_lines_of_others_are_left(tmp_path: Path) -> None:
    mixed = [Measurement({"kind": "a", "x": 0}, dict), Measurement({"kind": "b", "x": 0, "z": 1}, lambda: {"y": 2})]
    ledger = Ledger(tmp_path / "mixed.jsonl", mixed)
    append_line(ledger.path, {"kind": "c", "x": 0})
    said_by(ledger, "measure")
    assert [line.get("y") for line in ledger.latest().values()] == [None, 2]
    assert len([*read_lines(ledger.path)]) == 3 and len([*ledger.rows()]) == 2
    with pytest.raises(ValueError, match="1 measurements have the key of another one"):
        _ = Ledger(ledger.path, [mixed[0], mixed[0]]).by_name


def test_the_last_line_by_the_code_as_it_is_now_is_shown(ledger: Ledger) -> None:
    for y, digest in ((1, "older"), (2, one(0).digest), (3, "other")):
        append_line(ledger.path, {"x": 0, "y": y, "digest": digest})
        append_line(ledger.path, {"x": 1, "y": y, "digest": f"{digest}, or not"})
    assert [line["y"] for line in ledger.latest().values()] == [2, 3]
    assert [line["y"] for line in ledger.current().values()] == [2]
    assert [line["y"] for line in ledger.list_stale().values()] == [3]
    assert ledger.warnings() == ["1 of 2 lines is older than the code; --recheck tells whether the code still gives the same."]


def test_without_sources_of_ours_only_the_task_counts(ledger: Ledger) -> None:
    peer, known = one(0, sources=()), one(0, sources=(), task_digest="now")
    assert peer.digest is None and peer.is_current({"x": 0, "y": 1}) and "digest" not in peer.line({"y": 1})
    assert known.is_current({"x": 0}) and known.is_current({"task_digest": "now"})
    assert not known.is_current({"task_digest": "then"}) and known.line({})["task_digest"] == "now"


# -- rechecks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["older", None])
def test_older_lines_count_again_where_a_sample_comes_out_the_same(digest: str | None, ledger: Ledger) -> None:
    said_by(ledger, "measure")
    age(ledger, digest, versions={"numpy": "1"})
    assert len(ledger.list_stale()) == 4
    ran.clear()
    differ, said = said_by(ledger, "recheck")
    assert differ == 0 and ran == [0, 1], "one of each group"
    assert said[0] == "x 0: the same (numpy 1 then, 2 now)" and said[-1].endswith("4 lines of older sources count again")
    assert not ledger.list_missing() and ledger.warnings() == []
    assert {line["measured_by"] for line in read_lines(ledger.path)} == {digest or measurement_module.UNKNOWN}
    age(ledger, "yet others")
    said_by(ledger, "recheck")
    assert {line["measured_by"] for line in read_lines(ledger.path)} == {digest or measurement_module.UNKNOWN}


def test_what_differs_stays_as_it_is(ledger: Ledger) -> None:
    said_by(ledger, "measure")
    age(ledger)
    ledger.path.write_text(ledger.path.read_text().replace('"y": 1,', '"y": 1.0000000000000002,'))
    before = [*read_lines(ledger.path)]
    differ, said = said_by(ledger, "recheck")
    assert differ == 1 and said[1].startswith("x 1: differs in y") and "2 lines of older sources count again" in said[2]
    assert [*read_lines(ledger.path)][1::2] == before[1::2], "the group of x = 1 and 3"
    assert [each.key["x"] for each in ledger.list_missing()] == [1, 3]


def test_a_task_that_is_defined_anew_is_no_sample(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "squares.jsonl", [one(0, task_digest="now")])
    append_line(ledger.path, {"x": 0, "y": 0, "digest": "older", "task_digest": "then"})
    assert ledger.samples() == [] and len(ledger.list_stale()) == 1


def test_only_what_was_replaced_is_dropped(ledger: Ledger) -> None:
    said_by(ledger, "measure")
    age(ledger)
    assert ledger.prune() == 0
    said_by(ledger, "measure")
    assert len([*read_lines(ledger.path)]) == 8
    append_line(ledger.path, {"somebody": "else"})
    assert ledger.prune() == 0, "the file holds lines that are not listed here"
    ledger.path.write_text("\n".join(ledger.path.read_text().splitlines()[:-1]) + "\n")
    assert ledger.prune() == 4 and not ledger.list_missing() and len([*read_lines(ledger.path)]) == 4


# -- claims ------------------------------------------------------------------------------------------------------------

LEAST = 0


def is_positive(lines: Sequence[Mapping[str, Any]]) -> Verdict:
    least = min(line["y"] for line in lines)
    return Verdict(least >= LEAST, f"the least is {least}")


def test_a_claim_has_a_verdict_and_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "claimed.py"
    text = (
        "from experiments.ledger import Verdict\nLEAST = 0\n\n\ndef rule(lines):\n"
        "    return Verdict(all(line['y'] >= LEAST for line in lines), 'seen')\n"
    )
    module.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "claimed", raising=False)
    import claimed  # type: ignore[import-not-found]

    claim = Claim("squares are not negative", is_positive)
    assert claim.judge([]) == ["squares are not negative -> open: nothing is measured yet"]
    assert claim.judge([{"y": 4}, {"y": 1}]) == ["squares are not negative -> holds: the least is 1"]
    assert claim.judge([{"y": -1}]) == ["squares are not negative -> does not hold: the least is -1"]
    assert source_of(claimed.rule) == "claimed:rule"
    assert len({claim.digest, Claim("others", is_positive).digest, Claim(claim.sentence, claimed.rule).digest}) == 3
    with pytest.raises(ValueError, match="made with def at the top of a module"):
        _ = Claim("", lambda lines: Verdict(True, "")).digest


def test_lines_say_for_which_claims_they_were_measured(tmp_path: Path) -> None:
    claim, changed = Claim("squares are not negative", is_positive), Claim("squares are positive", is_positive)
    ledger = Ledger(tmp_path / "squares.jsonl", [one(1), one(2)], claims=[claim])
    said_by(ledger, "measure")
    lines = [*read_lines(ledger.path)]
    assert all(line["claims"] == [claim.digest] for line in lines) and len(claim.judge(lines)) == 1
    assert changed.judge(lines)[1] == "  (2 of 2 lines were measured before this claim was what it is)"


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_measures_rechecks_and_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_DATA", "somewhere")
    seen: list[str] = []

    def opened(path: Path) -> Ledger:
        seen.append(os.environ["HPO_DATA"])
        return Ledger(path, [one(x) for x in (1, 2)], claims=[Claim("squares are not negative", is_positive)])

    def report(ledger: Ledger) -> str:
        return f"sum {sum(line['y'] for line in ledger.latest().values())}"

    app = command("Squares.", tmp_path / "squares.jsonl", opened, report)
    call = partial(CliRunner().invoke, app)
    assert "nothing is measured yet" in call(["--table"]).output and "2 are left" in call(["--seconds", "0"]).output
    done = call(["--data", str(tmp_path)])
    assert done.exit_code == 0 and "sum 5" in done.output and "-> holds: the least is 1" in done.output
    assert seen[-1] == str(tmp_path) and call(["--data", str(tmp_path / "nothing")]).exit_code == 2
    age(opened(tmp_path / "squares.jsonl"))
    assert "2 of 2 lines are older than the code; --recheck tells whether" in call(["--table"]).output
    assert call(["--recheck"]).exit_code == 0 and "older than the code" not in call(["--table"]).output
    other = call(["--results", str(tmp_path / "other.jsonl")])
    assert other.exit_code == 0 and len([*read_lines(tmp_path / "other.jsonl")]) == 2
    monkeypatch.setattr(Ledger, "measure", interrupted)
    assert call([]).exit_code == 130


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_failure_is_an_exit_code(tmp_path: Path) -> None:
    app = command("Squares.", tmp_path / "squares.jsonl", lambda path: Ledger(path, [one(-1)]), lambda ledger: "")
    assert CliRunner().invoke(app, []).exit_code == 1
