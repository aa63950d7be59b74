"""The command: `python -m experiments.benchmark`. Runs what is missing, stores it, and writes tables and figures.

    python -m experiments.benchmark                                     # everything that is missing, one process
    python -m experiments.benchmark --suite mixed --seeds 3 --workers 2
    python -m experiments.benchmark --suite fresh                       # the eleven held-out tasks
    python -m experiments.benchmark --task branin --method GP --method random
    python -m experiments.benchmark --acquisition my_module:my_function # our GP with an acquisition of your own, too
    python -m experiments.benchmark --results runs/mine                 # studies of your own, and their page
    python -m experiments.benchmark --results runs/me --method GP --option explore_every=0 --first-seed 100 --seeds 3
                                                                        # our GP and that without looks elsewhere, on other seeds
    python -m experiments.benchmark --table | --timing | --recheck | --list
    python -m experiments.benchmark --timing --table                    # the seconds that were measured last

Tables and figures are written to runs/benchmark; those of a --results of your own to the folder `page` in it. What is missing
is said of the tasks that were asked for. --acquisition and --option are of one method together, GP(...), which stands beside
GP; several such are named by --method "GP(explore_every=0)" --method "GP(explore_every=3, power=True)".

Exit codes: 0 done, 1 some studies failed (they are run again next time) or came out differently (--recheck), 2 a name or an
option that is refused (one sentence says why), 130 ended by Ctrl-C (everything that was finished is stored).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress

from experiments.benchmark import methods, records, runner, timing, variants
from experiments.benchmark.methods import METHODS, Method
from experiments.benchmark.study import Plan
from experiments.benchmark.tasks import SUITES, TASKS, find_task
from experiments.ledger.command import Data, new_app, use_data

app = new_app()
console = Console()


def chosen_tasks(suite: str, named: list[str]) -> list[str]:
    """The tasks that were named, else those of the suite. ValueError for a name that is unknown."""
    for name in named:
        find_task(name)
    if suite not in SUITES:
        raise ValueError(f"unknown suite {suite!r}; allowed are {list(SUITES)}")
    return named or list(SUITES[suite])


def show_line(line: str) -> None:
    """One line, whole and at once, also into a pipe; above the progress line where there is one."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def exit_with(error: ValueError) -> NoReturn:
    """One sentence and exit code 2."""
    typer.echo(str(error), err=True)
    raise typer.Exit(2) from None


def tasks_with_data(names: list[str]) -> list[str]:
    """The tasks whose data are there; one sentence for each that is left out."""
    every = {name: find_task(name) for name in names}
    for name, task in every.items():
        if not task.is_available:
            show_line(f"{name} is skipped: it needs {task.needs} below the folder of shared data (HPO_DATA)")
    return [name for name, task in every.items() if task.is_available]


def chosen_methods(named: list[str], acquisition: str | None, options: list[str]) -> list[Method]:
    """The methods that were named (all if none), cheapest first, and the GP(...) of an acquisition and options.

    ValueError for what is unknown, and for a GP(...) that fails where it is tried.
    """
    variant = variants.make_variant(acquisition, options)
    chosen = methods.sort_by_cost([*(named or METHODS), *([] if variant is None else [variant.name])])
    for method in chosen:
        if method.variant is not None:
            method.variant.check()
    return chosen


def folder_of(results: Path) -> Path:
    """A folder of results, which need not be there. ValueError if it cannot be one."""
    if wrong := next((path for path in (results, *results.parents) if path.exists() and not path.is_dir()), None):
        raise ValueError(f"--results {str(results)!r} cannot be a folder: {str(wrong)!r} is a file")
    return results


def is_present(method: Method) -> bool:
    """Whether a method's packages are installed; one sentence if they are not."""
    if method.absence is not None:
        show_line(method.absence)
    return method.absence is None


def show_list() -> None:
    """What there is."""
    for task in TASKS.values():
        absent = "" if task.is_available else f" (needs {task.needs})"
        show_line(f"task    {task.name:<16} {task.kind:<10} {task.about}{absent}")
    for method in METHODS.values():
        show_line(f"method  {method.name:<16} {method.seeds:>2} seeds   {method.absence or 'can run here'}")
    show_line(f"suites  {', '.join(SUITES)}")


