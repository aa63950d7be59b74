"""Commands as trials: what goes in, what comes out, and that nothing of them is left."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo import ASHA, PBT, Categorical, Float, Grid, Inline, Int, Processes, Random, Space, Stop, Study, run
from hpo.commands import CommandError, ConfigFile, command
from hpo.commands.child import Child
from hpo.commands.metrics import MetricReader, Patterns
from hpo.commands.template import Template, fill_text
from hpo.failures import RepeatedFailure
from hpo.objective import kind
from tests.hpo.test_hpo_executors import until

SCRIPT = Path(__file__).with_name("training_script.py")
ROOT = Path(__file__).resolve().parents[2]
LOSS = {"loss": r"val loss (\S+)"}
STEP = r"step (\d+):"
SPACE = Space(lr=Float(0.01, 0.5))


def script(*words: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *words]


def is_gone(pid: int) -> bool:
    """Whether a process has ended; waits for that as long as it takes."""
    for _ in range(6000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


# -- what it can do --------------------------------------------------------------------------------------------------------


def test_the_last_value_counts(tmp_path: Path) -> None:
    objective = command(script("{flags}"), LOSS, folder=tmp_path)
    assert kind(objective) == "function"
    study = hpo.minimize(objective, SPACE, "random", 3, quiet=True)
    for key, result in study.history.results.items():
        assert result.metrics["loss"] == pytest.approx((1 - study.history.jobs[key].config["lr"]) ** 9, abs=1e-8)
        assert (tmp_path / str(key[0]) / "stdout.txt").read_text().count("step") == 9
        assert (tmp_path / str(key[0]) / "stderr.txt").read_text().startswith("begins at 0")


def test_a_scheduler_stops_it_on_its_way_and_it_prints_nothing_after(tmp_path: Path) -> None:
    objective = command(script("--lr={lr}", "--steps=40", "--pause=0.1"), LOSS, STEP, folder=tmp_path)
    assert kind(objective) == "report"
    study = hpo.minimize(objective, SPACE, ASHA(Random(SPACE, seed=1), max_resource=9), 9, quiet=True)
    reached = {trial: keys[-1][1] for trial, keys in study.history.trials.items()}
    assert set(reached.values()) == {1, 3, 9}
    for trial, budget in reached.items():
        printed = (tmp_path / str(trial) / "stdout.txt").read_text().count("step")
        assert budget <= printed < budget + 20, "it was suspended at its rung, and ended there"
    whole = next(trial for trial, budget in reached.items() if budget == 9)
    steps = [step for key in study.history.trials[whole] for step, _ in study.history.results[key].curve]
    assert steps == list(range(1, 10)), "it went on where it stood"


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_one_that_resumes_pauses_moves_and_is_cloned(executor: str, tmp_path: Path) -> None:
    words = script("--lr={lr}", "--until={until}", "--dir={checkpoint}")
    objective = command(words, LOSS, STEP, folder=tmp_path / "t", first=["--begin=first"], again=["--begin=again"])
    assert kind(objective) == "run"
    population = PBT(Random(SPACE, seed=3), population=2, generations=3, truncation=0.5, explore=["lr"])
    study = hpo.minimize(objective, SPACE, population, horizon=9, executor=executor, folder=tmp_path / "c", quiet=True)
    history = study.history
    assert not any(map(history.is_failure, history.results))
    assert any(job.source and job.source[0] != trial for (trial, _), job in history.jobs.items()), "there are clones"
    for key, job in history.jobs.items():
        before = 1.0 if job.source is None else history.results[job.source].metrics["loss"]
        begin = 0 if job.source is None else job.source[1]
        expected = before * (1.0 - job.config["lr"]) ** (key[1] - begin)
        assert history.results[key].metrics["loss"] == pytest.approx(expected, abs=1e-8)
        assert [step for step, _ in history.results[key].curve] == list(range(begin + 1, key[1] + 1))
    said = {line for trial in history.trials for line in (tmp_path / f"t/{trial}/stderr.txt").read_text().splitlines()}
    assert said == {"begins at 0 first ", "begins at 3 again ", "begins at 6 again "}
    again = [objective.bind_trial(trial, 0)({"lr": 0.1}, 0, 9) for trial in history.trials]  # type: ignore[attr-defined]
    for made in again:  # clears what workers that were killed have left
        made.close()
    assert not list((tmp_path / "t").glob("*/checkpoint*")), "nothing is left of what was saved elsewhere"


def test_lines_of_json(tmp_path: Path) -> None:
    objective = command(script("--lr={lr}", "--json"), "json", "step", folder=tmp_path)
    study = hpo.minimize(objective, SPACE, "random", 1, horizon=9, quiet=True)
    assert len(study.history.results[0, 9].curve) == 9 and set(study.history.results[0, 9].metrics) == {"loss"}


# -- how hyperparameters go in -----------------------------------------------------------------------------------------------


def test_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps({"lr": 9.0, "kept": 1}))
    objective = command(
        script("--config={config.json}"), LOSS, environment={"LR": "lr is {lr}, trial {trial}, seed {seed}"},
        files={"config.json": ConfigFile(tmp_path / "base.json")}, folder=tmp_path / "t",
    )  # fmt: skip
    study = hpo.minimize(objective, SPACE, "random", 1, quiet=True)
    lr, seed = study.best.config["lr"], study.history.jobs[0, 1].seed
    assert study.best.value == pytest.approx((1 - lr) ** 9, abs=1e-8)
    assert json.loads((tmp_path / "t/0/config.json").read_text()) == {"lr": lr, "kept": 1}
    assert f"lr is {lr}, trial 0, seed {seed}" in (tmp_path / "t/0/stderr.txt").read_text()


@pytest.mark.parametrize("suffix, library", [(".json", "json"), (".yaml", "yaml"), (".toml", "tomlkit")])
def test_a_file_keeps_what_it_had_and_takes_entries_within_entries(suffix: str, library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    base, path = tmp_path / f"base{suffix}", tmp_path / f"made{suffix}"
    base.write_text({".json": '{"optimizer": {"lr": 1.0, "name": "adamw"}, "seed": 3}',
                     ".yaml": "optimizer:\n  lr: 1.0\n  name: adamw\nseed: 3\n",
                     ".toml": '# a comment\nseed = 3\n[optimizer]\nlr = 1.0\nname = "adamw"\n'}[suffix])  # fmt: skip
    file = ConfigFile(base, {"lr": "optimizer.lr", "depth": "model.depth"})
    file.write(path, {"lr": 0.25, "depth": 4, "norm": "rms"})
    module = importlib.import_module(library)
    text = path.read_text()
    found = module.loads(text) if library != "yaml" else module.safe_load(text)
    assert found == {"optimizer": {"lr": 0.25, "name": "adamw"}, "seed": 3, "model": {"depth": 4}, "norm": "rms"}
    assert suffix != ".toml" or text.startswith("# a comment")
    with pytest.raises(CommandError, match=r"'seed.deep' has no place in the file, since 'seed' holds 3"):
        ConfigFile(base, {"lr": "seed.deep"}).write(path, {"lr": 1.0})
    base.write_text("{ [")
    with pytest.raises(CommandError, match=f"is no {suffix[1:]}"):
        file.write(path, {})


def test_places() -> None:
    values = {"lr": 0.1, "a.json": "x"}
    assert fill_text("{{{lr}}} {a.json} {not a place}", values) == "{0.1} x {not a place}"
    template = Template("train.py {flags} --seed {seed} 'two words'", "--{name} {value}")
    words, _ = template.fill({"lr": 0.1, "depth": 2}, Path("t"), {"seed": 7})
    assert words == ["train.py", "--lr", "0.1", "--depth", "2", "--seed", "7", "two words"]
    with pytest.raises(CommandError, match=r"the place \{momentum\} in '--m=\{momentum\}' stands for nothing here; there are"):
        Template("x --m={momentum}").fill({"lr": 0.1}, Path("t"), {})


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("", LOSS), "the command is ''"),
        (("a 'b", LOSS), "cannot be split into words"),
        (("a", {}), "metrics is {}"),
        (("a", "text"), "metrics is 'text'"),
        (("a", {"loss": "("}), "the metric 'loss' is '\\(', which is no regular expression"),
        (("a", {"loss": "loss"}), "which has no group for the number"),
        (("a", LOSS, "step"), "step is 'step', which has no group"),
    ],
)
def test_what_is_no_command_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        command(*arguments)
    with pytest.raises(ValueError, match="first and again are for a command that names"):
        command("a", LOSS, first=["b"])
    with pytest.raises(ValueError, match=r"files names 'a/b.json'"):
        command("a", LOSS, files={"a/b.json": ConfigFile()})


def test_metrics_in_lines() -> None:
    reader = MetricReader(Patterns({"loss": r"iter (?P<step>\d+).* loss (\S+)", "acc": r"accuracy=(?P<value>[\d.]+)(%)"}))
    assert reader.patterns.has_steps
    assert [reader.read(line) for line in ("loss 3", "iter 4: loss 2.5", "accuracy=31%", "iter 5: loss nan")] == [
        False, False, True, True,
    ]  # fmt: skip
    assert reader.step == 5 and reader.values["acc"] == 31.0 and reader.values["loss"] != reader.values["loss"]
    assert MetricReader(Patterns("json")).explain() == "it printed no JSON object with a number"


# -- what goes wrong -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fail, words",
    [
        ("status", r"the command ended with status 1; it said last: .*out of luck"),
        ("signal", r"the command was killed by signal 9 \(SIGKILL\); it said last"),
        ("silent", r"ended without a metric: no line that it printed matches the metric 'loss' \('val loss"),
        ("text", r"the metric 'loss' is 'n/a', which is no number, in the line 'step 1: train loss 9.9, val loss n/a'"),
    ],
)
@pytest.mark.parametrize("step", [None, STEP])
def test_what_goes_wrong_is_one_clear_failed_result(fail: str, words: str, step: str | None, tmp_path: Path) -> None:
    objective = command(script("--lr={lr}", f"--fail={fail}"), LOSS, step, folder=tmp_path)
    study = hpo.minimize(objective, SPACE, "random", 1, horizon=None if step is None else 9, quiet=True)
    (result,) = study.history.results.values()
    assert result.error is not None
    assert re.search(words, result.error), result.error


def test_a_command_that_is_not_there_ends_the_search_after_three(tmp_path: Path) -> None:
    with pytest.raises(RepeatedFailure, match="the first 3 trials of this run failed in the same way, the last Comm") as caught:
        hpo.minimize(command("nowhere-to-be-found {flags}", LOSS, folder=tmp_path), SPACE, "random", 9, quiet=True)
    assert "the command 'nowhere-to-be-found' cannot be started: No such file or directory" in caught.value.error


def test_trials_that_fail_in_different_ways_end_no_search(tmp_path: Path) -> None:
    fails = Space(fail=Categorical(["status", "silent", "text"]))
    optimizer = Grid(fails)
    study = hpo.minimize(command(script("--fail={fail}"), LOSS, folder=tmp_path), fails, optimizer, quiet=True)
    assert len(study.history.results) == 3


def test_the_traceback_of_a_failure_is_what_the_command_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-c", "import sys\nprint('warm')\nundefined_name + {lr}"]
    study = hpo.minimize(command(words, LOSS, folder=tmp_path), SPACE, "random", 1, quiet=True)
    (result,) = study.history.results.values()
    assert result.traceback is not None and result.traceback == (tmp_path / "0/stderr.txt").read_text().strip()
    assert result.traceback.splitlines()[-1].startswith("NameError") and "hpo/commands" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "words, options, said",
    [
        ("train.py --lr={learning_rate}", {}, r"the place \{learning_rate\} in '--lr=\{learning_rate\}' stands for nothing; "
                                              r"there are \['depth', 'fixed', 'folder', 'lr', 'seed', 'trial'\]"),
        ("train.py", {}, r"the hyperparameter 'lr' has no place in the command, which would never hear of it; \{flags\} hands"),
        ("train.py --lr={lr}", {}, "the hyperparameter 'depth' has no place"),
        ("train.py --all={flags}", {}, r"the place \{flags\} in '--all=\{flags\}' stands for nothing; .*a word of its own"),
        ("train.py {flags} --until={until}", {}, r"the place \{until\} in '--until=\{until\}' stands for nothing"),
        ("train.py {flags}", {"environment": {"A": "{seeds}"}}, r"the place \{seeds\} in '\{seeds\}'"),
        ("train.py", {"environment": {"A": "{flags}"}}, r"the place \{flags\} in '\{flags\}' stands for nothing"),
        ("train.py {flags}", {"files": {"a.json": ConfigFile()}}, r"files names 'a.json', but nothing tells the command of it"),
        ("train.py {flags} {checkpoint}", {"again": ["{resume}"]}, r"the place \{resume\}"),
        ("train.py {flags}", {"cwd": "no/such/folder"}, "no/such/folder', which is no folder"),
    ],
)  # fmt: skip
def test_what_could_never_work_is_refused_before_anything_runs(
    words: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    space = Space(lr=Float(0.01, 0.5), depth=Int(1, 3), fixed=7)
    with pytest.raises(ValueError, match=said):
        hpo.minimize(command(words, LOSS, folder=tmp_path / "t", **options), space, "random", 1, log=tmp_path / "log.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words, options",
    [
        ("train.py {flags} {{lr}} --seed={seed} --out={folder}", {}),
        ("train.py --lr={lr}", {"environment": {"DEPTH": "{depth}"}}),
        ("train.py {a.json}", {"files": {"a.json": ConfigFile()}}),
        ("train.py {folder}", {"files": {"a.json": ConfigFile()}}),
        ("train.py {flags} {checkpoint} {until}", {"first": ["--of={horizon}"]}),
    ],
)
def test_what_hands_over_every_hyperparameter_is_taken(words: str, options: dict[str, Any]) -> None:
    checked: Any = command(words, LOSS, **options)
    checked.check_space(Space(lr=Float(0.01, 0.5), depth=Int(1, 3), fixed=7))


@pytest.mark.parametrize("how", ["child", "session"])
def test_a_timeout_is_a_failure_and_its_children_end_too(how: str, tmp_path: Path) -> None:
    objective = command(
        script("--lr={lr}", "--pause=600", f"--fail={how}"), LOSS, folder=tmp_path, timeout=2.0, grace=0.5,
        environment={"CHILD": str(tmp_path / "child")},
    )  # fmt: skip
    study = hpo.minimize(objective, SPACE, "random", 1, quiet=True)
    assert "timeout: still running after 2 s" in (study.history.results[0, 1].error or "")
    assert is_gone(int((tmp_path / "child").read_text()))


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not tell what descends from a process")
def test_a_command_is_suspended_with_the_sessions_that_it_began(tmp_path: Path) -> None:
    variables = {"CHILD": str(tmp_path / "child")}
    (tmp_path / "t").mkdir()
    child = Child(script("--pause=0.1", "--steps=9", "--fail=session"), variables, Path.cwd(), tmp_path / "t", False)
    try:
        lines = child.read()
        next(line for line in lines if line.startswith("step"))
        other = int((tmp_path / "child").read_text())
        assert os.getpgid(other) != child.process.pid
        child.suspend()
        until(lambda: state_of(other) == "T")
        child.resume()
        until(lambda: state_of(other) in "RS")
        assert len(list(lines)) == 8
    finally:
        child.end(0.0)
    os.kill(other, signal.SIGKILL)  # the script had ended, and could no longer be asked


def test_one_that_is_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    objective = command(script("--lr={lr}", "--pause=600", "--fail=deaf"), LOSS, folder=tmp_path, timeout=2.0, grace=0.2)
    assert "timeout" in (hpo.minimize(objective, SPACE, "random", 1, quiet=True).history.results[0, 1].error or "")


def test_a_child_that_keeps_the_pipe_open_holds_nothing_up(tmp_path: Path) -> None:
    variables = {"CHILD": str(tmp_path / "child")}
    objective = command(script("--lr={lr}", "--fail=child"), LOSS, folder=tmp_path, environment=variables)
    study = hpo.minimize(objective, SPACE, "random", 1, quiet=True)
    assert study.best.value is not None and is_gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize("step", [None, STEP])
@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_a_search_that_ends_leaves_no_command_in_its_process(executor: str, step: str | None, tmp_path: Path) -> None:
    """The seconds are over, or somebody interrupts it, while commands run and others are parked; this process lives on."""
    horizon = None if step is None else 9
    objective = command(script("--lr={lr}", "--pause=600"), LOSS, step, folder=tmp_path, grace=0.1)
    if executor == "threads":
        study = hpo.minimize(objective, SPACE, "random", seconds=0.5, horizon=horizon, executor="threads", workers=2, quiet=True)
        assert not study.history.results and study.history.pending
    else:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            hpo.minimize(objective, SPACE, "random", 1, horizon=horizon, quiet=True)
    running: Any = objective
    until(lambda: not running.command.running)
    here = Path(f"/proc/{os.getpid()}/task")
    if here.exists():
        children = [int(pid) for task in here.iterdir() for pid in (task / "children").read_text().split()]
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
        assert not [line for line in lines if SCRIPT.name.encode() in line]


def test_parked_commands_of_a_busy_worker_end_with_the_search(tmp_path: Path) -> None:
    words = script("--lr={lr}", "--steps=40", "--pause=0.05")
    objective = command(words, LOSS, STEP, folder=tmp_path, grace=0.1)
    sampler = ASHA(Random(SPACE, seed=1), max_resource=27)
    hpo.minimize(objective, SPACE, sampler, executor="threads", workers=2, stop=hpo.Target(0.9), seconds=5.0, quiet=True)
    running: Any = objective
    until(lambda: not running.command.running)


DRIVER = """
import sys
from tests.hpo.test_hpo_commands import drive
if __name__ == "__main__":
    drive(*sys.argv[1:])
"""


def drive(folder: str, executor: str, how: str) -> None:
    """A study whose first trial never ends."""
    objective = command(script("--lr={lr}", "--pause=600", f"--fail={how}"), LOSS, STEP, folder=folder,
                        environment={"CHILD": f"{folder}/child"})  # fmt: skip
    made: Callable[..., Any] = Processes if executor == "processes" else Inline
    study = Study(Random(SPACE), horizon=9)
    run(study, made(objective, 9), Stop(trials=1))


@pytest.mark.parametrize(("executor", "how"), [("inline", "child"), ("processes", "child"), ("processes", "session")])
def test_a_driver_that_is_killed_leaves_no_command(executor: str, how: str, tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py"), str(tmp_path), executor, how], env=environment)
    for _ in range(6000):
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            break
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    assert is_gone(int((tmp_path / "child").read_text()))
