"""The page hpo/README.md: every file on it is written, every command run, and what it claims of them is so."""

import json
import re
import sys
from pathlib import Path

import pytest

from hpo import OPTIMIZERS
from tests.hpo.clusters import queue
from tests.pages import ROOT, Transcript, execute

PAGE = ROOT / "hpo" / "README.md"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    """With a batch system of eight slots, whose commands are those of Slurm and PBS."""
    queue(8)
    return execute(PAGE, tmp_path_factory.mktemp("hpo_page"))


def test_every_block_runs(transcript: Transcript) -> None:
    assert transcript.problems == []
    assert len(transcript.said) > 8


def test_the_sampler_of_the_page_is_better_than_random(transcript: Transcript) -> None:
    found = dict(re.findall(r"^(\w+): ([\d.]+) on average", transcript.said["python race.py"], re.M))
    assert float(found["nearby"]) < float(found["random"])


def test_the_laws_were_run(transcript: Transcript) -> None:
    for name in ("nearby", "leaders"):
        (said,) = (said for line, said in transcript.said.items() if f"test_{name}.py" in line)
        assert int(re.findall(r"(\d+) passed", said)[0]) > 25


def test_the_second_call_finds_the_study_finished(transcript: Transcript) -> None:
    first, second = transcript.said["python search.py"].splitlines()
    assert first == second


def test_every_job_is_proposed_again(transcript: Transcript) -> None:
    again, count = re.findall(r"(\d+) of (\d+) jobs", transcript.said["python replay.py"])[0]
    assert again == count and int(count) > 20


def test_the_loaded_study_is_analysed(transcript: Transcript) -> None:
    said = transcript.said["python analyse.py"].splitlines()
    assert said[0].startswith("loss of ") and {line.split()[0] for line in said[1:-1]} == {"lr", "momentum"}
    assert said[-1] == "report.html" and 'data-panel="effects"' in (transcript.folder / "report.html").read_text()
    assert (transcript.folder / "history.png").stat().st_size and (transcript.folder / "effects.svg").stat().st_size


def test_the_page_is_served(transcript: Transcript) -> None:
    for command in ("python page.py", "python -m hpo serve study.sqlite --port 0 --seconds 1"):
        assert transcript.said[command].startswith("http://127.0.0.1:")


def test_the_default_reaches_the_end_in_the_finals(transcript: Transcript) -> None:
    assert re.match(r"\[0, \d+", transcript.said["python finals.py"])


def test_the_front_has_several_trials(transcript: Transcript) -> None:
    assert len(transcript.said["python pareto.py"].splitlines()) > 3


def test_fronts_grow_and_are_spread(transcript: Transcript) -> None:
    lines = transcript.said["python fronts.py"].splitlines()
    assert [line.partition(",")[0] for line in lines] == ["Study(NSGA2", "Study(TPE", "Study(GP"]
    for line in lines:
        volumes = [float(text) for text in line.partition("[")[2].rstrip("]").split(", ")]
        assert len(volumes) == 4 and volumes[0] > 0.0 and volumes == sorted(volumes)
    said = transcript.said["python spread.py"]
    assert re.match(r"Study\(ASHA, \d+ results, 0 pending, front of \d+, best loss=\S+ width=", said)


def test_a_trainer_is_tuned(transcript: Transcript) -> None:
    said = transcript.said["python trainer.py"].splitlines()[-1]
    assert float(said.split()[0]) < 4.0, "guessing among 64 words costs 4.16 nats"


def test_both_ways_to_optuna(transcript: Transcript) -> None:
    said = transcript.said["python from_optuna.py"].split()
    assert float(said[0]) < 6 and float(said[1]) < 6 and said[-1] == "20"


def test_checkpoints_keep_to_their_budget(transcript: Transcript) -> None:
    results, count, size = map(int, re.findall(r"\d+", transcript.said["python kept.py"]))
    assert results == 36 and 5 <= count < 12 and size <= 3000


def test_workers_have_halves_of_devices(transcript: Transcript) -> None:
    found = eval(transcript.said["python halves.py"])
    assert found and found <= {(0.0, 0.5), (1.0, 0.5)}, "one of them may have been quick enough for all"


