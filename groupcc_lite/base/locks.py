"""One maker at a time: a lock file that holds its owner's process and host, and falls free when the owner dies.

The operating system keeps the lock (`flock`, or its counterpart on Windows) and drops it when a process ends, however
it ends. So nobody has to guess whether an owner is still alive, and two processes never take over from a dead one at
once. What is written in the file is for people, and for saying who is waited for.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between two looks at a lock that another holds."""
_BUSY = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
_held: dict[Path, int] = {}  # lock files of this process, and the threads that hold them


@contextmanager
def locked(path: str | Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; wait for whoever holds it, another thread or another process.

    `what` names what is being made, for the log. A lock whose owner died is taken over. RuntimeError if this very
    thread holds it already, which would wait for ever. The file is left in place: whoever knows that nobody will want
    the lock again may delete it.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with locked(Path(folder.name) / "coder.lock", "a coder"):
    ...     print("nobody else makes it now")
    nobody else makes it now
    >>> folder.cleanup()
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if _held.get(path) == threading.get_ident():
        raise RuntimeError(f"making {what} asks for {what} itself, which would wait for ever; its maker must not ask "
                           "for what it makes")
    file = _acquire(path, what)
    try:
        _held[path] = threading.get_ident()
        yield
    finally:
        _held.pop(path, None)
        with suppress(OSError):  # the folder may be gone by now; closing the file frees the lock in any case
            file.truncate(0)
        file.close()


def owner(path: str | Path) -> str:
    """Who holds a lock file, for people: "process 4321 on host"; empty for a lock that nobody holds.

    >>> owner("no such file")
    ''
    """
    try:
        facts = json.loads(Path(path).read_text())
        return f"process {facts['pid']} on {facts['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # not there, empty, or being written at this moment
        return ""


def _acquire(path: Path, what: str) -> IO[str]:
    """The lock file, open and locked, with this process as its owner."""
    waiting = False
    while True:
        file = path.open("a+")
        try:
            if _try(file, path) and _is_at(file, path):
                _sign(file, path, what)
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not waiting:
            log.warning("%s is being made by %s; waiting for it", what, owner(path) or "another process")
            waiting = True
        time.sleep(POLL)


def _try(file: IO[str], path: Path) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(2**30)  # beyond the text, which others must be able to read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        log.warning("%s cannot be locked (%s): let no two processes work in this folder at once", path, error)
    return True


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether the open file is still the one of this name: its last owner may have deleted it in the meantime."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: IO[str], path: Path, what: str) -> None:
    if before := owner(path):
        log.warning("%s was begun by %s, which ended before it was done; going on from there", what, before)
    file.truncate(0)
    file.write(json.dumps(dict(pid=os.getpid(), host=platform.node())))
    file.flush()
