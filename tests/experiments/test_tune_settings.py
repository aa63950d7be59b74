"""Settings: what is allowed, files and back, what may change when a study goes on."""

import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from experiments import build, settings
from experiments.build import optimizer
from experiments.job import DEFAULT, default
from experiments.settings import CHANGEABLE, SAMPLERS, SCHEDULERS, Settings, read_toml
from experiments.spaces import SPACES, Fits
from experiments.tune import Search, prepare
from hpo import OPTIMIZERS
from hpo.optimizers.finals import default_trial


def test_every_optimizer_is_a_sampler_or_a_scheduler() -> None:
    assert {*SAMPLERS, *SCHEDULERS} - {"none"} == set(OPTIMIZERS)


def test_toml_there_and_back(tmp_path: Path) -> None:
    made = Settings(sampler="random", trials=7, text='od"d\\näme λ🙂', seconds=1.5, reduction_factor=2.5, folder="a/b")
    (tmp_path / "s.toml").write_text(made.to_toml({"python": "3.11"}), encoding="utf-8")
    values, versions = read_toml(tmp_path / "s.toml")
    assert Settings.of(values) == made
    assert versions == {"python": "3.11"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampler", "asha"), ("scheduler", "gp"), ("tokenizer", "word"), ("workers", 0), ("workers", True), ("seed", -1),
        ("seconds", 0), ("seconds", float("nan")), ("seconds", "60"), ("trials", 0), ("device", "tpu"), ("text", " "),
        ("precision", "int8"), ("reduction_factor", 1), ("min_resource", 10**9), ("min_resource", 100), ("context", 1),
        ("space", "huge"), ("memory", 0), ("memory", 1.5), ("memory", "8 GB"), ("engine", "fast"),
        ("activation_checkpointing", 1), ("activation_checkpointing", "yes"), ("activation_checkpointing", None),
        ("kernels", 1), ("kernels", "on"),
    ],
)  # fmt: skip
def test_one_sentence_names_setting_value_and_what_is_allowed(name: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Settings(**{name: value})
    said = str(caught.value)
    assert said.startswith(f"{name} is {value!r}, but must be ")
    assert "\n" not in said


def test_unknown_setting_and_bad_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown setting 'speed'; allowed are sampler, "):
        Settings.of({"speed": 3})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("seed = = 3")
    with pytest.raises(ValueError, match="is not TOML"):
        read_toml(tmp_path / "bad.toml")


def test_differences_name_what_may_not_change() -> None:
    assert Settings().differences(replace(Settings(), seed=4)) == ["seed was 4 and is now 0"]
    free = replace(Settings(), seconds=9.0, trials=3, workers=5, folder="x")
    assert Settings().differences(free) == []
    assert set(CHANGEABLE) <= {f.name for f in fields(Settings)}


def test_population_is_decided_once() -> None:
    short = Settings(scheduler="pbt", seconds=30).completed()
    long = Settings(scheduler="pbt", seconds=3000)
    assert long.completed().population != short.population
    assert long.completed(short).population == short.population
    assert Settings().completed().population is None


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_pair_builds_and_trains_to_the_horizon(sampler: str, scheduler: str, space: str) -> None:
    settings = Settings(sampler=sampler, scheduler=scheduler, space=space)
    made = optimizer(settings)
    assert made.horizon in (1, settings.horizon)  # a sampler alone takes the study's
    job = made.ask() if made.horizon > 1 else None
    assert job is None or 1 <= job.until <= settings.horizon


def test_the_objective_trains_as_the_settings_say() -> None:
    made = build.objective(Settings(engine="compile", activation_checkpointing=True, context=32, precision="bf16"))
    assert (made.engine, made.activation_checkpointing, made.context, made.precision) == ("compile", True, 32, "bf16")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"engine": "graph"}, "engine is 'graph', but must be eager or compile on the cpu"),
        ({"precision": "fp16"}, "precision is 'fp16', but must be float32 or bf16 on the cpu"),
    ],
)
def test_what_the_cpu_cannot_do_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build.check_device(Settings(**changed))


def test_compiling_wants_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"must be eager where there is no C\+\+ compiler 'no-such-compiler'"):
        build.check_device(Settings(engine="compile"))


# -- memory ------------------------------------------------------------------------------------------------------------