def test_batch_systems_run_studies(transcript: Transcript) -> None:
    assert re.match(r"\d+ results", transcript.said["python on_slurm.py"])
    assert "3 results, 0 pending" in transcript.said["python on_pbs.py"]
    assert not list(transcript.folder.glob("*.jobs-*")), "what was handed over"


@pytest.mark.parametrize(("program", "said"), [("on_ray.py", "9 results, lineage (("), ("on_dask.py", "6 results, 0 pending")])
def test_clusters_run_studies(program: str, said: str, transcript: Transcript) -> None:
    if program in transcript.absent:
        pytest.skip(f"{transcript.absent[program]} is not installed")
    assert said in transcript.said[f"python {program}"]


def test_what_needs_an_absent_package_is_left_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    programs = {"a.py": "# needs nothing_of_this_name\nimport nothing_of_this_name", "b.py": "# needs json\nprint(1)"}
    blocks = (f"```python\n# {name}\n{text}\n```\n```sh\npython {name}\n```\n" for name, text in programs.items())
    page.write_text("".join(blocks))
    found = execute(page, tmp_path)
    assert found.problems == [] and found.absent == {"a.py": "nothing_of_this_name"} and found.said["python b.py"] == "1\n"
    assert "python a.py" not in found.said


def test_a_winner_of_a_population_is_trained_again(transcript: Transcript) -> None:
    best = float(transcript.said["python population.py"])
    lineage, schedule, same = transcript.said["python lineage.py"].splitlines()
    assert lineage.startswith("((") and schedule.startswith("[(") and same == "True"
    assert schedule.count("momentum") > 1, "it was trained with several configurations"
    value, explored = transcript.said["python bandit.py"].split(maxsplit=1)
    assert best < 1.0 and float(value) < 1.0 and explored.strip() == "['lr', 'momentum']"
    assert (transcript.folder / "lineage.png").stat().st_size


def test_any_command_is_tuned(transcript: Transcript) -> None:
    said = transcript.said["python -m hpo run fit.toml"].splitlines()[-1]
    assert said.startswith("best: trial") and " steps: loss=" in said
    assert said.removeprefix("best: ") == transcript.said["python -m hpo best fit.db"].strip()
    printed = [len(path.read_text().splitlines()) for path in (transcript.folder / "fit.trials").glob("*/stdout.txt")]
    assert len(printed) == 20 and max(printed) <= 27


def test_commands_say_what_the_library_says(transcript: Transcript) -> None:
    best = json.loads(transcript.said["python -m hpo best study.sqlite --json"])
    assert f"{best['trial']} is the best" in transcript.said["python search.py"]
    again, count = re.findall(r"(\d+) of (\d+) jobs", transcript.said["python -m hpo replay study.sqlite"])[0]
    assert again == count and int(count) > 20
    assert "95 % between" in transcript.said["python -m hpo score study.sqlite mine.json"]
    asked = [json.loads(line) for line in transcript.said["python -m hpo ask hand.sqlite"].splitlines()]
    assert [job["trial"] for job in asked] == [1, 2] and asked[0]["config"] == asked[1]["config"], "retry"
    assert (transcript.folder / "curves.png").stat().st_size and not (transcript.folder / "hand.sqlite").exists()


BEGIN, END = "<!-- optimizers -->", "<!-- end of optimizers -->"


def optimizers_table() -> str:
    """Every row of hpo.OPTIMIZERS, with the first sentence of its module."""
    rows = ["| name | class | what it is |", "|---|---|---|"]
    for name, cls in OPTIMIZERS.items():
        path = cls.__module__.removeprefix("hpo.").replace(".", "/") + ".py"
        said = (sys.modules[cls.__module__].__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip()
        rows.append(f"| `{name}` | [`{cls.__name__}`]({path}) | {said} |")
    return "\n".join(rows)


def test_the_table_of_optimizers_is_what_is_listed() -> None:
    """`python -m tests.hpo.test_hpo_page` writes it anew."""
    there = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert there == optimizers_table()


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{optimizers_table()}\n{END}{rest.partition(END)[2]}")
