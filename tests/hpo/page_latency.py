"""How long after a tell in another process is its result on the page, and how does a page of many trials answer?

    python -m tests.hpo.page_latency                                  # an SQLite file, 100 results
    python -m tests.hpo.page_latency --log postgresql --log mysql     # this machine's servers
    python -m tests.hpo.page_latency --trials 10000                   # a study that has so many trials already

Another process asks and tells, a result every 0.3 seconds on average, at random times. It writes down when `tell` was called; the
page, in Chromium, when the number of results had changed on the screen. Both clocks are this machine's. Beside that: until when a
page that is opened shows the study, and the longest time between two frames while it follows.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import hpo
from hpo.logs import Event, open_log
from hpo.serve import Server
from tests.hpo.browser import Visit, find_chromium
from tests.hpo.commands import environment
from tests.hpo.servers import home, url

SPACE = hpo.Space(
    lr=hpo.Float(1e-5, 1e-1, log=True), width=hpo.Int(64, 1024, log=True), layers=hpo.Int(1, 12), dropout=hpo.Float(0.0, 0.5),
    decay=hpo.Float(1e-6, 1.0, log=True), optimizer=hpo.Categorical(["adamw", "sgd", "lion"]),
    momentum=hpo.Float(0.0, 0.99, when={"optimizer": "sgd"}), warmup=hpo.Float(0.0, 0.3),
)  # fmt: skip
TELL = """
import random, sys, time, hpo
study = hpo.load(sys.argv[1])
rng = random.Random(0)
for _ in range(int(sys.argv[2])):
    time.sleep(rng.uniform(0.1, 0.5))
    job = study.optimizer.ask()
    began = time.time()
    study.optimizer.tell(job, rng.uniform(1.0, 9.0))
    print(len(study.history.results), began, time.time(), flush=True)
"""
WATCH = """
window.seen = []; window.longest = 0;
const read = () => { for (const card of document.querySelectorAll("#cards .card"))
  if (/^results?\\b/.test(card.lastChild.textContent)) return Number(card.firstChild.textContent.replaceAll(",", "")); };
let last = read();
new MutationObserver(() => requestAnimationFrame(() => { const now = read();
  if (now !== last) { last = now; window.seen.push([now, Date.now() / 1000]); } }))
  .observe(document.getElementById("cards"), { childList: true, subtree: true, characterData: true });
let before = performance.now();
const tick = () => { const now = performance.now(); window.longest = Math.max(window.longest, now - before); before = now;
  requestAnimationFrame(tick); };
requestAnimationFrame(tick);
"""


def write_study(place: str, trials: int, seed: int = 0) -> None:
    """A study of so many trials, of which one in thirty has failed; three rungs, learning curves, four workers."""
    study = hpo.Study(hpo.ASHA(hpo.Random(SPACE, seed=seed), max_resource=9), unit="steps", log=place)
    study.history.log.close()
    log, rng, now = open_log(place), random.Random(seed), time.time() - trials
    log.open(log.header() or {})
    rows = SPACE.domain.random(np.random.default_rng(seed), trials)
    log.append(Event("run", {}, now))
    for trial, row in enumerate(rows):
        config = SPACE.decode(row)
        for until in (1, 3, 9)[: 1 if trial % 3 else 2 if trial % 9 else 3]:
            now += 0.3
            source = None if until == 1 else [trial, until // 3]
            job = {"trial": trial, "config": config, "until": until, "source": source, "seed": 0, "note": {}}
            log.append(Event("start", {"job": job, "seen": 0, "attempt": 0, "driver": 0}, now))
            value = 9.0 + abs(rng.gauss(0, 1)) + 9.0 / until + config["dropout"]
            is_bad = until == 1 and trial % 30 == 1
            result = {"metrics": {} if is_bad else {"loss": value}, "curve": [[step, value] for step in range(1, until + 1)],
                      "error": "RuntimeError: out of memory" if is_bad else None, "system": {"seconds": 0.25},
                      "traceback": f"Traceback\n  trial {trial % 90}\nRuntimeError" if is_bad else None}  # fmt: skip
            log.append(Event("finish", {"trial": trial, "until": until, "result": result}, now + 0.25))
            if is_bad:
                break
    log.close()


def measure(place: str, count: int, trials: int) -> str:
    """One kind of log, in a sentence."""
    from playwright.sync_api import sync_playwright

    if trials:
        write_study(place, trials)
    else:
        hpo.Study(hpo.Random(SPACE, seed=1), log=place).history.log.close()
    server = Server([place], port=0)
    server.start()
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
            first = _open(server, browser)
            with Visit(browser) as visit:
                again = _open_page(server, visit)
                visit.scroll()
                visit.page.evaluate(WATCH)
                command = [sys.executable, "-c", TELL, place, str(count)]
                done = subprocess.run(command, env=environment(), text=True, capture_output=True, check=True)
                lines = map(str.split, done.stdout.splitlines())
                told = {int(number): (float(began), float(ended)) for number, began, ended in lines}
                visit.page.wait_for_function("(last) => window.seen.some(([count]) => count >= last)", arg=max(told))
                seen, longest = visit.page.evaluate("[window.seen, window.longest]")
                faults = visit.faults
    finally:
        server.close()
    if faults:
        raise RuntimeError(f"the page said {faults[:3]}")
    waits = [next(at for count, at in seen if count >= number) - began for number, (began, _) in sorted(told.items())]
    commits = [ended - began for began, ended in told.values()]
    middle, late, most = (1000 * value for value in (statistics.median(waits), statistics.quantiles(waits, n=10)[-1], max(waits)))
    return (
        f"{len(waits)} results beside {trials} trials: {middle:.0f} ms from the call of tell to the page at the median (90 %: "
        f"{late:.0f}, most {most:.0f}), of which tell took {1000 * statistics.median(commits):.0f}; opened in {first:.1f} s the "
        f"first time and in {again:.1f} s again; longest time between two frames {longest:.0f} ms"
    )


def _open(server: Server, browser: object) -> float:
    with Visit(browser) as visit:  # type: ignore[arg-type]
        return _open_page(server, visit)


def _open_page(server: Server, visit: Visit) -> float:
    begun = time.monotonic()
    visit.open(server.url)
    return time.monotonic() - begun


def main(
    log: Annotated[list[str], typer.Option(help="sqlite, sqlite?study, postgresql, mysql, mariadb")] = ["sqlite"],  # noqa: B006
    count: Annotated[int, typer.Option(min=2, help="results that are told")] = 100,
    trials: Annotated[int, typer.Option(min=0, help="trials that stand there before")] = 0,
) -> None:
    for name in log:
        with tempfile.TemporaryDirectory() as folder, home(name, Path(folder)):
            print(f"{name}: {measure(url(name, Path(folder)), count, trials)}", flush=True)


if __name__ == "__main__":
    typer.run(main)
