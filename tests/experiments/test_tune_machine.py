"""What this machine has: free memory, in a container too, kernels, compilers."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.tune import machine
from experiments.tune.machine import check_device
from experiments.tune.prepare import complete
from experiments.tune.settings import Settings


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"engine": "graph"}, "engine is 'graph', but must be eager or compile on the cpu"),
        ({"precision": "fp16"}, "precision is 'fp16', but must be float32 or bf16 on the cpu"),
    ],
)
def test_what_the_cpu_cannot_do_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_device(Settings(**changed))


def test_compiling_wants_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"must be eager where there is no C\+\+ compiler 'no-such-compiler'"):
        check_device(Settings(engine="compile"))


def test_this_machine_has_some() -> None:
    assert 10**7 < machine._free() < 10**15


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
    assert machine._free(folder) == 1_000_000 - 400_000 + 150_000  # files that were read stand in nobody's way
    (folder / stat).unlink()
    assert machine._free(folder) == 600_000
    (folder / used).unlink()
    assert machine._free(folder) == 1_000_000
    container(tmp_path, {limit: "1000000\n", used: "1300000\n"})
    assert machine._free(folder) == 0


@pytest.mark.parametrize("version", CONTAINERS)
def test_a_container_without_a_limit_has_what_the_machine_has(tmp_path: Path, version: str) -> None:
    limit = next(iter(CONTAINERS[version]))
    none = {"v2": "max\n", "v1": "9223372036854771712\n"}[version]
    assert machine._free(container(tmp_path, {**CONTAINERS[version], limit: none})) > 10**7


def test_of_a_cuda_device_others_may_have_taken_some(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (asked.append(device), (3 * 10**9, 80 * 10**9))[1])
    assert complete(Settings(device="cuda:1", workers=3)).memory == 10**9 - machine.LIBRARY
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
    assert machine.has_kernels() is there
    assert complete(Settings()).kernels is there
    assert complete(Settings(), Settings(kernels=not there)).kernels is not there


def test_a_word_that_the_kernels_do_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_KERNELS", "yes")
    with pytest.raises(ValueError, match="HPO_KERNELS is 'yes', but must be on or off"):
        complete(Settings())


def test_kernels_are_there_where_trainings_find_them() -> None:
    from models.calibrate.steps import has_kernels

    assert machine.has_kernels() == has_kernels("cpu", threads=1)
