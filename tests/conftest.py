"""What every test stands on: one thread, no network, settled random examples, and where the shared data lie."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Before numpy or torch is imported: two xdist workers on two cores, and sums in the same order every time.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What a shell runs in the background ignores Ctrl-C, and so does all that such tests start, unless it is heard here.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("MPLBACKEND", "Agg")

pytest.register_assert_rewrite("tests")  # helpers and laws imported as tests.something explain their asserts too

try:
    import hypothesis
except ImportError:  # straight from a checkout, with nothing installed, the other tests still run
    pass
else:
    hypothesis.settings.register_profile("dev", deadline=None)
    hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Where torch is loaded later than this, OMP_NUM_THREADS above says the same."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """shared_data("corpora/x.txt") is that file's path under $HPO_DATA or ../shared/data; without it the test skips.

    A test that asks for this fixture has the marker `data`.
    """
    from tests.data import data

    return data


@pytest.hookimpl(tryfirst=True)  # before `-m data` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def freeze_all() -> None:
    """Whatever is there stays: no collection of garbage looks through it again."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """Of libraries and ten thousand tests, which every collection would look through."""
    freeze_all()


@pytest.fixture(scope="module")
def frozen() -> None:
    """What was left by a thousand tests before, too, for the many collections of garbage which a Trainer asks for: they took
    six times as long as the tests themselves."""
    freeze_all()
