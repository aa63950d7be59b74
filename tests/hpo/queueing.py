"""A batch system for tests: a queue of real processes with a number of slots, whose jobs wait, run, end and can be killed.

`python -I -S queueing.py PROGRAM ARGUMENTS` is one of its programs: sbatch, squeue and scancel of Slurm, or qsub, qstat and qdel
of PBS. Everything stands in the folder QUEUE: a folder a job with its state, and a file a slot that a running job has locked.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "PREEMPTED", "TIMEOUT", "OUT_OF_MEMORY")
PROGRAMS = ("sbatch", "squeue", "scancel", "qsub", "qstat", "qdel")
LISTED = {"PENDING": "Q", "RUNNING": "R"}  # what qstat lists, and how


def install(folder: Path, slots: int) -> Path:
    """Makes a queue in a folder; the folder of its programs."""
    (folder / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{os.path.abspath(__file__)}" {name} "{folder}" "$@"\n')
        program.chmod(0o755)
    (folder / "slots").mkdir()
    for place in range(slots):
        (folder / "slots" / str(place)).touch()
    (folder / "jobs").mkdir()
    return folder / "bin"


def jobs(queue: Path) -> list[Path]:
    """The folders of all jobs, by number."""
    return sorted((queue / "jobs").iterdir(), key=lambda job: int(job.name))


def state(job: Path) -> str:
    return (job / "state").read_text() if (job / "state").exists() else "PENDING"


def enter(job: Path, new: str) -> None:
    """A job's new state, unless it has ended."""
    if state(job) not in ENDED:
        (job / "state.new").write_text(new)
        os.replace(job / "state.new", job / "state")


def end(job: Path, how: str, number: int = signal.SIGKILL) -> None:
    """A job ends now, as Slurm would call it, with all its processes."""
    enter(job, how)
    with suppress(FileNotFoundError, ProcessLookupError):
        os.killpg(int((job / "group").read_text()), number)


def submit(queue: Path, words: list[str]) -> str:
    """A new job's number. Its script is copied, as the real ones do."""
    (queue / "refuse").exists() and sys.exit("the controller does not answer")
    number = 1
    while True:
        job = queue / "jobs" / str(number)
        try:
            job.mkdir()
            break
        except FileExistsError:
            number += 1
    *options, script = words
    (job / "script").write_text(Path(script).read_text())
    (job / "options").write_text("\n".join(options))
    output = [options[place + 1] for place, word in enumerate(options) if word == "-o"]
    output += [word.partition("=")[2] for word in options if word.startswith("--output=")]
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, "attend", str(queue), str(number), *output], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return str(number)


def attend(queue: Path, number: str, output: str = os.devnull) -> None:
    """Waits for a free slot, runs the script in a session of its own, and notes how it ended."""
    job = queue / "jobs" / number
    held = None
    while held is None:
        if state(job) != "PENDING" or not queue.exists():
            return
        for slot in (queue / "slots").iterdir():
            file = slot.open()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            held = file
            break
        else:
            time.sleep(0.02)
    with open(output, "w") as log:
        child = subprocess.Popen(["/bin/sh", str(job / "script")], start_new_session=True, stdout=log, stderr=log, cwd="/")
    (job / "group").write_text(str(child.pid))
    enter(job, "RUNNING")
    if state(job) != "RUNNING":  # cancelled in this moment
        end(job, "CANCELLED")
    enter(job, "FAILED" if child.wait() else "COMPLETED")


def main(program: str, place: str, *words: str) -> None:
    queue = Path(place)
    if program == "attend":
        attend(queue, *words)
    elif program in ("sbatch", "qsub"):
        print(submit(queue, list(words)) + (".server" if program == "qsub" else ""))
    elif program in ("scancel", "qdel"):
        for word in words:
            end(queue / "jobs" / word.partition(".")[0], "CANCELLED", signal.SIGTERM)
    elif (queue / "silent").exists():
        sys.exit("the controller does not answer")
    elif program == "squeue":
        print(*(f"{job.name}|{state(job)}" for job in jobs(queue) if not (queue / "forget" / job.name).exists()), sep="\n")
    else:
        print("Job id            Name             User              Time Use S Queue\n----------------- ---------------- -")
        for job in jobs(queue):
            if (now := state(job)) in LISTED:
                print(f"{job.name}.server  hpo  user  00:00:00 {LISTED[now]} batch")


if __name__ == "__main__":
    main(*sys.argv[1:])
