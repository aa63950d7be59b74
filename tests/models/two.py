"""What two processes do together, started by torchrun: `two.py FOLDER [cpu|cuda]` trains as FOLDER/job.json says."""

import json
import os
import sys
from pathlib import Path

import torch

from models.engines.distributed.group import process_group
from models.engines.distributed.lead import lead
from models.train import TrainRun
from tests.models.tiny import CORPUS, STEP, TINY

torch.set_num_threads(1)


def save_at_the_second(run, path):  # type: ignore[no-untyped-def]
    """What saves a run when it is called the second time."""
    calls = []

    def checkpoint() -> None:
        calls.append(1)
        if len(calls) == 2:
            run.save(path)

    return checkpoint


def main(folder: Path, kind: str) -> None:
    job = json.loads((folder / "job.json").read_text())

    def factory(config, seed, horizon):  # type: ignore[no-untyped-def]
        return TrainRun({**TINY, **config}, seed, horizon, CORPUS, device=kind)

    def script(factory):  # type: ignore[no-untyped-def]
        replies = []
        for one in job:
            try:
                run = factory(one["config"], 0, 60 * STEP)
                if "load" in one:
                    run.load(folder / one["load"])
                inside = save_at_the_second(run, folder / one["inside"]) if "inside" in one else None
                metrics, curve = run.advance(one["until"] * STEP, inside)
                run.save(folder / one["save"])
                replies.append([metrics, curve])
            except ValueError as error:
                replies.append(str(error))
        return replies

    with process_group(kind):
        replies = lead(factory, script)
    if replies is not None:
        (folder / "replies.json").write_text(json.dumps(replies))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cpu")
    # Threads of torch that are still there when the interpreter ends have been seen to abort it, once in many times. What is
    # tested is written by now.
    os._exit(0)
