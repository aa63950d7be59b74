"""The command itself: really run on a tiny text, interrupted, resumed, refused.

How long it runs is a number of trials: seconds would be those of the machine that the tests run on.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hpo
from experiments.job import default, space
from experiments.tune.build import load_text, make_objective, text_digest
from experiments.tune.folder import TEXT, Folder
from experiments.tune.machine import versions
from experiments.tune.memory import memory_room
from experiments.tune.optimizer import make_optimizer
from experiments.tune.prepare import complete
from experiments.tune.settings import Settings
from hpo.executors.checkpoints import checkpoint_name
from tests.hpo.browser import Visit, chromium  # noqa: F401 - a fixture
from tests.pages import run_here

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = ["--context", "16", "--min-resource", "512", "--horizon", "4608", "--workers", "1", "--sampler", "random"]
TRIALS = ["--trials", "5", "--seconds", "100000"]
HANG = 900  # seconds after which a test that would never end is ended
LEFT = ("log.sqlite", "settings.toml", "search.json", "best.json", "best.ckpt", "sample.txt", "report.html")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    path.write_text("the quick brown fox jumps over the lazy dog, <b>&amp; so on</b>\n" * 60)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "experiments.tune", *map(str, arguments)]


def environment(tmp: Path) -> dict[str, str]:
    return {**os.environ, "HPO_CACHE": str(tmp / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def tune(tmp: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=tmp, env=environment(tmp), capture_output=True, text=True, timeout=HANG, check=False
    )


def tune_here(tmp: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, which has imported torch already; its workers are processes as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp)
        patch.setenv("HPO_CACHE", str(tmp / "cache"))
        return run_here("experiments.tune", *map(str, arguments))


def results(folder: Path) -> dict[tuple[int, int], str]:
    study = hpo.load(folder / "log.sqlite")
    told = {key: str(result) for key, result in study.history.results.items()}
    study.history.log.close()
    return told


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the command has run to its end."""
    tmp = tmp_path_factory.mktemp("finished")
    done = tune(tmp, "--text", text, "--folder", "run", *TRIALS, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "report: run/report.html" in done.stdout and "handed over is " in done.stdout
    return tmp


def test_it_leaves_everything(finished: Path) -> None:
    there = {path.name for path in (finished / "run").iterdir()}
    assert {*LEFT, "checkpoints"} <= there
    assert not [name for name in there if name.endswith(".half")]
    best = json.loads((finished / "run/best.json").read_text())
    assert space().check(best["config"]) == best["config"]
    assert (best["trial"], best["until"]) in results(finished / "run")
    assert best["reason"] == "judged" and best["judged"]["judged_loss"] > 0
    assert len((finished / "run/sample.txt").read_text()) > 1000


def test_the_default_and_the_best_few_were_trained_to_the_end_and_nothing_better_was_left_aside(finished: Path) -> None:
    there = {trial for trial, until in results(finished / "run") if until == 4608}
    judged = json.loads((finished / "run/search.json").read_text())["judgements"]
    assert 0 in there and len(there) >= 3 and {entry["trial"] for entry in judged} <= there
    assert all(entry["until"] == 4608 and len(entry["parts"]) >= 3 for entry in judged)
    losses = {entry["trial"]: sum(entry["parts"]) / len(entry["parts"]) for entry in judged}
    best = json.loads((finished / "run/best.json").read_text())
    assert best["judged"]["judged_loss"] == pytest.approx(min(losses.values())) and min(losses.values()) <= losses[0]
    study = hpo.load(finished / "run/log.sqlite")
    assert study.history.phase == "finals" and study.history.events[-1].kind == "finish"
    study.history.log.close()


def test_in_next_to_no_time_nothing_worse_than_the_default_is_handed_over(tmp_path: Path, text: Path) -> None:
    """However little the machine gets done: the default itself, or what was judged beside it."""
    done = tune_here(tmp_path, "--text", text, "--folder", "run", "--seconds", 0.01, *SMALL)
    assert done.returncode == 0, done.stderr
    best = json.loads((tmp_path / "run/best.json").read_text())
    assert best["reason"] == "default" or best["judged"].get("below_the_default", [0.0])[0] >= 0.0
    assert (best["reason"] == "default") == ("it was not trained to 4,608 tokens" in done.stdout)


@pytest.mark.slow
def test_a_budget_of_disk_changes_no_result(finished: Path, tmp_path: Path, text: Path) -> None:
    """As little as that allows only what must stay; what is handed over is among it."""
    done = tune(tmp_path, "--text", text, "--folder", "run", *TRIALS, *SMALL, "--disk", "1kB")
    assert done.returncode == 0 and "disk allows 1,000 bytes of checkpoints" in done.stderr, done.stderr
    found, usual = (hpo.load(folder / "run/log.sqlite") for folder in (tmp_path, finished))
    losses = [{key: one.metrics["loss"] for key, one in study.history.results.items()} for study in (found, usual)]
    assert losses[0] == losses[1] and (tmp_path / "run/best.ckpt").exists()
    for study in (found, usual):
        study.history.log.close()


def test_the_report_is_one_self_contained_file(finished: Path) -> None:
    page = (finished / "run/report.html").read_text()
    assert not re.search(r"https?://|\bsrc=|url\((?!#)|@import|<link", page)
    assert {"history", "curves", "trials"} <= {*re.findall(r'data-panel="(\w+)"', page)}
    assert "<b>&amp; so on" not in page.replace("&lt;b&gt;&amp;amp; so on", "")  # the sample is escaped
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]\b", page)  # no placeholder colour was left
    assert str(ROOT) not in page.replace(sys.executable, "")  # which is what has it again
    assert f"<pre>{html.escape(sys.executable)} -m experiments.tune --text" in page


