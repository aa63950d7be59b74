"""What each worker of a pool gets of its machine: devices and threads, by lists of devices that need not be there."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpo
from hpo import Float, Job, Processes, Result, Space, worker_resources
from hpo.executors import devices
from hpo.executors.devices import THREAD_VARIABLES, list_devices, plan_workers, read_listing
from tests.hpo.objectives import square

AT_IMPORT = os.environ.get("CUDA_VISIBLE_DEVICES")  # in a worker: what was there when this module was imported


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores, and a machine whose devices only the variable names."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "_ask_driver", lambda: ())
    monkeypatch.setattr(devices, "count_cores", lambda: 4)


def place_of(config: dict[str, Any]) -> dict[str, float]:
    """Which worker this is, and what it sees; x below 0 kills it."""
    if config["x"] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    mine = worker_resources()
    assert mine.devices is not None and os.environ["CUDA_VISIBLE_DEVICES"] == AT_IMPORT == ",".join(mine.devices)
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert {os.environ[name] for name in THREAD_VARIABLES} == {str(mine.cpu)}
    return {"loss": config["x"], "first": float(mine.devices[0]), "count": float(len(mine.devices)), "gpu": mine.gpu,
            "cpu": float(mine.cpu), "pid": float(os.getpid())}  # fmt: skip


def found(executor: Processes, jobs: list[Job]) -> list[Any]:
    for job in jobs:
        executor.submit(job)
    outcomes = [executor.wait(900.0) for _ in jobs]
    return [outcome[1] for outcome in outcomes if outcome is not None]


def test_each_worker_has_its_own_before_it_imports_anything_and_so_has_the_one_that_replaces_it() -> None:
    """Two trials a device, two threads each: every worker, and after a death the new one, by the environment that it reports."""
    executor = Processes(place_of, workers=2, devices=[3, 5], resources={"cpu": 2, "gpu": 0.5})
    try:
        before = executor.pids
        results = found(executor, [Job(trial, {"x": 0.5}, 1) for trial in range(2)])
        assert all(isinstance(result, Result) and result.error is None for result in results), results
        assert Counter(result.metrics["first"] for result in results) == {3.0: 1, 5.0: 1}
        assert {result.metrics["cpu"] for result in results} == {2.0} and {result.metrics["gpu"] for result in results} == {0.5}
        owners = {result.metrics["pid"]: result.metrics["first"] for result in results}
        found(executor, [Job(2, {"x": -1.0}, 1)])
        (dead,) = {*before} - {*executor.pids}
        results = found(executor, [Job(trial, {"x": 0.5}, 1) for trial in (3, 4)])
        again = {result.metrics["pid"]: result.metrics["first"] for result in results}
        (heir,) = again.keys() - owners.keys()
        assert again[heir] == owners[dead]
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [("0", 1.0), ("1", 1.0), ("2", 1.0)]),  # one a device
        ({"workers": 1}, [("0,1,2", 3.0)]),
        ({"workers": 2}, [("0", 1.0), ("1", 1.0)]),
        ({"workers": 4}, [("0", 0.5), ("1", 0.5), ("2", 0.5), ("0", 0.5)]),
        ({"resources": {"gpu": 0.5}}, [(str(place % 3), 0.5) for place in range(6)]),
        ({"resources": {"gpu": 0.4}, "workers": 3}, [("0", 0.4), ("1", 0.4), ("2", 0.4)]),
        ({"resources": {"gpu": 2}}, [("0,1", 2.0)]),
        ({"resources": {"gpu": 1, "cpu": 2}}, [("0", 1.0), ("1", 1.0)]),
        ({"resources": {"gpu": 0, "cpu": 4}}, [("", 0.0)]),
        ({"resources": {"gpu": 0}, "workers": 2}, [("", 0.0), ("", 0.0)]),
        ({"devices": ["GPU-8e3f", "MIG-1/7/0"]}, [("GPU-8e3f", 1.0), ("MIG-1/7/0", 1.0)]),
        ({"devices": []}, [("", 0.0), ("", 0.0)]),
    ],
    ids=str,
)
def test_shares_of_three_devices(options: dict[str, Any], expected: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    shares = plan_workers(options.get("workers"), options.get("resources"), options.get("devices"))
    assert [(share.environment(False)["CUDA_VISIBLE_DEVICES"], share.gpu) for share in shares] == expected


def test_a_machine_without_devices_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = plan_workers(None, None, None)
    assert len(shares) == 2 and {share.devices for share in shares} == {None}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for share in shares:
        variables = share.environment(False)
        assert "CUDA_VISIBLE_DEVICES" not in variables and variables["OMP_NUM_THREADS"] == "3"
        assert share.environment(True)["OMP_NUM_THREADS"] == "1", "what is declared goes before what was there"
    assert worker_resources() == devices.WorkerResources(4, 0.0, None)


@given(
    st.integers(1, 9) | st.none(),
    st.fixed_dictionaries({}, optional={
        "cpu": st.sampled_from([0.5, 1, 2, 3]), "gpu": st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 0.7, 1, 2, 3]),
    }),
    st.integers(0, 5),
)  # fmt: skip
def test_nothing_is_given_twice(workers: int | None, resources: dict[str, float], count: int) -> None:
    """Whatever is asked for: every worker has what a trial needs and no device is overbooked, or a sentence says why."""
    try:
        shares = plan_workers(workers, resources, list(range(count)))
    except ValueError as error:
        assert "here, which ha" in str(error) and resources
        return
    assert workers in (None, len(shares)) and len(shares) >= 1
    used: Counter[str] = Counter()
    for share in shares:
        assert share.devices is not None and len(share.devices) == (1 if 0 < share.gpu < 1 else share.gpu)
        assert share.gpu == resources.get("gpu", share.gpu)
        used.update({name: min(1.0, share.gpu) for name in share.devices})  # type: ignore[arg-type]
    assert all(amount <= 1 + 1e-9 for amount in used.values()) and set(used) <= {str(place) for place in range(count)}
    assert len(shares) * resources.get("cpu", 0) <= devices.count_cores()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 4, "resources": {"gpu": 0.5}}, r"4 workers with 0\.5 GPUs each came, but 1 GPU is here, which has room"),
        ({"resources": {"gpu": 2}}, "a trial with 2 GPUs came, but 1 GPU is here, which has room for 0 trials at once"),
        ({"workers": 3, "resources": {"cpu": 2}}, "3 workers with 2 CPU cores each came, but 4 CPU cores are here, which have"),
        ({"resources": {"gpu": 1.5}}, r"resources has 1\.5 of 'gpu'; allowed are a fraction of one, and whole ones"),
        ({"resources": {"gpus": 1}}, r"resources names 'gpus'; allowed are \['cpu', 'gpu'\]"),
        ({"resources": {"cpu": -1}}, "resources has -1 of 'cpu'; allowed is a finite number of at least 0"),
        ({"resources": 2}, "resources is 2; allowed is a mapping such as"),
        ({"devices": "0,1"}, "devices is '0,1'; allowed is a list of numbers or UUIDs"),
        ({"devices": [0, "cuda:1"]}, "devices holds 'cuda:1'; allowed is a list"),
        ({"devices": [0, "0"]}, "which names one twice; workers share a device by resources="),
    ],
    ids=str,
)
def test_more_than_there_is_is_refused(options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match=said):
        Processes(square, **options)


@pytest.mark.parametrize(
    ("visible", "names"),
    [("", ()), ("-1", ()), ("NoDevFiles", ()), ("2, 0", ("2", "0")), ("1,-1,0", ("1",)), ("GPU-a1,MIG-b2", ("GPU-a1", "MIG-b2"))],
)
def test_the_variable_is_read_as_cuda_reads_it(visible: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_devices() == names


LISTING = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-2a4c)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-99e1)
  MIG 3g.40gb     Device  0: (UUID: MIG-11aa)
  MIG 1g.10gb     Device  1: (UUID: MIG-22bb)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-77f0)
"""


