"""The command: `python -m experiments.benchmark`. Runs what is missing, stores it, and writes tables and figures.

    python -m experiments.benchmark                                     # everything that is missing, one process
    python -m experiments.benchmark --suite mixed --seeds 3 --workers 2
    python -m experiments.benchmark --suite fresh                       # the eleven held-out tasks
    python -m experiments.benchmark --task branin --method GP --method random
    python -m experiments.benchmark --acquisition my_module:my_function # our GP with an acquisition of your own, too
    python -m experiments.benchmark --results runs/mine                 # studies of your own, and their page
    python -m experiments.benchmark --table | --timing | --recheck | --list

Tables and figures are written to runs/benchmark; those of a --results of your own to the folder `page` in it. What is missing
is said of the tasks that were asked for.

Exit codes: 0 done, 1 some studies failed (they are run again next time), 2 a name that is unknown (one sentence says
which), 130 ended by Ctrl-C (everything that was finished is stored).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress

from experiments.benchmark import methods, runner, store
from experiments.benchmark.methods import METHODS, Method
from experiments.benchmark.recheck import recheck as again
from experiments.benchmark.study import Plan
from experiments.benchmark.tasks import SUITES, TASKS
from experiments.benchmark.timing import CONTENDERS, ON, measure

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
console = Console()


def tasks(suite: str, named: list[str]) -> list[str]:
    """The tasks that were named, else those of the suite. ValueError for a name that is unknown."""
    for name in named:
        if name not in TASKS:
            raise ValueError(f"unknown task {name!r}; allowed are {list(TASKS)}")
    if suite not in SUITES:
        raise ValueError(f"unknown suite {suite!r}; allowed are {list(SUITES)}")
    return named or list(SUITES[suite])


def say(line: str) -> None:
    """One line, whole and at once, also into a pipe; above the progress line where there is one."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def refuse(error: ValueError) -> NoReturn:
    """One sentence and exit code 2."""
    typer.echo(str(error), err=True)
    raise typer.Exit(2) from None


def available(names: list[str]) -> list[str]:
    """The tasks whose data are there; one sentence for each that is left out."""
    for name in names:
        if not TASKS[name].available:
            say(f"{name} is skipped: it needs {TASKS[name].needs} below the folder of shared data (HPO_DATA)")
    return [name for name in names if TASKS[name].available]


def chosen_methods(named: list[str], acquisition: str | None) -> list[Method]:
    """The methods that were named (all if none), cheapest first, and a prototype. ValueError for what is unknown."""
    prototype = [] if acquisition is None else [f"GP({acquisition})"]
    chosen = methods.ordered([*(named or METHODS), *prototype])
    for method in chosen:
        if method.acquisition is not None:
            methods.function(method.acquisition)
    return chosen


def present(method: Method) -> bool:
    """Whether a method's packages are installed; one sentence if they are not."""
    if method.missing is not None:
        say(method.missing)
    return method.missing is None


def listed() -> None:
    """What there is."""
    for task in TASKS.values():
        absent = "" if task.available else f" (needs {task.needs})"
        say(f"task    {task.name:<16} {task.kind:<10} {task.about}{absent}")
    for method in METHODS.values():
        say(f"method  {method.name:<16} {method.seeds:>2} seeds   {method.missing or 'can run here'}")
    say(f"suites  {', '.join(SUITES)}")


def fill(every: list[Plan], folder: Path, limit: float, workers: int) -> int:
    """Runs the studies that are not recorded; 1 if some failed, else 0."""
    left = runner.missing(every, folder)
    say(f"{len(every)} studies, {len(every) - len(left)} recorded already, {len(left)} to run")
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("studies", total=len(left))
        work = runner.Work(left, folder, say, lambda: progress.advance(bar), time.monotonic() + limit)
        runner.go(work, workers)
    runner.clean(folder, {plan.method for plan in every}, say)
    say(f"{work.done} studies run, {work.failed} failed, {len(work.left)} left for another time")
    return 1 if work.failed else 0


def write(folder: Path, asked: list[str] | None) -> None:
    """Tables and figures of everything that is stored, which misses only what was asked for; exit code 2 if nothing is."""
    from experiments.benchmark import analyse  # here: it draws, and most of these commands do not

    if all(path.name == store.TIMING for path in folder.glob("*.jsonl")):
        refuse(ValueError(f"no study is recorded in {str(folder)!r}, so there is nothing to show"))
    analyse.write(folder, asked=asked)


@app.command()
def main(
    suite: Annotated[str, typer.Option(help="which tasks: all, one kind of them, or fresh, which are held out")] = "all",
    task: Annotated[list[str] | None, typer.Option(help="a task by name; may come several times")] = None,
    method: Annotated[list[str] | None, typer.Option(help="a method by name; may come several times")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="at most so many seeds a method")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="evaluations of a study")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="studies at a time, one process and one thread each")] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="start no study after so many seconds")] = float("inf"),
    results: Annotated[
        Path, typer.Option(help="folder of the recorded studies; the page of one of your own lies in it")
    ] = store.RESULTS,
    acquisition: Annotated[str | None, typer.Option(help="module:function, an acquisition for our GP")] = None,
    table: Annotated[bool, typer.Option("--table", help="only write tables and figures")] = False,
    timing: Annotated[bool, typer.Option("--timing", help="only measure seconds, side by side")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="of every measurement of --timing")] = 3,
    limit: Annotated[float, typer.Option(min=1, help="seconds after which a measurement of --timing stops")] = 900,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="only run two recorded studies of each peer again (of ours, one a task)")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="only list tasks, methods and suites")] = False,
) -> None:
    """Ours against its peers: equal evaluations, paired seeds, every run recorded. What is recorded is not run again."""
    try:
        names, chosen = tasks(suite, task or []), chosen_methods(method or [], acquisition)
    except ValueError as error:
        refuse(error)
    asked = names if task or suite not in {one.suite for one in TASKS.values()} else None  # None: a whole suite
    try:
        if show:
            listed()
        elif recheck:
            for line in again(results, [one for one in chosen if (method or not one.ours) and present(one)], available(names)):
                say(line)
        elif timing:
            contenders = [*(method or CONTENDERS), *([f"GP({acquisition})"] if acquisition else [])]
            raise typer.Exit(measure(results, repeats, limit, say, task or ON, contenders))
        elif table:
            write(results, asked)
        else:
            every = runner.plans(available(names), [one for one in chosen if present(one)], seeds, n)
            failed = fill(every, results, seconds, workers)
            write(results, asked)
            raise typer.Exit(failed)
    except KeyboardInterrupt:
        say("ended by Ctrl-C; what was finished is stored")
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
