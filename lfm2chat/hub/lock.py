"""One pull of a repository at a time: a lock file that dies with its process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from lfm2chat.errors import PullCancelledError
from lfm2chat.hub.partfile import write_error


class PullLock:
    """Held inside its ``with``; waits for another process (or thread) that holds it.

    Args:
        path: The lock file; it stays on disk, empty.
        cancelled: Whether the user wants to stop waiting.
        waiting: Called each time the lock is found taken.
        look_s: Pause between two looks.

    Raises:
        PullCancelledError: ``cancelled`` said so while waiting.
        ModelError: The file cannot be made or locked.
    """

    def __init__(
        self,
        path: Path,
        *,
        cancelled: Callable[[], bool],
        waiting: Callable[[], None],
        look_s: float,
    ) -> None:
        self._path = path
        self._cancelled = cancelled
        self._waiting = waiting
        self._look_s = look_s
        self._descriptor = -1

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise write_error(error, self._path) from error
        try:
            self._wait()
        except OSError as error:  # a network folder that knows no locks
            os.close(self._descriptor)
            raise write_error(error, self._path) from error
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)  # closing gives the lock back, and so does a crash

    def _wait(self) -> None:
        while not _try_lock(self._descriptor):
            self._waiting()
            if self._cancelled():
                raise PullCancelledError(
                    "the download was stopped while another one was running",
                    hint="pull again when that one is done",
                )
            time.sleep(self._look_s)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock at ``path`` now; no file is made."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
