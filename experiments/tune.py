"""Tune a small GPT on a text, live, and leave a folder with a report. The same command goes on where it stopped.

    python -m experiments.tune                                        # ASHA over a GP, three minutes, Shakespeare
    python -m experiments.tune --scheduler pbt --sampler random --seconds 600 --text my.txt --folder runs/mine
    python -m experiments.tune --config runs/tune/settings.toml --seconds 600      # go on for longer

Exit codes: 0 done, 2 a setting or a file that cannot be used (one sentence says which), 130 ended by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import build
from experiments.folder import TEXT, Folder
from experiments.handover import KEEP, Handover, before_finals, sentence
from experiments.job import default
from experiments.live import Display, summary
from experiments.settings import ENGINES, SAMPLERS, SCHEDULERS, TOKENIZERS, Settings, read_toml
from experiments.spaces import SPACES
from hpo.executors.processes import Processes
from hpo.logs import SQLiteLog
from hpo.optimizer import Optimizer
from hpo.optimizers.finals import Finals
from hpo.run import Stop, run
from hpo.signals import Terminated, terminable
from hpo.stopping import Turn, search_end
from hpo.study import Study

if TYPE_CHECKING:
    from models.data.batches import Corpus

INTERRUPTED = 130
SETTINGS = "settings.toml"  # in a folder that holds a study
ANEW = "compile compiles each new shape anew, which on a CPU takes many seconds of a trial"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Search:
    """A study that can be run: everything that could be refused has been looked at."""

    settings: Settings
    folder: Folder
    corpus: Corpus
    study: Study
    command: str


def prepare(values: Mapping[str, Any], command: str) -> Search:
    """Settings, text, folder and log, in the order in which they can be wrong. ValueError, OSError or
    ModuleNotFoundError in one sentence."""
    settings = Settings.of(values)
    build.check_device(settings)
    build.optimizer(settings)  # a ladder that does not fit is refused before a folder is made
    corpus = build.corpus(settings)
    if not (Path(settings.folder) / SETTINGS).exists():  # a study that goes on has its limit, from whichever machine
        given, settings = settings.memory is not None, settings.completed()
        build.check_memory(settings, corpus.vocabulary, given)
    folder = Folder(settings.folder)
    settings = folder.adopt(settings, {**build.versions(), TEXT: build.digest(corpus)})
    study = opened(settings, folder, build.optimizer(settings, corpus.vocabulary))
    if default_fits(study, settings) and not study.history.events:
        study.optimizer.enqueue(default(settings.space))  # the default takes part as trial 0
    return Search(settings, folder, corpus, study, command)


def opened(settings: Settings, folder: Folder, search: Optimizer) -> Study:
    """The folder's study, which ends with finals; one from before there were any gets them too."""
    return Study(Finals(search, KEEP), unit="tokens", horizon=settings.horizon, log=SQLiteLog(folder / "log.sqlite"))


def default_fits(study: Study, settings: Settings) -> bool:
    """Whether the memory lets the default configuration in."""
    return study.optimizer.space.feasible(default(settings.space))


def search(work: Search) -> None:
    """Runs the study until its seconds or trials are used up and its finals are over. KeyboardInterrupt leaves everything
    told in the log."""
    settings, study = work.settings, work.study
    turn = Turn(settings.seconds, settings.trials, settings.workers)
    with deaf():
        objective, checkpoints = build.objective(settings), work.folder / "checkpoints"
        pool = Processes(objective, settings.horizon, checkpoints, settings.workers, lookahead=1)
    with Display(settings) as display:
        run(study, pool, Stop(turn=turn), display)
    work.folder.remember(complete={"seconds": settings.seconds, "trials": settings.trials})