def fill(every: list[Plan], folder: Path, limit: float, workers: int) -> int:
    """Runs the studies that are not recorded; 1 if some failed, else 0."""
    left = runner.list_missing(every, folder)
    show_line(f"{len(every)} studies, {len(every) - len(left)} recorded already, {len(left)} to run")
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("studies", total=len(left))
        work = runner.Work(left, folder, show_line, lambda: progress.advance(bar), time.monotonic() + limit)
        runner.run_queue(work, workers)
    for name in sorted({plan.method for plan in every}):
        if dropped := records.ledger_of(folder, name).prune():
            show_line(f"{name}: {dropped} older lines replaced")
    show_line(f"{work.done} studies run, {work.failed} failed, {len(work.left)} left for another time")
    return 1 if work.failed else 0


def show_pages(folder: Path, asked: list[str] | None) -> None:
    """Tables and figures of everything that is stored, which misses only what was asked for; exit code 2 if nothing is."""
    from experiments.benchmark import pages  # here: it draws, and most of these commands do not

    if all(path.name == records.TIMING for path in folder.glob("*.jsonl")):
        exit_with(ValueError(f"no study is recorded in {str(folder)!r}, so there is nothing to show"))
    try:
        pages.write_pages(folder, asked=asked)
    except ValueError as error:  # all that is stored is of tasks as they were before
        exit_with(error)


def seconds_of(folder: Path) -> None:
    """The seconds that were measured last; exit code 2 if none were."""
    if not timing.latest_run(folder):
        exit_with(ValueError(f"no seconds are recorded in {str(folder)!r}, so there is nothing to show"))
    for line in timing.table_of_seconds(folder):
        show_line(line)


@app.command()
def main(
    suite: Annotated[str, typer.Option(help="which tasks: all, one kind of them, or fresh, which are held out")] = "all",
    task: Annotated[list[str] | None, typer.Option(help="a task by name, or module:NAME; may come several times")] = None,
    method: Annotated[list[str] | None, typer.Option(help="a method by name, or module:Class; may come several times")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="at most so many seeds a method")] = None,
    first_seed: Annotated[int, typer.Option(min=0, max=2**31, help="the first of them")] = 0,
    n: Annotated[int, typer.Option("--n", min=1, help="evaluations of a study")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="studies at a time, one process and one thread each")] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="start no study after so many seconds")] = float("inf"),
    results: Annotated[
        Path, typer.Option(help="folder of the recorded studies; the page of one of your own lies in it")
    ] = records.RESULTS,
    acquisition: Annotated[str | None, typer.Option(help="module:function, an acquisition for our GP")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="name=value, an option of our GP such as explore_every=0; may come several times")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="only write tables and figures")] = False,
    seconds_only: Annotated[bool, typer.Option("--timing", help="only measure seconds, side by side")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="of every measurement of --timing")] = 3,
    limit: Annotated[float, typer.Option(min=1, help="seconds after which a measurement of --timing stops")] = 900,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="only run two recorded studies of each peer again (of ours, one a task)")
    ] = False,
    data: Data = None,
    show: Annotated[bool, typer.Option("--list", help="only list tasks, methods and suites")] = False,
) -> None:
    """Ours against its peers: equal evaluations, paired seeds, every run recorded. What is recorded is not run again."""
    use_data(data)
    try:
        names, folder = chosen_tasks(suite, task or []), folder_of(results)
        chosen = chosen_methods(method or [], acquisition, option or [])
    except ValueError as error:
        exit_with(error)
    asked = names if task or suite not in {one.suite for one in TASKS.values()} else None  # None: a whole suite
    try:
        if show:
            show_list()
        elif recheck:
            whose = [one for one in chosen if (method or one.variant or not one.is_ours) and is_present(one)]
            raise typer.Exit(int(runner.recheck_studies(folder, whose, tasks_with_data(names), show_line) > 0))
        elif seconds_only and table:
            seconds_of(folder)
        elif seconds_only:
            contenders = [one.name for one in chosen if method or one.variant or one.name in timing.CONTENDERS]
            failed = timing.measure_seconds(folder, repeats, limit, show_line, task or timing.ON, contenders)
            raise typer.Exit(int(failed > 0))
        elif table:
            show_pages(folder, asked)
        else:
            every = runner.plans(tasks_with_data(names), [one for one in chosen if is_present(one)], seeds, n, first_seed)
            failed = fill(every, folder, seconds, workers)
            show_pages(folder, asked)
            raise typer.Exit(failed)
    except KeyboardInterrupt:
        show_line("ended by Ctrl-C; what was finished is stored")
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
