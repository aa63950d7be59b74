"""One study that is read on while somebody looks: its events by polling the log, its importance now and then in a thread."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from starlette.exceptions import HTTPException

from hpo.analysis.feed import Feed
from hpo.analysis.status import describe_driver
from hpo.analysis.tree import place_rows
from hpo.analysis.workers import DriverState, list_drivers
from hpo.history import History
from hpo.leases import Heartbeats
from hpo.load import read_header, restore_space, write_call
from hpo.logs import Log, LogError, open_log
from hpo.serve.model import compute_models
from hpo.upgrade import upgrade_header

POLL = 0.05  # seconds between two looks at the log
SHARE = 0.2  # of one processor that reading may take: after a look that took long, the next one is later
LONGEST = 1.0  # seconds, whatever the last look took
ASK = 1.0  # seconds between two looks at the drivers' rows
BEAT = 5.0  # seconds after which a stream says that it lives
STAY = 30.0  # seconds for which a study is read on after the last one who looked
REST = 10.0  # how many times as long as it took an analysis waits before it is made again


def open_for_reading(place: str) -> Log:
    """The log at a place, by which nothing can be written."""
    try:
        return open_log(place, readonly=True)
    except PermissionError:  # a driver was killed while it wrote: whoever may write takes that back
        open_log(place).close()
        return open_log(place, readonly=True)


def open_feed(name: str, place: str) -> Feed:
    """What a page shows of the study at a place. LogError and OSError in a sentence where there is none."""
    log = open_for_reading(place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with an older log is said by those who open it for more
            found = log.header()
            if found is None:
                raise LogError(f"the log {log.place!r} holds no study yet")
            header = read_header(upgrade_header(found, log.place), log.place)
            space = restore_space(header.space, None, log.place)
            return Feed(History(header, log), space, name, write_call(header.optimizer, header.seed))
    except BaseException:
        log.close()
        raise


class Analysis:
    """One analysis that takes long: made again once there are more results, at most for a tenth of the time.

    make    JSON of what it finds in a feed; any exception is a sentence on the page, on which nothing else hangs
    """

    def __init__(self, make: Callable[[Feed], Awaitable[str]]) -> None:
        self.make = make
        self.text = ""
        self.count = 0  # how often it was made
        self._results = -1  # of the last
        self._rested = 0.0  # when the next may begin
        self.task: asyncio.Task[None] | None = None

    def begin(self, feed: Feed, tell: Callable[[], None]) -> None:
        """Makes it again, if it is due."""
        results, now = len(feed.history.results), time.monotonic()
        if results == self._results or now < self._rested or (self.task is not None and not self.task.done()):
            return
        self._results = results
        self.task = asyncio.create_task(self._run(feed, tell))

    async def _run(self, feed: Feed, tell: Callable[[], None]) -> None:
        begun = time.monotonic()
        try:
            self.text = await self.make(feed)
        except Exception as error:
            self.text = json.dumps({"error": str(error)})
        self._rested = time.monotonic() + REST * (time.monotonic() - begun)
        self.count += 1
        tell()


class LogFollower:
    """A study by its name, and those who look at it. `epoch` is another one when the log was opened anew."""

    def __init__(self, name: str, place: str) -> None:
        self.name, self.place = name, place
        self.feed: Feed | None = None
        self.epoch = 0
        self.error = ""  # why the log cannot be read now
        self.drivers: list[DriverState] = []
        self._heartbeats: Heartbeats | None = None
        self._asked = 0.0  # when the drivers were looked at last
        self._analyses = {"lineage": Analysis(compute_lineage), "importance": Analysis(compute_models)}
        self._listeners = 0
        self._left = 0.0  # when the last one went
        self._changed = asyncio.Event()
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def _listen(self) -> Iterator[None]:
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            self._listeners -= 1
            self._left = time.monotonic()

    async def stream(self, is_whole: bool, since: int = 0, epoch: int = 0) -> AsyncIterator[str]:
        """Documents as JSON objects, the first at once: what is new since a version of an epoch. Without change one every few
        seconds, so that both sides know that the other lives.

        is_whole   whether it holds rows and analyses, else only what studies are compared by
        """
        made = dict.fromkeys(self._analyses, 0)
        with self._listen():
            if self.feed is None:
                yield json.dumps({"name": self.name, "epoch": 0, "error": "", "now": time.time(), "opening": True})
            await self._look()
            while True:
                changed = self._changed
                parts: dict[str, Any] = {"name": self.name, "epoch": self.epoch, "error": self.error, "now": time.time()}
                text = json.dumps(parts)[:-1]
                if self.feed is not None and (epoch, since) != (self.epoch, self.feed.version):
                    async with self._reading:
                        feed, since, epoch = self.feed, since if epoch == self.epoch else 0, self.epoch
                        if feed is not None:
                            body = await asyncio.to_thread(feed.update, since) if is_whole else feed.brief()
                            since = feed.version
                            text += f', "data": {body}'
                if is_whole and self.feed is not None:
                    text += f', "drivers": {json.dumps(describe_drivers(self.feed.history, self.drivers))}'
                for name, analysis in self._analyses.items() if is_whole else ():
                    if analysis.count != made[name]:
                        made[name] = analysis.count
                        text += f', "{name}": {analysis.text}'
                yield f"{text}}}"
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), BEAT)

    async def export(self, encode: Callable[[History], bytes]) -> bytes:
        """What is made of the history as it is now. HTTPException 503 where the log cannot be read."""
        with self._listen():
            await self._look()
            if self.feed is None:
                raise HTTPException(503, f"{self.error}\n")
            async with self._reading:
                return await asyncio.to_thread(encode, self.feed.history)

    async def _work(self) -> None:
        while self._listeners or time.monotonic() - self._left < STAY:
            begun = time.monotonic()
            await self._look()
            spent = time.monotonic() - begun
            if self.feed is not None and self._listeners:
                for analysis in self._analyses.values():
                    analysis.begin(self.feed, self._wake)
            await asyncio.sleep(min(max(POLL, spent * (1 / SHARE - 1)), LONGEST))

    async def _look(self) -> None:
        """Reads on, and wakes those who wait if there is anything new."""
        async with self._reading:
            before, is_new = self.error, False
            try:
                is_new = await asyncio.to_thread(self._read)
                self.error = ""
            except (OSError, ValueError, ImportError) as error:
                self.error = " ".join(str(error).split())
            if is_new or before != self.error:
                self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _read(self) -> bool:
        if self.feed is not None:
            try:
                is_new = self.feed.read()
                return self._read_drivers() or is_new
            except (OSError, ValueError):
                self.feed.history.log.close()
                self.feed = None
                raise
        self.feed = open_feed(self.name, self.place)
        self.epoch = max(self.epoch + 1, time.time_ns() // 1_000_000)  # no version of another server is taken for one of this
        self._heartbeats, self._asked = Heartbeats(self.feed.history.log), 0.0
        self._read_drivers()
        return True

    def _read_drivers(self) -> bool:
        """Looks who drives the study, now and then; whether one has come, gone or begun something else."""
        if self.feed is None or self._heartbeats is None or time.monotonic() < self._asked + ASK:
            return False
        before, self.drivers = self.drivers, list_drivers(self.feed.history, self._heartbeats)
        self._asked = time.monotonic()
        return [_state_of(one) for one in before] != [_state_of(one) for one in self.drivers]

    async def close(self) -> None:
        """Ends the reading."""
        tasks = [task for task in (self._task, *(analysis.task for analysis in self._analyses.values())) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.feed is not None:
            self.feed.history.log.close()


def _state_of(driver: DriverState) -> tuple[object, ...]:
    return driver.number, driver.is_alive, driver.in_flight


def describe_drivers(history: History, drivers: Sequence[DriverState]) -> list[list[str]]:
    """A row for each: its run, who it is, what it has in flight, what is known of its lease."""
    return [[*describe_driver(one, history.header.unit, history.header.horizon)] for one in drivers]


async def compute_lineage(feed: Feed) -> str:
    """The row of every finished key in the tree of clones, as JSON; without clones there is none."""

    def place() -> str:
        with feed.history.lock:
            rows = place_rows(feed.history) if feed.history.adopted else {}
        return json.dumps([[*key, row] for key, row in rows.items()])

    return await asyncio.to_thread(place)