@contextmanager
def deaf() -> Iterator[None]:
    """What is spawned in here ignores Ctrl-C from its first instruction on: the driver alone answers to it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def conclude(work: Search, hurry: bool) -> None:
    """Everything that stands in the folder beside the log; in a hurry, after a Ctrl-C, without measurements."""
    from experiments.judge import After
    from experiments.report import write_report

    after = After(work.study, work.settings, work.folder, work.corpus, default_fits(work.study, work.settings))
    if not hurry and not after.measured():
        count = len(after.handover().ends)
        typer.echo(f"judging {count} configuration{'s' * (count > 1)} that reached the end on more of the validation text")
        after.measure()
    found = after.leave()
    sample = after.sample()
    write_report(work.folder, work.study, work.settings, work.corpus, found, sample, work.command)
    typer.echo("\n".join([*summary(work.study.history, work.settings.seconds), said(found, work)]))
    typer.echo(f"report: {work.folder / 'report.html'}")


def said(found: Handover, work: Search) -> str:
    """What is handed over, in one sentence."""
    if found.reason == "alone" and not default_fits(work.study, work.settings):
        return f"{sentence(found, work.study)}; the default configuration does not fit into the memory, and was left out"
    return sentence(found, work.study)


def go(work: Search) -> int:
    """The whole job; the exit code. A Ctrl-C in the search or in the measurements still leaves a report; a second one, and
    SIGTERM, after which there may be no time, leave the log."""
    code = INTERRUPTED
    with terminable():
        try:
            try:
                finish(work)
                return 0
            except KeyboardInterrupt:
                conclude(work, hurry=True)
        except KeyboardInterrupt:
            pass
        except Terminated as end:
            code = int(end.code or 0)
    typer.echo(f"interrupted; everything told is in the log, and this goes on: {work.command}")
    return code


def finish(work: Search) -> None:
    """The search as far as there is something left of it, and what stands beside the log."""
    late = before_finals(work.study) and search_end(work.study.history) is None
    if late and work.study.history.results:
        typer.echo(f"the study in {str(work.folder.path)!r} comes from before there were finals, and ends with them now")
    if work.folder.finished(work.settings) and not late:
        typer.echo(f"{settled(work)}; the report is written anew")
    else:
        search(work)
    conclude(work, hurry=False)


def settled(work: Search) -> str:
    """That there is nothing left to search, and how to go on."""
    used = work.folder.remembered()["complete"]
    more = f"--seconds {2 * used['seconds']:g}"
    if used["trials"] is not None:
        more += f" --trials {2 * used['trials']}"
    return f"the study in {str(work.folder.path)!r} is finished; go on with more: {more}"


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


@app.command(help=__doc__.partition("\n")[0] if __doc__ else None)
def tune(
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; flags override it")] = None,
    space: Annotated[str | None, typer.Option(help=f"what may be tuned: {listed(SPACES)} [standard]")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"what to try: {listed(SAMPLERS)} [gp]")] = None,
    scheduler: Annotated[str | None, typer.Option(help=f"how long: {listed(SCHEDULERS)} [asha]")] = None,
    seconds: Annotated[float | None, typer.Option(help="of search and finals, over all runs, without start-up [180]")] = None,
    trials: Annotated[int | None, typer.Option(help="fresh trials at most [no limit]")] = None,
    text: Annotated[str | None, typer.Option(help="shakespeare, a file, or hf:PATH:CONFIG [shakespeare]")] = None,
    tokenizer: Annotated[str | None, typer.Option(help=f"{listed(TOKENIZERS)} [char]")] = None,
    workers: Annotated[int | None, typer.Option(help="processes that train [2]")] = None,
    seed: Annotated[int | None, typer.Option(help="of the search and of every training [0]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N [cpu]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or fp16 [float32]")] = None,
    horizon: Annotated[int | None, typer.Option(help="tokens of a whole training")] = None,
    min_resource: Annotated[int | None, typer.Option(help="tokens of the lowest rung")] = None,
    reduction_factor: Annotated[float | None, typer.Option(help="between two rungs [3]")] = None,
    context: Annotated[int | None, typer.Option(help="tokens that the model sees at once [64]")] = None,
    memory: Annotated[int | None, typer.Option(help="bytes a worker may take to train [what is free]")] = None,
    engine: Annotated[
        str | None, typer.Option(help=f"how a step is carried out: {listed(ENGINES)}; {ANEW} [eager]")
    ] = None,
    activation_checkpointing: Annotated[
        bool | None, typer.Option(help="compute activations again: less memory, more time [no]")
    ] = None,
    population: Annotated[int | None, typer.Option(help="of PBT [what the seconds allow]")] = None,
    folder: Annotated[str | None, typer.Option(help="where everything is left [runs/tune]")] = None,
) -> int:
    flags = {name: value for name, value in locals().items() if name != "config" and value is not None}
    command = shlex.join([interpreter(), "-m", "experiments.tune", *sys.argv[1:]])
    try:
        stored = read_toml(config)[0] if config is not None else {}
        work = prepare({**stored, **flags}, command)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return refuse(error)
    return go(work)


def interpreter() -> str:
    """The Python that runs this, as it is called from the current folder."""
    here = os.path.join(os.getcwd(), "")
    return sys.executable.removeprefix(here) or "python"


def refuse(error: Exception) -> int:
    """One sentence on stderr, and the exit code."""
    words = " ".join(str(error).split())
    print(f"tune: {words}", file=sys.stderr)
    return 2


def main() -> int:
    """The command line; usage errors in one sentence too."""
    try:
        code = typer.main.get_command(app)(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):  # before there was anything to conclude
        print("tune: interrupted before it began", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # what every usage error has, in whichever package it lives
            raise
        return refuse(ValueError(error.format_message()))
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main())
