"""Trackers: what each has written, read back by its own package, is the study, once; and nothing leaves the machine."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

import hpo
from hpo import ASHA, Inline, Random, Stop, Study
from hpo.integrations.tables import import_table
from hpo.integrations.trackers import CSV, Diary, Finish, Tracker, list_orphans, study_identity
from hpo.job import Key
from tests.hpo.trackers import TRACKERS, Found, single

SPACE = hpo.Space(x=hpo.Float(0, 1), norm=hpo.Categorical(["layer", "rms"]))
each = pytest.mark.parametrize("name", TRACKERS)


def train(config: dict[str, Any], report: Any) -> None:
    for step in range(1, 10):
        if step == (1 if config["x"] > 0.8 else 2) and (config["x"] > 0.8 or config["norm"] == "layer"):
            raise ValueError("diverged, [badly]")
        report(step, {"loss": config["x"] + 1 / step, "size": 8.0 * step})


def asha() -> ASHA:
    return ASHA(Random(SPACE, seed=4), max_resource=9)


def search(log: Path, trials: int, *watch: Any) -> Study:
    return hpo.minimize(train, SPACE, asha(), trials, log=log, unit="epochs", quiet=True, catch=ValueError, watch=watch)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """Whatever would leave this machine is refused, noted, and fails the test. Weights & Biases' own process, which is not
    Python, is told that its server is a socket here, where nobody may call."""
    calls: list[Any] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def is_far(host: Any) -> bool:
        return isinstance(host, str) and host not in ("localhost", "127.0.0.1", "::1", "")

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and is_far(address[0]):
            calls.append(address)
            raise OSError("this test has no network")
        connect(self, address)

    def guarded_names(host: Any, *rest: Any, **options: Any) -> Any:
        if is_far(host):
            calls.append(host)
            raise OSError("this test has no network")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_names)
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio", raising=False)
    yield calls
    with pytest.raises(BlockingIOError):
        server.accept()
    server.close()
    assert calls == []


@pytest.fixture(autouse=True)
def trackio_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """trackio reads where its files stand when it is imported."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    try:
        import trackio
    except ImportError:
        return
    import sys

    for module in [one for name, one in sys.modules.items() if name.partition(".")[0] == "trackio"]:
        for variable, tail in (("TRACKIO_DIR", ""), ("MEDIA_DIR", "media"), ("ARTIFACTS_DIR", "artifacts")):
            if hasattr(module, variable):
                monkeypatch.setattr(module, variable, tmp_path / "trackio" / tail)
    assert trackio


def check(name: str, found: Found, study: Study) -> None:
    """The law: every trial with its configuration, every point of its curve and every metric at its budgets once."""
    history = study.history
    assert sorted(found) == sorted(history.trials)
    for trial, keys in history.trials.items():
        there, last = found[trial], keys[-1]
        config = history.jobs[last].config
        assert there.config == {"x": pytest.approx(config["x"]), "norm": config["norm"]}
        wanted: Counter[tuple[str, int, float]] = Counter()
        good = [key for key in keys if not history.is_failure(key)]
        curve = {key[1]: history.results[key].metrics["loss"] for key in good}
        curve |= dict(study.curve(last)) if name != "csv" else {}
        for step, value in curve.items():
            wanted["loss", step, value] = 1
        for key in keys:
            if "size" in history.results[key].metrics:
                wanted["size", key[1], history.results[key].metrics["size"]] = 1
        if name == "tensorboard":
            wanted = Counter({(metric, step, single(value)): count for (metric, step, value), count in wanted.items()})
        assert Counter({point: count for point, count in there.points.items() if point[0] in ("loss", "size")}) == wanted, trial
        if name != "tensorboard":
            assert (there.state == "failed") == history.is_failure(last)


@each
def test_what_is_written_is_the_study_once(name: str, tmp_path: Path) -> None:
    """A study with rungs and failures that is resumed by another process's tracker, and was begun without one."""
    make, read = TRACKERS[name]
    log = tmp_path / "s.db"
    search(log, 2)
    first = search(log, 6, make(tmp_path))
    assert len(first.history.budgets) == 3 and any(map(first.history.is_failure, first.history.results)), "it is a hard case"
    check(name, read(tmp_path), first)
    second = search(log, 9, make(tmp_path))
    check(name, read(tmp_path), second)
    assert make(tmp_path).export(second) == 0, "nothing is left to write"
    check(name, read(tmp_path), second)


