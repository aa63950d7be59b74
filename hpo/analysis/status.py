"""How far a study is, in words: what every display says of a snapshot, on a terminal, in a pipe and on one line."""

from __future__ import annotations

from hpo.analysis.lines import amount
from hpo.analysis.snapshot import Snapshot
from hpo.analysis.workers import DriverState
from hpo.job import Key
from hpo.values import quantity

SHOWN = 4  # jobs of a driver that are named


def clock(seconds: float) -> str:
    """Seconds as m:ss, from an hour on as h:mm:ss."""
    whole = max(0, int(seconds))
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return minutes if whole < 3600 else f"{whole // 3600}:{minutes:0>5}"


def decimals(value: float) -> str:
    """A value with four decimals, a very small or large one with four significant digits."""
    return f"{value:.4f}" if value == 0.0 or 0.01 <= abs(value) < 1e4 else f"{value:.4g}"


def describe_pace(a_second: float, what: str) -> str:
    """How many there are in a second, a minute or an hour: `3.2 trials/min`."""
    for seconds, unit in ((1.0, "s"), (60.0, "min"), (3600.0, "h")):
        if a_second * seconds >= 1.0 or unit == "h":
            count = a_second * seconds
            return f"{amount(count) if count >= 1000 else f'{count:.3g}'} {what}/{unit}"
    raise AssertionError("an hour is the last unit")


def describe_time(shown: Snapshot, spent: float, seconds: float | None, since: float = 0.0) -> tuple[float | None, str]:
    """The share that is done, None where nobody knows, and the time in words.

    spent     seconds of search by now; since: those of them after the snapshot was taken
    seconds   that it may take; None for no such limit
    """
    if seconds is not None:
        beyond = f"{clock(spent - seconds)} beyond, to finish the finals"
        rest = f"{clock(seconds - spent)} left" if spent < seconds + 1 else beyond
        share = min(spent / seconds, 1.0) if seconds else 1.0
        return share, f"{clock(spent)} of {clock(seconds)}, {rest if shown.ready else 'workers are starting'}"
    if shown.trials is None:
        return None, clock(spent)
    left = shown.seconds_left(since)
    words = f"{min(shown.first, shown.trials)} of {shown.trials} trials in {clock(spent)}"
    share = min(shown.first / shown.trials, 1.0) if shown.trials else 1.0
    return share, words if left is None else f"{words}, {clock(left)} left"


def describe_jobs(running: int, waiting: int, word: str = " running") -> str:
    """Jobs in flight, `2 running, 1 waiting`: those that train, and those that wait for a free worker; empty without any."""
    parts = [f"{running}{word}"] * bool(running) + [f"{waiting} waiting"] * bool(waiting)
    return ", ".join(parts)


def describe_counts(shown: Snapshot, spent: float) -> list[str]:
    """Trials and results; jobs in flight; rates."""
    done = [quantity(shown.started, "trials"), quantity(shown.finished, "results")]
    done += [f"{shown.failed} failed"] * bool(shown.failed)
    flying = [describe_jobs(shown.total("running"), shown.total("waiting")) or "none running"]
    paused = shown.total("paused")
    flying += [f"{paused} paused"] * bool(paused) + [f"{shown.lost} lost, to be run again"] * bool(shown.lost)
    rates = [describe_pace(shown.pace, "trials")] * bool(shown.pace)
    if shown.unit != "evaluations" and spent > 1.0 and shown.work:
        rates.append(describe_pace(shown.work / spent, shown.unit))
    return [", ".join(done), ", ".join(flying), *rates]


def describe_finals(shown: Snapshot) -> str:
    """Who is trained to the end once the finals have begun; empty before."""
    if shown.finals is None:
        return ""
    best = {0: "", 1: "the best"}.get(shown.finals, f"the best {shown.finals}")
    who = " and ".join([best] * bool(best) + ["the default"] * shown.has_default)
    return f"finals: training to the end {who}"


def describe_driver(driver: DriverState, unit: str, horizon: int) -> tuple[str, str, str, str]:
    """A driver's run, its process, what it has in flight, and what is known of its heartbeat."""
    number = "" if driver.number is None else str(driver.number)
    beat = "" if driver.number is None else "dead" if not driver.is_alive else "alive"
    if driver.silence is not None and driver.lease is not None:
        beat = f"{beat}, heartbeat {driver.silence:.0f} s ago of {driver.lease:.0f}"
    return number, driver.who, _name_jobs(driver.in_flight, unit, horizon), beat


def _name_jobs(keys: tuple[Key, ...], unit: str, horizon: int) -> str:
    names = [f"{trial} until {until}" if horizon > 1 else str(trial) for trial, until in keys[:SHOWN]]
    more = [f"{len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
    return f"{'trials' if len(keys) > 1 else 'trial'} {', '.join(names + more)}" if keys else "nothing"


def describe_status(shown: Snapshot, since: float = 0.0) -> str:
    """One line: time, counts, rates, the best, and why the study ends."""
    spent = shown.spent + since
    _, words = describe_time(shown, spent, shown.seconds, since)
    drivers = [] if shown.drivers is None else [quantity(sum(one.is_alive for one in shown.drivers), "drivers")]
    ended = [f"no new trials: {shown.stopped}"] * bool(shown.stopped)
    return " · ".join([words, *describe_counts(shown, spent), *drivers, shown.summary, *ended])
