"""The importance of hyperparameters, computed in a process of its own: in a thread it would hold the interpreter for seconds, and
nothing would be streamed meanwhile. The process gets the results that it needs on stdin, and answers on stdout, both as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path

from hpo.analysis.captions import describe_importance
from hpo.analysis.export import to_json
from hpo.analysis.feed import Feed
from hpo.analysis.importance import comparable_keys, thin_keys
from hpo.history import History
from hpo.job import Job, Result
from hpo.load import read_header, restore_space
from hpo.trial import best_key

RESULTS = 300  # that the model reads at most
PATIENCE = 10  # by how much the process is nicer than others
CODE = "import sys; sys.path.insert(0, sys.argv[1]); from hpo.serve.model import main; main()"


def collect_results(feed: Feed) -> str:
    """What the models read of a study, as JSON."""
    history, enough = feed.history, 2 * (len(feed.space.columns) + 2)
    with history.lock:
        best = best_key(history)
        keys = thin_keys(comparable_keys(history, enough), RESULTS)
        rows = [[*key, history.jobs[key].config, history.results[key].metrics, history.results[key].error] for key in keys]
        best_config = None if best is None else history.jobs[best].config
        found = {"header": history.header.to_json(), "best": best_config, "results": rows}
    return json.dumps(found)


def model_results(text: str) -> str:
    """The importance for every objective, as JSON, of what `collect_results` gave."""
    found = json.loads(text)
    header = read_header(found["header"], "of the study")
    history, space = History(header), restore_space(header.space, None, "of the study")
    for trial, until, config, metrics, error in found["results"]:
        history.add(Job(trial, config, until), Result(metrics, (), error))
    models = [describe_importance(history, space, found["best"], place) for place in range(len(header.objectives))]
    return json.dumps(to_json(models), allow_nan=False)


def main() -> None:
    """One answer."""
    with suppress(OSError, AttributeError):
        os.nice(PATIENCE)
    sys.stdout.write(model_results(sys.stdin.read()))


async def compute_models(feed: Feed) -> str:
    """`model_results` for a feed, in a process that ends with the task. RuntimeError with its last line where it fails."""
    text = await asyncio.to_thread(collect_results, feed)
    root = str(Path(__file__).resolve().parents[2])
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CODE, root, env={**os.environ, **one}, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        out, said = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"the process ended with {process.returncode}")
    return out.decode()
