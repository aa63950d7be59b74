"""The commands of a batch system: Slurm's, or those that a user names for PBS, LSF, Grid Engine and others."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hpo.values import format_value

PATIENCE = 600.0  # seconds that a command may take: a scheduler under load answers late
MEANINGS = ("lost", "memory", "timeout")


class BatchSystemError(Exception):
    """A command of a batch system failed; its text is what it said."""


@dataclass(frozen=True)
class BatchSystem:
    """Three commands, each with places in braces, none of them run by a shell.

    submit   hands in a script and prints its job's number. Places: {script}, {log} for what the job prints, {name}, and
             {options}, a word of its own, for further words
    cancel   ends jobs: {jobs}, a word of its own
    status   prints a line for every job that waits or runs; it may list others, and such as have ended
    number   a regular expression whose first group is the job's number in what `submit` prints
    line     a regular expression with the groups `job` and `state` for a line of `status`
    ended    states of jobs that run no more, and what each means: "timeout" and "memory" are the configuration's fault, "lost" is
             the machine's. A job that is not listed any more is lost if it left no result
    header   lines of the script behind its first, such as "#PBS -l walltime=4:00:00"
    """

    submit: str
    cancel: str
    status: str
    number: str = r"(\d+)"
    line: str = r"^\s*(?P<job>\d+)\S*\s+(?P<state>\S+)"
    ended: Mapping[str, str] = field(default_factory=dict)
    header: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, places in (("submit", ["{script}"]), ("cancel", ["{jobs}"]), ("status", [])):
            text = getattr(self, name)
            if not isinstance(text, str) or not text.strip() or not all(place in text for place in places):
                needed = f" with {places[0]}" if places else ""
                raise ValueError(f"{name} is {format_value(text)}; allowed is a command line{needed}")
        for name, groups in (("number", 1), ("line", 2)):
            try:
                compiled = re.compile(getattr(self, name))
            except (re.error, TypeError) as error:
                raise ValueError(f"{name} is {format_value(getattr(self, name))}, no regular expression: {error}") from None
            if compiled.groups < groups or (name == "line" and not {"job", "state"} <= compiled.groupindex.keys()):
                raise ValueError(f"{name} is {format_value(getattr(self, name))}; it needs "
                                 f"{'a group for the number' if groups == 1 else 'the groups job and state'}")  # fmt: skip
        for state, meaning in self.ended.items():
            if meaning not in MEANINGS:
                raise ValueError(f"ended[{state!r}] is {format_value(meaning)}; allowed are {list(MEANINGS)}")

    def find_missing(self) -> str | None:
        """The first of its programs that is not on this machine's PATH."""
        programs = (shlex.split(command)[0] for command in (self.submit, self.cancel, self.status))
        return next((program for program in programs if shutil.which(program) is None), None)

    def hand_in(self, script: str, log: str, name: str, options: Sequence[str]) -> str:
        """Submits a script; its job's number. BatchSystemError if that fails."""
        said = _call(self.submit, {"script": script, "log": log, "name": name}, options=options)
        match = re.search(self.number, said, re.MULTILINE)
        if match is None:
            program = shlex.split(self.submit)[0]
            raise BatchSystemError(f"{program} printed {format_value(said)}, in which {self.number} finds no number")
        return match[1]

    def end_jobs(self, jobs: Iterable[str]) -> None:
        """Cancels jobs, if there are any. BatchSystemError if that fails."""
        if listed := list(jobs):
            _call(self.cancel, {}, jobs=listed)

    def read_states(self) -> dict[str, str]:
        """The states of all jobs that it lists. BatchSystemError if it does not answer."""
        said = _call(self.status, {})
        found = (re.search(self.line, line) for line in said.splitlines())
        return {match["job"]: match["state"] for match in found if match is not None}


SLURM = BatchSystem(
    submit="sbatch --parsable --no-requeue --job-name={name} --output={log} {options} {script}",
    cancel="scancel {jobs}",
    status="squeue --me --noheader --states=all --format=%i|%T",
    number=r"^(\d+)",
    line=r"^(?P<job>\d+)\|(?P<state>\w+)",
    ended={
        **dict.fromkeys(("BOOT_FAIL", "CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "PREEMPTED", "REVOKED"), "lost"),
        "DEADLINE": "timeout", "TIMEOUT": "timeout", "OUT_OF_MEMORY": "memory",
    },
)  # fmt: skip


def _call(command: str, places: Mapping[str, str], **several: Sequence[str]) -> str:
    """What a command prints."""
    words: list[str] = []
    for word in shlex.split(command):
        if word[1:-1] in several and word == f"{{{word[1:-1]}}}":
            words += several[word[1:-1]]
        else:
            for name, value in places.items():
                word = word.replace(f"{{{name}}}", value)
            words.append(word)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BatchSystemError(f"{words[0]}: {error}") from None
    if done.returncode:
        raise BatchSystemError(f"{words[0]} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