def test_the_listing_of_the_driver_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_listing(LISTING) == ("0", "MIG-11aa", "MIG-22bb", "2") and read_listing("No devices were found") == ()
    monkeypatch.undo()
    for status, names in ((0, ("0", "MIG-11aa", "MIG-22bb", "2")), (9, ())):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\ntest \"$1\" = -L || exit 3\ncat <<'E'\n{LISTING}E\nexit {status}\n")
        tool.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            devices._ask_driver.cache_clear()
            assert list_devices() == names
    devices._ask_driver.cache_clear()


def test_minimize_takes_what_a_trial_needs(tmp_path: Path) -> None:
    study = hpo.minimize(
        place_of, Space(x=Float(0.0, 1.0)), "random", 3, executor="processes", resources={"gpu": 0.5, "cpu": 1},
        executor_options={"devices": [7]}, quiet=True,
    )  # fmt: skip
    assert {(result.metrics["first"], result.metrics["gpu"]) for result in study.history.results.values()} == {(7.0, 0.5)}
    with pytest.raises(ValueError, match=r"the threads executor has no option 'resources'; those that have it are \['processes'"):
        hpo.minimize(place_of, Space(x=Float(0.0, 1.0)), "random", 3, executor="threads", resources={"gpu": 1}, quiet=True)
    with pytest.raises(ValueError, match=r"the ray executor has no option 'adress'; allowed are \['workers', 'timeout', 'reso"):
        hpo.minimize(square, Space(x=Float(0.0, 1.0)), "random", 3, executor="ray", executor_options={"adress": "auto"})
    with pytest.raises(ValueError, match=r"executor_options holds 'workers', which is an argument of its own"):
        hpo.minimize(square, Space(x=Float(0.0, 1.0)), "random", 3, executor_options={"workers": 2}, quiet=True)