@each
def test_a_stored_study_is_exported(name: str, tmp_path: Path) -> None:
    make, read = TRACKERS[name]
    study = search(tmp_path / "s.db", 5)
    loaded = hpo.load(tmp_path / "s.db")
    assert make(tmp_path).export(loaded) == len(study.history.results)
    check(name, read(tmp_path), study)


@each
def test_two_studies_stand_beside_each_other(name: str, tmp_path: Path) -> None:
    """In one file, folder, server or project."""
    if name == "trackio":
        pytest.skip("its reader knows one study")
    make, _ = TRACKERS[name]
    tracker = make(tmp_path)
    for seed in (0, 1):
        log = tmp_path / f"{seed}.db"
        optimizer = ASHA(Random(SPACE, seed=seed), max_resource=9)
        hpo.minimize(train, SPACE, optimizer, 3, log=log, quiet=True, watch=tracker, catch=ValueError)
    for seed in (0, 1):
        assert make(tmp_path).export(hpo.load(tmp_path / f"{seed}.db")) == 0


def test_mlflow_is_read_back_by_import_table(tmp_path: Path) -> None:
    make, _ = TRACKERS["mlflow"]
    tracker = make(tmp_path)
    study = search(tmp_path / "s.db", 6, tracker)
    from mlflow.tracking import MlflowClient

    client, rows = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), []
    (home,) = [home for home in client.search_experiments() if home.name != "Default"]
    for run in client.search_runs([home.experiment_id]):  # as mlflow.search_runs has it, which the skinny package leaves out
        params = {f"params.{name}": value for name, value in run.data.params.items()}
        metrics = {f"metrics.{name}": value for name, value in run.data.metrics.items()}
        rows.append({"status": run.info.status, **params, **metrics})
    check_import(pandas.DataFrame(rows), study)


def test_wandb_is_read_back_by_import_table(tmp_path: Path) -> None:
    make, read = TRACKERS["wandb"]
    study = search(tmp_path / "s.db", 6, make(tmp_path))
    found = read(tmp_path).values()
    rows = [{"config": one.config, "summary": one.summary, "state": one.state, "name": "a"} for one in found]
    check_import(pandas.DataFrame(rows), study)


def check_import(frame: pandas.DataFrame, study: Study) -> None:
    """The last result of every trial comes back."""
    back = import_table(frame, SPACE, asha(), objectives=["loss"], budget="until", horizon=9).history
    wanted = {}
    for keys in study.history.trials.values():
        config, result = study.history.jobs[keys[-1]].config, study.history.results[keys[-1]]
        wanted[round(config["x"], 9)] = (keys[-1][1], config["norm"], result.metrics.get("loss"), result.error is None)
    found = {round(back.jobs[key].config["x"], 9): (key[1], back.jobs[key].config["norm"], back.results[key].metrics.get("loss"),
                                                    back.results[key].error is None) for key in back.results}  # fmt: skip
    assert {x: row for x, row in found.items() if row[3]} == {x: row for x, row in wanted.items() if row[3]}
    assert {x for x, row in found.items() if not row[3]} == {x for x, row in wanted.items() if not row[3]}


def test_csv_is_read_back_by_import_table(tmp_path: Path) -> None:
    study = search(tmp_path / "s.db", 6, CSV(tmp_path / "t.csv"))
    back = import_table(tmp_path / "t.csv", SPACE, asha(), objectives=["loss"], budget="until", horizon=9).history
    assert len(back.results) == len(study.history.results)
    frame = pandas.read_csv(tmp_path / "t.csv").drop(columns="study").sort_values(["trial", "until"]).reset_index(drop=True)
    theirs = study.dataframe()
    assert {*frame.columns} == {*theirs.columns}
    for column in ("trial", "until", "loss", "size", "config.x", "seed"):
        assert frame[column].to_list() == pytest.approx(theirs[column].to_list(), nan_ok=True), column


# -- the table of CSV, and what every tracker has of Tracker ---------------------------------------------------------------


