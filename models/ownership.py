"""Who may write to the folders from which code is loaded: their code would run as this user. Imports no torch."""

import os
import stat
from pathlib import Path


def flaw(path: Path) -> str | None:
    """Why others could have written a file or a folder, or could replace it, as the end of a sentence; None if they cannot.
    `path` is absolute and without links.

    Trusted are this user, root, and the owner of "/" (which is root under another number in a container). A folder above the
    path may be writable for all if it is sticky, as /tmp is: nobody can rename there what others own. Systems without owners
    are trusted.
    """
    if not hasattr(os, "getuid"):
        return None
    return next(filter(None, (_flaw(place, place != path) for place in (path, *path.parents))), None)


def flaw_of_file(path: Path) -> str | None:
    """The same for a file in a folder that has no flaw."""
    return _flaw(path, False) if hasattr(os, "getuid") else None


def _flaw(place: Path, above: bool) -> str | None:
    status = place.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"{place} is a link"
    if status.st_uid not in (os.getuid(), 0, Path("/").stat().st_uid):
        return f"{place} belongs to another user"
    if status.st_mode & 0o022 and not (above and status.st_mode & stat.S_ISVTX):
        return f"others may write to {place}"
    return None


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Makes a folder, and missing ones above it, to which nobody else may write, whatever the umask allows.

    OSError that names it if the system refuses."""
    try:
        for place in reversed((folder, *folder.parents)):
            if not place.exists():
                place.mkdir(mode if place == folder else 0o755, exist_ok=True)
    except OSError as error:
        raise type(error)(f"{folder} cannot be made: {error.strerror or error}") from error


def revoke_write(folder: Path) -> None:
    """Takes from others the right to write to a folder of this user, which an umask of 002 would give."""
    status = folder.stat()
    if hasattr(os, "getuid") and status.st_uid == os.getuid() and status.st_mode & 0o022:
        folder.chmod(stat.S_IMODE(status.st_mode) & ~0o022)
