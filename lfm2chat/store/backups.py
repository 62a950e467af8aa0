"""Copies of the whole store: before its schema changes, once a week, and when the user asks.

They lie in ``backups/`` beside the store, as private as it, with a number that only grows: clocks
jump. A copy appears under its name once all of it is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from pathlib import Path

from lfm2chat.paths import PRIVATE_DIR, PRIVATE_FILE
from lfm2chat.store.db import open_reader, storage_errors
from lfm2chat.store.leases import WriterLease
from lfm2chat.store.migrations import version

KEPT = 3
WEEK_S = 7 * 24 * 3600.0
_PART = re.compile(r"(?P<stem>.+)\.(?P<pid>[0-9]+)\.part")
_NAME = re.compile(r"(?P<stem>.+)\.(?P<number>[0-9]{4,})\.schema[0-9]+\.db")


def backups(store: Path) -> list[Path]:
    """The copies of ``store``, oldest first."""
    found: list[tuple[int, Path]] = []
    with contextlib.suppress(FileNotFoundError):
        for path in _folder(store).iterdir():
            match = _NAME.fullmatch(path.name)
            if match and match["stem"] == store.stem:
                found.append((int(match["number"]), path))
    return [path for _, path in sorted(found)]


def is_due(store: Path, *, now: float) -> bool:
    """Whether the last copy is a week older than ``now`` (unix seconds), or there is none.

    A copy from the future is as good as none: the clock that made it was wrong.
    """
    copies = backups(store)
    return not copies or abs(now - copies[-1].stat().st_mtime) > WEEK_S


def drop_abandoned(store: Path) -> None:
    """Remove what processes left that died while they copied ``store``."""
    with contextlib.suppress(FileNotFoundError):
        for path in _folder(store).iterdir():
            match = _PART.fullmatch(path.name)
            if match and match["stem"] == store.stem:
                pid = int(match["pid"])
                if pid != os.getpid() and not WriterLease(pid, "", "").is_alive():
                    path.unlink(missing_ok=True)


def back_up(store: Path, *, keep: int = KEPT) -> Path:
    """Copy ``store`` as it is now, whoever is writing, and drop all copies but the last ``keep``.

    Any thread; blocks for about 2 ms a megabyte.

    Raises:
        DiskFullError: No space for a copy; the earlier ones are untouched.
        StoreError: The folder cannot be written, or the store not read.
    """
    folder = _folder(store)
    earlier = backups(store)
    number = int(_numbered(earlier[-1])) + 1 if earlier else 1
    part = folder / f"{store.stem}.{os.getpid()}.part"
    with storage_errors(folder), contextlib.closing(open_reader(store)) as source:
        folder.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        drop_abandoned(store)
        target = folder / f"{store.stem}.{number:04d}.schema{version(source)}.db"
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE_FILE))
        try:
            _copy(source, part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        for path in earlier[: max(0, len(earlier) + 1 - keep)]:
            path.unlink(missing_ok=True)
    return target


def _copy(source: sqlite3.Connection, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
        source.backup(target)
        # A copy is one file: in the log's mode it would want a second one beside it.
        target.execute("PRAGMA journal_mode=DELETE")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder(store: Path) -> Path:
    return store.parent / "backups"


def _numbered(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # only names that matched come here
    return match["number"]