def test_the_same_command_again_says_finished(finished: Path, text: Path) -> None:
    before = results(finished / "run")
    again = tune_here(finished, "--text", text, "--folder", "run", *TRIALS, *SMALL)
    assert again.returncode == 0, again.stderr
    assert "is finished; go on with more: --seconds 200000 --trials 10" in again.stdout
    assert results(finished / "run") == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seed", 1], "seed was 0 and is now 1"),
        (["--scheduler", "median"], "scheduler was 'asha' and is now 'median'"),
        (["--space", "wide"], "space was 'standard' and is now 'wide'"),
        (["--memory", 10**9], "and is now 1000000000"),
        (["--activation-checkpointing"], "activation_checkpointing was False and is now True"),
    ],
)
def test_other_settings_are_refused(finished: Path, text: Path, flags: list[object], said: str) -> None:
    refused(tune_here(finished, "--text", text, "--folder", "run", *SMALL, *flags), said)


def test_another_text_of_the_same_name_is_refused(finished: Path, text: Path) -> None:
    settings = finished / "run/settings.toml"
    kept = settings.read_text()
    settings.write_text(re.sub(r'text_digest = "\w+"', 'text_digest = "0"', kept))
    refused(tune_here(finished, "--config", "run/settings.toml"), "the content of the text")
    settings.write_text(kept)


