"""Which folders of checkpoints belong to a living process: it holds a shared lock on the folder itself.

The system releases the lock when the process ends, however it ends. Where there are no such locks no process counts as
alone, and nothing is deleted.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks here
    fcntl = None  # type: ignore[assignment]


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _release_locks() -> None:
    """In a forked child: releases the locks, which belong to the parent; the child may outlive it."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_locks)


class FolderLock:
    """A shared lock on a folder for the life of this object or process; `alone` says whether no other process had one when
    it was taken; until `share` no other process gets one."""

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        self._descriptor = os.open(folder, os.O_RDONLY)
        _held.add(self)
        self.alone = self._take(exclusive=True)
        if not self.alone:
            self.share()

    def _take(self, exclusive: bool) -> bool:
        if fcntl is None or self._descriptor is None:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
        except OSError:  # another holds it, or the file system knows no locks
            return False
        return True

    def share(self) -> None:
        """From now on other processes may hold one, too."""
        self.alone = False
        self._take(exclusive=False)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()