def test_the_memory_is_decided_once_and_shared_by_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_free", lambda: 10 * 10**9)
    assert Settings(workers=4).completed().memory == 2_500_000_000 - settings.LIBRARY
    assert Settings(workers=40).completed().memory == 1
    elsewhere = Settings(memory=7)
    assert Settings().completed(elsewhere).memory == 7
    assert Settings(memory=9).completed(elsewhere).differences(elsewhere) == ["memory was 7 and is now 9"]


def test_this_machine_has_some() -> None:
    assert 10**7 < settings._free() < 10**15


STAT = "anon 5\ninactive_anon 9999999\n{}inactive_file 150000\nactive_file 7\n"  # bytes
CONTAINERS = {
    "v2": {"memory.max": "1000000\n", "memory.current": "400000\n", "memory.stat": STAT.format("")},
    "v1": {
        "memory/memory.limit_in_bytes": "1000000\n",
        "memory/memory.usage_in_bytes": "400000\n",
        "memory/memory.stat": STAT.format("inactive_file 3\ntotal_"),
    },
}


def container(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("version", CONTAINERS)
def test_in_a_container_what_is_in_use_is_not_free(tmp_path: Path, version: str) -> None:
    limit, used, stat = CONTAINERS[version]
    folder = container(tmp_path, CONTAINERS[version])
    assert settings._free(folder) == 1_000_000 - 400_000 + 150_000  # files that were read stand in nobody's way
    (folder / stat).unlink()
    assert settings._free(folder) == 600_000
    (folder / used).unlink()
    assert settings._free(folder) == 1_000_000
    container(tmp_path, {limit: "1000000\n", used: "1300000\n"})
    assert settings._free(folder) == 0


@pytest.mark.parametrize("version", CONTAINERS)
def test_a_container_without_a_limit_has_what_the_machine_has(tmp_path: Path, version: str) -> None:
    limit = next(iter(CONTAINERS[version]))
    none = {"v2": "max\n", "v1": "9223372036854771712\n"}[version]
    assert settings._free(container(tmp_path, {**CONTAINERS[version], limit: none})) > 10**7


def test_of_a_cuda_device_others_may_have_taken_some(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (asked.append(device), (3 * 10**9, 80 * 10**9))[1])
    assert Settings(device="cuda:1", workers=3).completed().memory == 10**9 - settings.LIBRARY
    assert asked == ["cuda:1"]


@pytest.mark.parametrize(
    ("variables", "there"),
    [
        ({"HPO_KERNELS": "off"}, False),
        ({"CC": "no-such-compiler -O2"}, False),
        ({"CC": '"no end'}, False),
        ({"CC": f"{sys.executable} --some-flag"}, True),  # whether it compiles is not looked at
        ({"CC": ""}, shutil.which("cc") is not None),
    ],
)
def test_kernels_want_a_compiler_and_leave(
    variables: dict[str, str], there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HPO_KERNELS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert settings.kernels() is there
    assert Settings().completed().kernels is there
    assert Settings().completed(Settings(kernels=not there)).kernels is not there


def test_a_word_that_the_kernels_do_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_KERNELS", "yes")
    with pytest.raises(ValueError, match="HPO_KERNELS is 'yes', but must be on or off"):
        Settings().completed()


def test_kernels_are_there_where_trainings_find_them() -> None:
    from models.calibrate.steps import has_kernels

    assert settings.kernels() == has_kernels("cpu", threads=1)


@pytest.mark.parametrize(
    "changed", [{"kernels": True}, {"kernels": False}, {"engine": "compile"}, {"activation_checkpointing": True}]
)
def test_the_space_is_of_what_the_settings_predict(changed: dict[str, Any]) -> None:
    made = Settings(context=512, memory=10**9, **changed)
    fits = build.space(made, 84).constraints[-1]
    assert isinstance(fits, Fits)
    assert fits.kernels == (made.kernels is not False and made.engine == "eager")


def test_a_study_from_before_there_was_a_limit_keeps_its_space() -> None:
    old = Settings.of({"seed": 3})
    done = Settings(seed=3).completed(old)
    assert done.memory is None
    assert build.space(done, 84).describe() == build.space(done).describe()


def test_hardly_any_memory_is_refused_in_one_sentence() -> None:
    tight = Settings(context=256, memory=1_000_000)
    with pytest.raises(
        ValueError, match=r"memory is 1000000, but must be at least [0-9]+ bytes .* at context 256"
    ) as caught:
        build.check_memory(tight, 84)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    build.check_memory(replace(tight, memory=least), 84)


def test_too_many_workers_are_refused_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_free", lambda: 5 * settings.LIBRARY)
    many = Settings(workers=500)
    with pytest.raises(
        ValueError, match=r"workers is 500, but must be at most 4 for each to have [0-9]+ bytes"
    ) as caught:
        build.check_memory(many.completed(), 84, given=False)
    assert "memory is" not in str(caught.value)
    build.check_memory(replace(many, workers=4).completed(), 84, given=False)
    with pytest.raises(ValueError, match="workers is 5, but must be at most 4"):
        build.check_memory(replace(many, workers=5).completed(), 84, given=False)


def test_one_worker_may_be_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_free", lambda: settings.LIBRARY)
    for workers in (1, 2):
        with pytest.raises(ValueError, match=r"what is free on cpu leaves no worker [0-9]+ bytes to train"):
            build.check_memory(Settings(workers=workers).completed(), 84, given=False)


LONG = {"sampler": "random", "context": 512, "min_resource": 16_384, "scheduler": "none"}


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """prepare() on a small text, in a folder that is let go of before it is opened again."""
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    held: list[Search] = []

    def prepared(**values: Any) -> Search:
        if held:
            held.pop().folder._lock.close()
        held.append(
            prepare({"text": str(tmp_path / "tiny.txt"), "folder": str(tmp_path / "run"), **LONG, **values}, "tune")
        )
        return held[-1]

    return prepared


@pytest.mark.parametrize("name", SPACES)
def test_a_long_context_in_little_memory_offers_what_fits(opened: Any, name: str) -> None:
    work, limit = opened(space=name, memory=60_000_000), 60_000_000
    room = build.objective(work.settings).room(limit, work.corpus.vocabulary, bool(work.settings.kernels))
    asked = [work.study.optimizer.ask() for _ in range(10)]
    assert all(job is not None and room.needs(job.config) <= limit for job in asked)
    assert room.needs(default(name)) > limit
    assert all(dict(job.config) != default(name) for job in asked if job is not None)
    assert work.study.history.queue_head is None and default_trial(work.study.history) is None  # nor do the finals train it


def test_the_default_takes_part_where_it_fits(opened: Any) -> None:
    job = opened(memory=10**9).study.optimizer.ask()
    assert job is not None
    assert dict(job.config) == DEFAULT


def test_a_study_goes_on_in_the_space_that_it_began_in(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_free", lambda: 2 * 10**9)
    first = opened()
    assert first.settings.memory == 10**9 - settings.LIBRARY
    described = first.study.header.space
    monkeypatch.setattr(settings, "_free", lambda: 10**6)  # another machine, or a busy one
    again = opened(workers=1)
    assert (again.settings.memory, again.study.header.space) == (first.settings.memory, described)
    with pytest.raises(ValueError, match="holds another study: memory was 600000000 and is now 5"):
        opened(memory=5)


@pytest.mark.parametrize(("begun", "later"), [("off", "on"), ("on", "off")])
def test_it_goes_on_so_with_and_without_kernels(
    opened: Any, monkeypatch: pytest.MonkeyPatch, begun: str, later: str
) -> None:
    monkeypatch.setenv("CC", sys.executable)  # there is a compiler
    monkeypatch.setenv("HPO_KERNELS", begun)
    first = opened()
    described = first.study.header.space
    monkeypatch.setenv("HPO_KERNELS", later)
    again = opened()
    assert first.settings.kernels == again.settings.kernels == (begun == "on")
    assert again.study.header.space == described


def test_workers_without_memory_leave_no_folder(opened: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "_free", lambda: 5 * settings.LIBRARY)
    with pytest.raises(ValueError, match="workers is 500, but must be at most 4"):
        opened(workers=500)
    with pytest.raises(ValueError, match=r"memory is 1, but must be at least [0-9]+ bytes for each of 500 workers"):
        opened(workers=500, memory=1)
    assert not (tmp_path / "run").exists()


def test_nothing_is_left_where_nothing_fits(opened: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory is 12345, but must be at least"):
        opened(memory=12_345)
    assert not (tmp_path / "run").exists()