def test_two_at_once_are_refused(finished: Path) -> None:
    with open(finished / "run/.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(tune(finished, "--config", "run/settings.toml"), "another run is working in 'run'")


def refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    """One sentence on stderr that says so, nothing on stdout, exit code 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("tune: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sped", "3"], "--sped"),
        (["--seconds", "long"], "--seconds"),
        (["--sampler", "magic"], "sampler is 'magic', but must be one of manual, grid, random, narrowing, sobol, gp"),
        (["--scheduler", "gp"], "scheduler is 'gp', but must be one of none, "),
        (["--text", "no.txt"], "no corpus or file is named 'no.txt'"),
        (["--text", "empty.txt"], "corpus 'empty.txt' is empty"),
        (["--text", "short.txt"], "but context 64 needs 65"),
        (["--config", "no.toml"], "the settings file 'no.toml' does not exist"),
        (["--config", "odd.toml"], "unknown setting 'speed'"),
        (["--device", "cuda:99"], "device is 'cuda:99', but this machine has "),
        (["--folder", "empty.txt"], "the folder 'empty.txt' cannot be used"),
        (["--space", "huge"], "space is 'huge', but must be one of standard, wide"),
        (["--memory", "8GB"], "--memory"),
        (["--memory", "0"], "memory is 0, but must be a whole number of at least 1"),
        (["--memory", "1000000"], "memory is 1000000, but must be at least "),
        (["--workers", "1000000"], "workers is 1000000, but must be at most "),
        (["--engine", "fast"], "engine is 'fast', but must be one of eager, graph, compile"),
        (["--engine", "graph"], "engine is 'graph', but must be eager or compile on the cpu"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, flags: list[str], said: str) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "odd.toml").write_text("speed = 3\n")
    (tmp_path / "long.txt").write_text("long enough for this. " * 200)
    text = [] if "--text" in flags else ["--text", "long.txt"]
    refused(tune_here(tmp_path, *text, *flags), said)
    assert not (tmp_path / "runs").exists()


def test_help_says_what_an_engine_and_checkpointing_cost(tmp_path: Path) -> None:
    said = " ".join(tune_here(tmp_path, "--help").stdout.split())
    assert "compile compiles each new shape anew, which on a CPU takes many seconds of a trial [eager]" in said
    assert "compute activations again: less memory, more time [no]" in said


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(tmp_path: Path, text: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["--text", text, "--folder", folder, *TRIALS, *SMALL]
    with subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(tmp_path), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        for _ in range(2):
            assert running.stdout.readline().startswith("trial")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers too
        out, err = running.communicate(timeout=HANG)
    assert running.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert "interrupted; everything told is in the log" in out
    before = results(folder)
    assert len(before) >= 2
    assert (folder / "report.html").exists()
    assert "stopped before" in (folder / "report.html").read_text()
    done = tune_here(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    after = results(folder)
    assert len(after) > len(before)
    assert before.items() <= after.items()


def test_sigterm_says_how_to_go_on(tmp_path: Path, text: Path) -> None:
    arguments = ["--text", text, "--folder", "run", *TRIALS, *SMALL]
    with subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(tmp_path), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout is not None and running.stdout.readline().startswith("trial")
        running.terminate()
        out, err = running.communicate(timeout=HANG)
    assert running.returncode == 143 and "Traceback" not in out + err
    assert "interrupted; everything told is in the log, and this goes on: " in out and "-m experiments.tune --text" in out


def before_there_were_finals(folder: Path, text: Path, searched: bool) -> tuple[int, int]:
    """A folder as earlier versions left it, after its search or a Ctrl-C; the checkpoint that it handed over."""
    small = {"sampler": "random", "context": 16, "min_resource": 512, "horizon": 4608, "workers": 1}
    settings = Settings.of({**small, "text": str(text), "seconds": 1e5, "trials": 4, "folder": str(folder)})
    corpus, objective = load_text(settings), make_objective(settings)
    settings = complete(settings)
    left = Folder(folder)
    left.open(settings, {**versions(), TEXT: text_digest(corpus)})
    log = hpo.SQLiteLog(folder / "log.sqlite")
    search = make_optimizer(settings, space(settings.space, memory_room(settings, objective, corpus.vocabulary)))
    study = hpo.Study(search, unit="tokens", horizon=settings.horizon, log=log)
    study.optimizer.enqueue(default(settings.space))
    stop = hpo.Stop(when=lambda history: len(history.at(1536)) > 0)
    hpo.run(study, hpo.Inline(objective, horizon=settings.horizon, folder=folder / "checkpoints"), stop)
    key = study.best.key
    shutil.copy(folder / "checkpoints" / checkpoint_name(key), folder / "best.ckpt")
    if searched:
        used = {"seconds": settings.seconds, "trials": settings.trials}
        left.update_search(complete=used, default={"loss": 2.5, "until": 4608})
    log.close()
    left.close()
    assert key[1] < settings.horizon
    return key


@pytest.mark.parametrize("searched", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_folder_from_before_there_were_finals_gets_them(tmp_path: Path, text: Path, searched: bool) -> None:
    before_there_were_finals(tmp_path / "run", text, searched)
    told = results(tmp_path / "run")
    done = tune_here(tmp_path, "--config", "run/settings.toml")
    assert done.returncode == 0, done.stderr
    assert "comes from before there were finals, and ends with them now" in done.stdout
    best = json.loads((tmp_path / "run/best.json").read_text())
    assert best["reason"] == "judged" and best["until"] == 4608
    assert told.items() <= results(tmp_path / "run").items()
    again = tune_here(tmp_path, "--config", "run/settings.toml")
    assert "is finished" in again.stdout and json.loads((tmp_path / "run/best.json").read_text()) == best


OWN = """
from hpo import Job
from hpo.rng import stream


class Draws:
    def __init__(self, space, seed=0):
        self.space, self.seed = space, seed

    def sample(self, history, trial):
        return self.space.decode(self.space.domain.random(stream(self.seed, trial, "mine"), 1)[0])


class Leaders:
    def __init__(self, sampler, min_resource, horizon):
        self.sampler, self.min_resource, self.horizon = sampler, min_resource, horizon

    def propose(self, history):
        best = next(history.ranking(self.min_resource), None)
        if best is not None and history.trials[best[0]][-1] == best:
            job = history.jobs[best]
            return Job(best[0], job.config, self.horizon, best, job.seed)
        return self.sampler.fresh(history, self.min_resource)
"""


@pytest.mark.slow
def test_classes_of_ones_own_tune_and_go_on(tmp_path: Path, text: Path) -> None:
    """The second run has more trials, and asks what one run would have asked: the classes read the log alone."""
    (tmp_path / "mine.py").write_text(OWN)
    small = [flag for flag in SMALL if flag not in ("--sampler", "random")]
    classes = ["--sampler", "mine:Draws", "--scheduler", "./mine.py:Leaders"]
    arguments = ["--text", text, "--folder", "run", "--seconds", "100000", *small, *classes]
    first = tune(tmp_path, *arguments, "--trials", 2)
    assert first.returncode == 0, first.stderr
    before = results(tmp_path / "run")
    assert {until for _, until in before} == {512, 4608}
    stored = ["--config", "run/settings.toml"]
    refused(tune(tmp_path, *stored, "--sampler", "mine:Other"), "'mine' has no class 'Other'")
    refused(tune(tmp_path, *stored, "--sampler", "random"), "sampler was 'mine:Draws' and is now 'random'")
    again = tune(tmp_path, *stored, "--trials", 4)
    assert again.returncode == 0, again.stderr
    after = results(tmp_path / "run")
    assert before.items() <= after.items() and len({trial for trial, _ in after}) > len({trial for trial, _ in before})
    assert "./mine.py:Leaders(mine:Draws)" in (tmp_path / "run/report.html").read_text()
    (tmp_path / "mine.py").unlink()
    refused(tune(tmp_path, *stored, "--trials", 9), "there is no module 'mine'")


@pytest.mark.slow
def test_the_report_opens_in_a_browser_and_sorts(finished: Path, chromium: Browser) -> None:  # noqa: F811
    with Visit(chromium) as visit:
        page = visit.open((finished / "run/report.html").as_uri())
        page.locator("table.trials").scroll_into_view_if_needed()
        page.locator("table.trials th button").nth(2).click()
        third = "all => all.map((row) => Number(row.cells[2].textContent))"
        cells = page.eval_on_selector_all("table.trials tr[data-trial]", third)
        losses = [loss for loss in cells if loss == loss]
        assert losses == sorted(losses) and len(losses) >= 2
        visit.scroll()
        assert "handed over" in page.inner_text("table.trials") and visit.faults == []


@pytest.mark.slow
def test_the_wide_space_runs_in_little_memory(tmp_path: Path, text: Path) -> None:
    little = ["--space", "wide", "--memory", 12_000_000, "--activation-checkpointing"]
    done = tune(tmp_path, "--text", text, "--folder", "run", *TRIALS, *SMALL, *little)
    assert done.returncode == 0, done.stderr
    assert "the default configuration does not fit into the memory, and was left out" in done.stdout
    best = json.loads((tmp_path / "run/best.json").read_text())
    assert space("wide").check(best["config"]) == best["config"]
    assert (tmp_path / "run/report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["none", "halving", "hyperband", "median", "pbt"])
def test_every_scheduler_runs(tmp_path: Path, text: Path, scheduler: str) -> None:
    sizes = [*SMALL, "--population", 4] if scheduler == "pbt" else SMALL
    done = tune(tmp_path, "--text", text, "--folder", "run", *TRIALS, *sizes, "--scheduler", scheduler)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/report.html").exists() and "handed over is " in done.stdout