def test_a_metric_that_comes_later_is_a_new_column(tmp_path: Path) -> None:
    def f(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": config["x"], **({"late": 1.0} if len(seen) > 2 else {})}

    seen: list[Key] = []
    path = tmp_path / "t.csv"
    watch = [CSV(path), lambda study, key: seen.append(key) if key else None]
    study = hpo.minimize(f, SPACE, "random", 6, quiet=True, watch=watch)
    frame = pandas.read_csv(path)
    assert frame["late"].isna().tolist() == [True] * 3 + [False] * 3 and len(frame) == len(study.history.results)


def test_a_row_that_was_cut_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    search(tmp_path / "s.db", 4, CSV(path))
    path.write_bytes(path.read_bytes()[:-20])  # killed while it wrote
    study = search(tmp_path / "s.db", 5, CSV(path))
    assert len(pandas.read_csv(path)) == len(study.history.results)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.warns(UserWarning, match=r"the watcher CSV raised ValueError: the file .* is no table of a study"):
        study = search(tmp_path / "s.db", 3, CSV(path))
    assert path.read_text() == "a,b\n1,2\n" and len(study.history.results) >= 3


def test_texts_with_commas_quotes_and_lines_survive(tmp_path: Path) -> None:
    def f(config: dict[str, Any]) -> float:
        raise ValueError('a "quoted",\nword; ü')

    with pytest.raises(RuntimeError):
        hpo.minimize(f, SPACE, "random", 3, quiet=True, watch=CSV(tmp_path / "t.csv"))
    assert 'a "quoted",\nword; ü' in pandas.read_csv(tmp_path / "t.csv")["error"][0]


class Moody(Tracker):
    """Fails for a while, and for ever on trial 3."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Key] = []
        self.closed = 0

    def open(self, study: Study) -> list[Key]:
        return list(self.written)

    def write(self, study: Study, done: Finish) -> None:
        if len(study.history.results) == 2 or done.key[0] == 3:
            raise ConnectionError("nobody answers")
        self.written.append(done.key)

    def close(self) -> None:
        self.closed += 1


def test_what_failed_is_tried_again_and_does_not_stop_the_rest() -> None:
    moody = Moody()
    with pytest.warns(UserWarning, match="the watcher Moody raised ConnectionError: nobody answers"):
        hpo.minimize(lambda config: config["x"], SPACE, "random", 6, quiet=True, watch=moody)
    assert moody.written == [(0, 1), (1, 1), (2, 1), (4, 1), (5, 1)] and moody.closed == 1


def test_each_driver_writes_what_it_has_finished(tmp_path: Path) -> None:
    """Two at once on one log, each with a file of its own, and both with one that they share."""
    log, both = tmp_path / "s.db", threading.Barrier(2)

    def f(config: dict[str, Any]) -> float:
        if both.n_waiting or not met:  # so that both have a first trial
            met.append(both.wait())
        return float(config["x"])

    met: list[int] = []
    studies = [Study(Random(SPACE, seed=1), log=log) for _ in range(2)]
    own = [tmp_path / f"{place}.csv" for place in range(2)]

    def drive(place: int) -> None:
        hpo.run(studies[place], Inline(f), Stop(12), [CSV(own[place]), CSV(tmp_path / "shared.csv")])

    threads = [threading.Thread(target=drive, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [pandas.read_csv(path)["trial"].to_list() for path in own]
    assert rows[0] and rows[1] and not {*rows[0]} & {*rows[1]} and sorted(rows[0] + rows[1]) == list(range(12))
    assert sorted(pandas.read_csv(tmp_path / "shared.csv")["trial"]) == list(range(12))


def test_orphans_are_all_results_but_those_of_others_that_live(tmp_path: Path) -> None:
    study = search(tmp_path / "s.db", 4)
    assert list_orphans(study.history) == list(study.history.results), "nobody lives any more"


def test_a_study_is_known_wherever_its_log_stands(tmp_path: Path) -> None:
    study, other = search(tmp_path / "s.db", 3), search(tmp_path / "t.db", 3)
    before = study_identity(study.history)
    study.history.log.close()
    (tmp_path / "s.db").rename(tmp_path / "moved.db")
    assert study_identity(hpo.load(tmp_path / "moved.db").history) == before != study_identity(other.history)


def test_a_diary_of_several_studies_with_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "d.txt"
    Diary(path, "a").append((3, 9))
    Diary(path, "b").append((4, 1))
    with path.open("a") as file:
        file.write("a 5")
    assert Diary(path, "a").read() == {(3, 9)} and Diary(tmp_path / "none", "a").read() == set()


MISSING = {"tensorboard": ("tensorboard", "TensorBoard"), "mlflow": ("mlflow", "MLflow"), "wandb": ("wandb", "WandB"),
           "trackio": ("trackio", "Trackio")}  # fmt: skip


@pytest.mark.parametrize("module", MISSING)
def test_without_its_package_one_sentence_names_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    package, name = MISSING[module]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package} is not installed; pip install 'hpo-lm\[{module}\]'"):
        getattr(import_module(f"hpo.integrations.{module}"), name)()


def test_a_wrong_mode_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from hpo.integrations.wandb import WandB

    with pytest.raises(ValueError, match="mode is 'of'; allowed are"):
        WandB(mode="of")
