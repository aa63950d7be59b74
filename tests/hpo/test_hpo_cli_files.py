"""hpo export, import, plot, report, delete, score, replay: files beside a log, and what changes nothing in it."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hpo
from hpo.analysis.belief import score_config
from hpo.analysis.export import to_json
from hpo.cli.files import KINDS
from tests.hpo.commands import NAMES, SPACE_JSON, Commands, environment, write_json

HAS_PARQUET = importlib.util.find_spec("pyarrow") is not None


@pytest.mark.parametrize("name", NAMES)
def test_export(name: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    study = hpo.load(studies / f"{name}.db")
    rows = study.rows()
    for suffix in ("csv", "json"):
        path = tmp_path / f"table.{suffix}"
        assert commands.document("export", studies / f"{name}.db", path) == {"file": str(path), "rows": len(rows)}
        assert commands.done("export", studies / f"{name}.db", path).out == f"{path}: {len(rows)} rows\n"
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    objects = json.loads((tmp_path / "table.json").read_text())
    assert [*cells[0]] == [*study.dataframe().columns] and len(cells) == len(objects) == len(rows)
    for row, cell, found in zip(rows, cells, objects, strict=True):
        assert found["started"] == row["started"].isoformat() and found.keys() == row.keys()
        for key, value in row.items():
            if key not in ("started", "finished", "source"):
                assert found[key] == value and cell[key] == ("" if value is None else str(value))


def test_export_as_parquet(commands: Commands, studies: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    if HAS_PARQUET:
        commands.done("export", studies / "pbt.db", path)
        import pandas

        there, mine = pandas.read_parquet(path), hpo.load(studies / "pbt.db").dataframe()
        assert list(there["loss"]) == list(mine["loss"]) and list(there.columns) == list(mine.columns)
    else:
        assert "parquet needs pandas and pyarrow" in commands.refusal("export", studies / "pbt.db", path)
        assert not path.exists()


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_what_was_exported_is_imported(suffix: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    table, log = tmp_path / f"table.{suffix}", tmp_path / "log.db"
    commands.done("export", studies / "asha.db", table)
    told = ["--space", studies / "space.json", "--budget", "until", "--horizon", 9, "--optimizer", "gp"]
    said = commands.document("import", table, log, *told)
    old, new = hpo.load(studies / "asha.db"), hpo.load(log)
    assert said["results"] == len(old.history.results)
    pairs = [[(job.config, key[1], study.history.results[key].metrics["loss"]) for key, job in sorted(study.history.jobs.items())]
             for study in (old, new)]  # fmt: skip
    assert pairs[0] == pairs[1] and new.best.value == old.best.value
    assert commands.done("ask", log).document["trial"] == len(pairs[1])
    assert "holds a study already" in commands.refusal("import", table, log, *told)


def test_failures_are_imported_as_failures(commands: Commands, studies: Path, tmp_path: Path) -> None:
    commands.done("export", studies / "failing.db", tmp_path / "t.csv")
    out = commands.done("import", tmp_path / "t.csv", tmp_path / "log.db", "--space", studies / "space.json").out
    old, new = hpo.load(studies / "failing.db").history, hpo.load(tmp_path / "log.db").history
    assert [old.is_failure(key) for key in sorted(old.results)] == [new.is_failure(key) for key in sorted(new.results)]
    assert out.startswith(f"{tmp_path / 'log.db'}: 8 results, best ")


ROW = "lr,layers,norm,loss\n0.1,1,layer,1\n"
WRONG: dict[str, tuple[str | None, list[str]]] = {
    "absent": (None, []), "empty": ("", []), "no column": ("lr,layers,norm\n0.1,1,layer\n", []),
    "no rows": ("lr,layers,norm,loss\n", []), "outside": ("lr,layers,norm,loss\n5,1,layer,1\n", []),
    "budget": (ROW, ["--budget", "epoch"]), "optimizer": (ROW, ["--optimizer", "gpp"]),
    "direction": (ROW, ["--objective", "loss=up"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tables(name: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    text, options = WRONG[name]
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    commands.refusal("import", tmp_path / "t.csv", tmp_path / "log.db", "--space", studies / "space.json", *options)
    assert not (tmp_path / "log.db").exists()


def test_a_broken_json_table(commands: Commands, studies: Path, tmp_path: Path) -> None:
    for text in ('{"lr": ', "3", "[1]", "[]"):
        (tmp_path / "t.json").write_text(text)
        commands.refusal("import", tmp_path / "t.json", tmp_path / "log.db", "--space", studies / "space.json")


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_plot(kind: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    name = {"pareto": "front", "lineage": "pbt", "curves": "asha"}.get(kind, "gp")
    path = tmp_path / "picture.svg"
    assert commands.document("plot", studies / f"{name}.db", path, "--kind", kind) == {"file": str(path), "kind": kind}
    assert "<svg" in path.read_text()


def test_plot_one_of_several(commands: Commands, studies: Path, tmp_path: Path) -> None:
    commands.done("plot", studies / "front.db", tmp_path / "p.png", "--objective", "size")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_report(commands: Commands, studies: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert commands.document("report", studies / "asha.db", path, "--title", "A & B") == {"file": str(path)}
    assert "A &amp; B" in path.read_text()
    assert commands.done("report", studies / "asha.db", path).out == f"{path}\n"


# -- delete ------------------------------------------------------------------------------------------------------------


def test_delete(commands: Commands, studies: Path, tmp_path: Path) -> None:
    log, other = (shutil.copy(studies / "gp.db", tmp_path / name) for name in ("log.db", "other.db"))
    assert commands.document("delete", log, "--yes") == {"deleted": str(log), "results": 12}
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    assert commands.done("delete", f"sqlite:///{other}", "--yes").out == f"deleted: {other}, 12 results\n"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 1), ("", 130)])
def test_delete_asks_at_a_terminal(typed: str, status: int, studies: Path, tmp_path: Path) -> None:
    log = shutil.copy(studies / "gp.db", tmp_path / "log.db")
    call = f"import sys; sys.stdin.isatty = lambda: True; from hpo.cli import main; sys.exit(main(['delete', {str(log)!r}]))"
    command = [sys.executable, "-c", call]
    done = subprocess.run(command, input=typed, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == status and f"Delete {log} with 12 results?" in done.stderr
    assert Path(log).exists() == (status != 0)


# -- score, replay -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gp", "asha", "bounds"])
def test_score(name: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    log = shutil.copy(studies / f"{name}.db", tmp_path / "log.db")
    before, study = Path(log).read_bytes(), hpo.load(log)
    for file in ("good.json", "bad.json"):
        config = json.loads((studies / file).read_text())
        said, belief = commands.document("score", log, studies / file), score_config(study.optimizer, study.history, config)
        assert said["config"] == config and said["better"] == belief.better and said["place"] == belief.place
        assert said["values"]["loss"] == to_json(belief.values["loss"]._asdict())
        assert (said["feasible"] is None) == (name != "bounds")
        text = commands.done("score", log, studies / file).out
        assert "95 % between" in text and "P(better than the best): " in text and "rank: " in text
    assert Path(log).read_bytes() == before


def test_score_from_stdin(studies: Path) -> None:
    command = [sys.executable, "-m", "hpo", "score", "gp.db", "-", "--json"]
    text = (studies / "good.json").read_text()
    done = subprocess.run(command, input=text, cwd=studies, env=environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["config"] == json.loads(text)


def test_score_of_what_was_tried(commands: Commands, studies: Path, tmp_path: Path) -> None:
    best = hpo.load(studies / "gp.db").best
    text = commands.done("score", studies / "gp.db", write_json(tmp_path / "best.json", dict(best.config))).out
    assert f"tried already: trial {best.number} at 1" in text and "P(better than the best): 0\n" in text


@pytest.mark.parametrize("name", ["pbt", "front", "failing"])
def test_score_without_a_model(name: str, commands: Commands, studies: Path, tmp_path: Path) -> None:
    config = write_json(tmp_path / "c.json", {"x": 0.5}) if name == "pbt" else studies / "good.json"
    assert "has no model" in commands.refusal("score", studies / f"{name}.db", config, status=1)


@pytest.mark.parametrize("name", NAMES)
def test_replay(name: str, commands: Commands, studies: Path) -> None:
    jobs = sum(event.kind == "start" for event in hpo.load(studies / f"{name}.db").history.events)
    assert commands.document("replay", studies / f"{name}.db") == {"jobs": jobs, "same": jobs, "different": []}
    assert commands.done("replay", studies / f"{name}.db").out == f"{jobs} of {jobs} jobs are the same\n"


def test_replay_of_what_came_out_differently(commands: Commands, tmp_path: Path) -> None:
    """A job that no optimizer has proposed stands in the log."""
    study = hpo.Study(hpo.Random({"x": (0.0, 1.0)}), log=tmp_path / "log.db")
    study.optimizer.ask()
    job = hpo.Job(1, {"x": 0.25}, 1, seed=7)
    study.history.start(job, len(study.history))
    said = commands("replay", tmp_path / "log.db", "--json")
    assert said.status == 1 and said.document["same"] == 1
    (pair,) = said.document["different"]
    assert pair["was"]["config"] == {"x": 0.25} and pair["now"]["config"] != {"x": 0.25}
    assert "came out as trial 1 until 1" in commands("replay", tmp_path / "log.db").out


# -- several studies in one database -----------------------------------------------------------------------------------


def test_several_studies_in_a_database(commands: Commands, tmp_path: Path) -> None:
    space = write_json(tmp_path / "space.json", SPACE_JSON)
    url = f"sqlite:///{tmp_path / 'all.db'}"
    for name in ("one", "a%26b%20c"):
        commands.done("ask", f"{url}?study={name}", "--new", space, "--optimizer", "random")
    commands.done("tell", f"{url}?study=one", 0, 0.5)
    for place in (url, tmp_path / "all.db"):
        found = {one["study"]: one["summary"] for one in commands.document("studies", place)}
        assert found == {"one": "best 0.5 (trial 0)", "a&b c": "no success yet"}
    commands.done("delete", f"{url}?study=one", "--yes")
    assert [one["study"] for one in commands.document("studies", url)] == ["a&b c"]
    commands.refusal("show", f"{url}?study=one")
