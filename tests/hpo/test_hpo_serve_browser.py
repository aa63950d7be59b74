"""hpo serve in a real Chromium: it shows everything, follows what other processes tell, escapes texts, and asks nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'hpo-lm[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'hpo-lm[serve]'")

import hpo
from hpo.job import Result
from hpo.serve import Server
from tests.hpo.browser import Visit, chromium  # noqa: F401 - a fixture
from tests.hpo.commands import NAMES, environment
from tests.hpo.page_latency import write_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# What the words above the table say is what the head of the page says.
FRESH = """() => parseInt(document.querySelector("[data-panel=trials] .note").textContent.replaceAll(",", "")) ===
  parseInt([...document.querySelectorAll("#cards .card")].find((card) => /configurations? tried/.test(card.textContent))
    .firstChild.textContent.replaceAll(",", ""))"""
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


def count_rows(page: Page) -> int:
    """Of the table of trials, once it is in sight and up to date."""
    page.locator("table.trials").scroll_into_view_if_needed()
    page.wait_for_function(FRESH)
    page.evaluate("scrollTo(0, 0)")
    return page.locator("table.trials tbody tr[data-trial]").count()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark"), pytest.param(1400, "dark", marks=SLOW)])
def test_every_kind_of_study_is_shown(width: int, scheme: str, chromium: Browser, serve: Any, studies: Path) -> None:  # noqa: F811
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
            assert count_rows(page) == len(study.history.trials)
            assert visit.width() <= width, name
            shown = set(page.eval_on_selector_all("section:not([hidden]) h2", "all => all.map((one) => one.textContent)"))
            assert ("Lineage" in shown) == (name == "pbt") and ("Pareto front" in shown) == (name == "front")
            assert ("Failures" in shown) == (name in ("failing", "none")) and ("Rungs" in shown) == (study.header.horizon > 1)
        assert visit.faults == []
        assert {request.split("?")[0] for request in visit.requests if not request.startswith(url)} <= {"data:,"}


def test_it_follows_what_another_process_tells(chromium: Browser, serve: Any, tmp_path: Path) -> None:  # noqa: F811
    log = tmp_path / "study.db"
    space = hpo.Space(x=hpo.Float(0.0, 1.0), kind=hpo.Categorical(["a", "b"]))
    hpo.minimize(lambda config: 5.0 + config["x"], space, hpo.Random(space), 8, log=log, quiet=True)
    with Visit(chromium) as visit:
        page = visit.open(serve(log))
        page.evaluate("window.mark = 'never loaded again'")
        trial = tell(log, 0.125)
        page.wait_for_function("() => document.querySelector('.card.best b').textContent === '0.125'")
        page.locator("table.trials").scroll_into_view_if_needed()
        page.wait_for_selector(f"table.trials tr[data-trial='{trial}']")
        assert "Best 0.125" in page.title() and page.evaluate("window.mark") == "never loaded again"
        assert visit.faults == []


def test_drivers_are_shown_while_they_work(chromium: Browser, serve: Any, tmp_path: Path) -> None:  # noqa: F811
    study = hpo.Study(hpo.Random(hpo.Space(x=hpo.Float(0.0, 1.0))), log=tmp_path / "study.db")
    with Visit(chromium, 390) as visit:
        page = visit.open(serve(tmp_path / "study.db"))
        assert study.optimizer.ask() is not None
        page.wait_for_selector("[data-panel=drivers]:not([hidden])", state="attached")
        page.locator("[data-panel=drivers]").scroll_into_view_if_needed()
        page.wait_for_selector("[data-panel=drivers] tbody tr")
        assert page.locator("[data-panel=drivers] tbody td").all_inner_texts() == ["", "asked for by hand", "trial 0", ""]
        assert visit.width() <= 390 and visit.faults == []


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'`\u2028"


def test_texts_are_only_texts(chromium: Browser, serve: Any, tmp_path: Path) -> None:  # noqa: F811
    """Names of parameters, choices, metrics, studies; errors and tracebacks: on the live page and in the report."""
    choice = hpo.Categorical([EVIL, f"{EVIL} 2"])
    space = hpo.Space({f"p {EVIL}": choice, "x": hpo.Float(0.0, 1.0), f"c {EVIL}": hpo.Const(EVIL)})
    log = tmp_path / "<b>study&amp;.db"
    study = hpo.Study(hpo.Random(space, seed=1), objectives={f"loss {EVIL}": "min", "b": "max"}, unit=f"{EVIL}s", horizon=3,
                      log=log)  # fmt: skip
    for number in range(12):
        job = study.optimizer.ask()
        assert job is not None
        bad = Result(error=f"ValueError: {EVIL}", traceback=f"Traceback {EVIL}")
        good = Result({f"loss {EVIL}": job.config["x"], "b": 1.0 - job.config["x"], f"m {EVIL}": 1.0})
        study.optimizer.tell(job, bad if number % 4 == 3 else good)
    report = study.report(tmp_path / "report.html", title=EVIL)
    for url in (serve(log), report.as_uri()):
        with Visit(chromium) as visit:
            page = visit.open(url)
            count_rows(page)
            visit.scroll()
            page.locator(".failures summary").first.click()
            page.locator("[data-panel=history] canvas").hover(position={"x": 300, "y": 150})
            assert EVIL in page.inner_text(".failures pre") and EVIL.strip() in page.inner_text("table.trials")
            assert page.evaluate("document.querySelectorAll('main img, main script, main b b').length") == 0
            assert visit.faults == []


def test_brushing(chromium: Browser, serve: Any, studies: Path) -> None:  # noqa: F811
    """A range that is dragged along an axis leaves what lies inside it, everywhere; a click takes it away again."""
    study = hpo.load(studies / "gp.db")
    with Visit(chromium) as visit:
        page = visit.open(serve(studies / "gp.db"))
        canvas = page.locator("[data-panel=parallel] canvas")
        canvas.scroll_into_view_if_needed()
        page.wait_for_function("() => document.querySelector('[data-panel=parallel] canvas').dataset.axes")
        axes = {name: rest for name, *rest in json.loads(str(canvas.get_attribute("data-axes")))}
        across, low, high = axes["layers"]  # from 1 at `high` to 8 at `low`
        box = canvas.bounding_box()
        assert box is not None and "loss ↓" in axes
        page.mouse.move(box["x"] + across, box["y"] + low - 12)
        page.mouse.down()
        page.mouse.move(box["x"] + across, box["y"] + low + (high - low) * 2.5 / 7, steps=4)
        page.mouse.up()
        inside = {key[0] for key in study.history.results if study.history.jobs[key].config["layers"] > 5.5}
        assert 0 < len(inside) < 12 and f" {len(inside)} of 12 lie inside." in page.inner_text("[data-panel=parallel] .note")
        page.locator("table.trials").scroll_into_view_if_needed()
        page.wait_for_function("() => document.querySelector('[data-panel=trials] .note').textContent.includes(' of 12 trials')")
        shown = page.eval_on_selector_all("table.trials tr[data-trial]", "rows => rows.map((row) => Number(row.dataset.trial))")
        assert {*shown} == inside
        page.locator("[data-panel=trials] button.plain").click()
        assert count_rows(page) == 12 and visit.faults == []


def test_sorting_and_two_configurations(chromium: Browser, serve: Any, studies: Path) -> None:  # noqa: F811
    study = hpo.load(studies / "gp.db")
    with Visit(chromium) as visit:
        page = visit.open(serve(studies / "gp.db"))
        assert count_rows(page) == 12
        first = "table.trials tr[data-trial]"
        assert page.get_attribute(first, "data-trial") == str(study.best.number)
        page.locator("table.trials th button", has_text="lr").click()
        rates = {key[0]: study.history.jobs[key].config["lr"] for key in study.history.results}
        shown = page.eval_on_selector_all(first, "rows => rows.map((row) => Number(row.dataset.trial))")
        assert shown == sorted(rates, key=rates.__getitem__)
        for trial in (7, 3):
            page.locator(f"table.trials tr[data-trial='{trial}']").click()
        page.locator("[data-panel=compare]").scroll_into_view_if_needed()
        page.wait_for_function("() => document.querySelector('[data-panel=compare] th:nth-child(2)').textContent === 'trial 3'")
        said = page.inner_text("[data-panel=compare]")
        better = min((3, 7), key=lambda trial: study.trial((trial, 1)).value)
        assert f"Trial {better} is better." in said and "trial 7" in said
        differ = {name for name in study.space.columns
                  if study.history.jobs[3, 1].config.get(name) != study.history.jobs[7, 1].config.get(name)}  # fmt: skip
        names = page.eval_on_selector_all("[data-panel=compare] td:first-child", "all => all.map((one) => one.textContent)")
        assert {*names} & {*study.space.columns} == differ and visit.faults == []


def test_the_report_is_the_same_page(chromium: Browser, studies: Path, tmp_path: Path) -> None:  # noqa: F811
    """Frozen, in one file, at 390 pixels: the table scrolls in its own box, and nothing is asked of anybody."""
    for name in ("asha", "pbt", "front", "none"):
        study = hpo.load(studies / f"{name}.db")
        page_file = study.report(tmp_path / f"{name}.html")
        for width in (390, 1400):
            with Visit(chromium, width) as visit:
                page = visit.open(page_file.as_uri())
                visit.scroll()
                assert count_rows(page) == len(study.history.trials) and visit.width() <= width
                assert visit.faults == [] and visit.requests == [page_file.as_uri()]
                drawn = page.eval_on_selector_all("canvas", "all => all.map((one) => one.closest('.plot').plot.drawn)")
                assert all(drawn) and (len(drawn) > 0)
                if width == 390:
                    box = page.eval_on_selector(".table.rows", "box => [box.clientWidth, box.scrollWidth]")
                    assert box[0] < 390 and (box[0] < box[1] or len(study.space.columns) < 4)


def test_the_report_of_a_wide_space(chromium: Browser, tmp_path: Path) -> None:  # noqa: F811
    wide = hpo.Space({f"parameter_{i}": hpo.Float(0, 1) for i in range(20)})
    study = hpo.minimize(lambda config: config["parameter_3"], wide, hpo.Random(wide), 60, quiet=True)
    with Visit(chromium, 390) as visit:
        page = visit.open(study.report(tmp_path / "r.html").as_uri())
        visit.scroll()
        assert count_rows(page) > 10 and visit.width() <= 390 and visit.faults == []
        assert page.eval_on_selector(".table.rows", "box => box.clientWidth < 390 && box.scrollWidth > 1500")


def test_without_scripts_the_report_still_says_what_it_found(chromium: Browser, studies: Path, tmp_path: Path) -> None:  # noqa: F811
    study = hpo.load(studies / "asha.db")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(study.report(tmp_path / "r.html").as_uri())
    text = page.inner_text("main")
    assert "Sobol indices of a Gaussian process" in text and f"Best {study.best.value:.4g}" in text
    assert page.locator("table.sortable tbody tr").count() == len(study.history.trials)
    context.close()


@pytest.mark.slow
def test_ten_thousand_trials(chromium: Browser, serve: Any, tmp_path: Path) -> None:  # noqa: F811
    """The page shows them, with as many elements as ever, and goes on following."""
    write_study(str(tmp_path / "long.db"), 10_000)
    with Visit(chromium) as visit:
        page = visit.open(serve(tmp_path / "long.db"))
        assert count_rows(page) < 60
        visit.scroll()
        assert page.evaluate("document.querySelectorAll('*').length") < 3000
        assert "10,000 trials" in page.inner_text("[data-panel=trials] .note")
        drawn = page.eval_on_selector_all(".plot", "all => all.filter((one) => one.clientWidth).map((one) => one.plot.drawn)")
        assert len(drawn) >= 5 and all(drawn)
        before = page.inner_text("#cards")
        tell(tmp_path / "long.db", 5.0)
        page.wait_for_function("(before) => document.querySelector('#cards').innerText !== before", arg=before)
        assert visit.faults == []


def test_several_studies_side_by_side(chromium: Browser, serve: Any, studies: Path) -> None:  # noqa: F811
    with Visit(chromium) as visit:
        page = visit.open(serve(studies / "gp.db", studies / "bounds.db", studies / "asha.db"))
        rows = "[data-panel=beside] tbody tr"
        page.wait_for_function("(all) => [...document.querySelectorAll(all)].every((row) => row.cells[2].textContent)", arg=rows)
        found = page.eval_on_selector_all(rows, "all => all.map((row) => [row.cells[0].textContent, row.cells[1].textContent])")
        assert [name for name, _ in found] == ["gp.db", "bounds.db", "asha.db"]
        assert found[0][1] == f"{hpo.load(studies / 'gp.db').best.value:.4g}"
        page.locator(rows).nth(2).locator("button").click()
        page.wait_for_function("() => document.title.startsWith('asha.db')")
        assert page.url.endswith("#asha.db") and visit.faults == []
