"""hpo serve in a real Chromium: it shows everything, follows what other processes tell, escapes texts, and asks nobody else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'hpo-lm[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'hpo-lm[serve]'")

import hpo
from hpo.serve.server import Server
from tests.hpo.browser import Visit, chromium  # noqa: F401 - a fixture
from tests.hpo.commands import NAMES, environment

TELL = """
import sys, hpo
study = hpo.load(sys.argv[1])
job = study.optimizer.ask()
study.optimizer.tell(job, float(sys.argv[2]))
print(job.trial)
"""


@pytest.fixture
def serve() -> Iterator[object]:
    """serve(*logs): a server in this process; the address of its page."""
    servers: list[Server] = []

    def start(*logs: object, **options: object) -> str:
        servers.append(Server([str(log) for log in logs], port=0, **options))  # type: ignore[arg-type]
        servers[-1].start()
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


def tell(log: object, value: float) -> int:
    """In another process: a result of a trial."""
    done = subprocess.run([sys.executable, "-c", TELL, str(log), str(value)], env=environment(), text=True, capture_output=True,
                          check=True)  # fmt: skip
    return int(done.stdout)


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light")])
def test_every_kind_of_study_is_shown(width: int, scheme: str, chromium, serve, studies: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """One page, on which every study is opened in turn: no error, no request elsewhere, nothing wider than the screen."""
    url = serve(*(studies / f"{name}.db" for name in NAMES))
    with Visit(chromium, width, scheme) as visit:
        page = visit.open(url)
        for name in NAMES:
            page.select_option("#study", f"{name}.db")
            page.wait_for_function("(name) => document.title.startsWith(name)", arg=f"{name}.db")
            visit.scroll()
            study = hpo.load(studies / f"{name}.db")
            assert page.inner_text("#lead").startswith(study.summary()[0].upper() + study.summary()[1:])
            rows = page.locator("table.trials tbody tr[data-trial]").count()
            assert rows == len(study.history.trials)
            assert visit.width() <= width, name
            shown = set(page.eval_on_selector_all("section:not([hidden]) h2", "all => all.map((one) => one.textContent)"))
            assert ("Lineage" in shown) == (name == "pbt") and ("Pareto front" in shown) == (name == "front")
            assert ("Failures" in shown) == (name in ("failing", "none")) and ("Rungs" in shown) == (study.header.horizon > 1)
        assert visit.faults == []
        assert {request.split("?")[0] for request in visit.requests if not request.startswith(url)} <= {"data:,"}


def test_it_follows_what_another_process_tells(chromium, serve, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    log = tmp_path / "study.db"
    space = hpo.Space(x=hpo.Float(0.0, 1.0), kind=hpo.Categorical(["a", "b"]))
    hpo.minimize(lambda config: 5.0 + config["x"], space, hpo.Random(space), 8, log=log, quiet=True)
    with Visit(chromium) as visit:
        page = visit.open(serve(log))
        page.evaluate("window.mark = 'never loaded again'")
        trial = tell(log, 0.125)
        page.wait_for_function("document.querySelector('.card.best b').textContent === '0.125'")
        page.locator("table.trials").scroll_into_view_if_needed()
        page.wait_for_selector(f"table.trials tr[data-trial='{trial}']")
        assert "Best 0.125" in page.title() and page.evaluate("window.mark") == "never loaded again"
        assert visit.faults == []
