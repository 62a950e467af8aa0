"""A damaged store is set aside, never deleted, and what can still be read of it goes on.

The new store is made beside the damaged one and takes its name in one step, so at no moment a
start finds nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.errors import Lfm2ChatError, StoreError
from lfm2chat.paths import PRIVATE_FILE
from lfm2chat.store.backups import backups
from lfm2chat.store.db import (
    is_damage,
    is_open_elsewhere,
    is_ours,
    open_reader,
    storage_errors,
)
from lfm2chat.store.disks import network_of
from lfm2chat.store.reads import conversation_rows
from lfm2chat.store.salvage import salvage

WAIT_S = 60.0
_IN_USE_S = 5.0
_SUFFIXES = ("-shm", "-wal")
_COUNTED = (
    "message NOT INDEXED",
    "message INDEXED BY message_conversation",
    "message INDEXED BY message_parent",
    "chunk",
    "attachment NOT INDEXED",
    "unsent",
    "tag",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to the store when it was opened, to be said once, and what to do about it."""

    message: str
    hint: str


def require_whole(path: Path, connection: sqlite3.Connection, *, thoroughly: bool) -> None:
    """Look at every page that holds rows, and read the list of conversations.

    About 0.3 ms a megabyte; ``thoroughly``, as after a crash, 3 ms: the order within the pages and
    the indexes are compared too. Texts themselves are not read.

    Raises:
        sqlite3.DatabaseError: Something is damaged, with the code SQLITE_CORRUPT.
    """
    try:
        for table in ("conversation", "message") if thoroughly else ("conversation",):
            (said,) = connection.execute(f"PRAGMA quick_check({table})").fetchone()
            if said != "ok":
                raise _damaged(f"{path}: {said}")
        for rows in _COUNTED:
            connection.execute(f"SELECT count(*) FROM {rows}").fetchone()  # noqa: S608 - own names
        for trashed, archived in ((False, False), (False, True), (True, False)):
            conversation_rows(connection, trashed=trashed, archived=archived)
    except (StoreError, sqlite3.OperationalError) as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        # A table that has gone, or a text that is none: no program of ours wrote it so.
        if code == sqlite3.SQLITE_ERROR:
            raise _damaged(str(error)) from error
        raise


def set_aside(path: Path, refusal: Lfm2ChatError, check: Callable[[], None]) -> Notice | None:
    """Put a new store with all that can be read in the place of a damaged one.

    One process does it; another that comes meanwhile waits, and gets None: it is done already.

    Args:
        path: The store's file.
        refusal: The damage, as opening it told it.
        check: Opens and closes the store; raises as opening does.

    Raises:
        Lfm2ChatError: ``refusal``, where the file is not ours, or is in use.
        StoreError: The new store cannot be made.
    """
    with storage_errors(path), _alone(path):
        try:
            check()
        except Lfm2ChatError as error:
            if not is_damage(error):
                raise
        else:
            return None
        ours = is_ours(path)
        if ours is False:
            raise refusal
        if ours:  # asking would delete the log of what is no database
            _refuse_in_use(path, refusal)
        part = path.with_name(f"{path.name}-salvaged")
        _drop(part)
        try:
            found = salvage(path, part)
            copy = None if any(found) else _newest_copy(path, part)
            aside = _swap(path, part)
        finally:
            _drop(part)
    return _notice(path, aside, found, copy)


def network_notice(path: Path) -> Notice | None:
    """What to say of a store that lies on another machine; None where it does not."""
    kind = network_of(path)
    if not kind:
        return None
    return Notice(
        f"{path} lies on a network disk ({kind}): slower, and only as safe as its locks",
        "use it from one machine at a time, or set LFM2CHAT_HOME to a folder on this one",
    )


def _notice(path: Path, aside: Path, found: tuple[int, int], copy: Path | None) -> Notice:
    conversations, messages = found
    came = f"{conversations} conversations and {messages} messages came back"
    if copy is not None:
        came = f"nothing in it could be read, so the copy {copy.name} is in its place"
    copies = f"; earlier copies are in {path.parent / 'backups'}" if backups(path) else ""
    return Notice(
        f"{path} was damaged: {came}",
        f"the damaged file was kept as {aside}{copies}; delete it once nothing is missing",
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of this store's repair; it dies with its process."""
    lock = path.with_name(f"{path.name}-repair")
    with contextlib.suppress(FileExistsError):
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE_FILE))
    with contextlib.closing(
        sqlite3.connect(lock, timeout=WAIT_S, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def _refuse_in_use(path: Path, refusal: Lfm2ChatError) -> None:
    """Another process that is about to wait for us still has it open for a moment."""
    give_up = time.monotonic() + _IN_USE_S
    while is_open_elsewhere(path):
        if time.monotonic() > give_up:
            raise StoreError(
                str(refusal), hint="close every other lfm2chat, then start it again"
            ) from refusal
        time.sleep(0.05)


def _swap(path: Path, part: Path) -> Path:
    """Name the damaged files ``.corrupt-<UTC time>``, together, and give ``part`` their name."""
    aside = _free_name(path)
    # The log goes before the new file comes: SQLite would play it into that.
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")  # noqa: PTH105 - names, not paths
    try:
        os.link(path, aside)
    except OSError:  # a file system without links
        path.rename(aside)
    part.replace(path)
    for suffix in ("", *_SUFFIXES):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{aside}{suffix}").chmod(PRIVATE_FILE)
    return aside


def _free_name(path: Path) -> Path:
    """A name that neither a file nor its log has."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 1
    while True:
        name = f"{path.name}.corrupt-{stamp}" + (f".{number}" if number > 1 else "")
        aside = path.with_name(name)
        if not any(os.path.lexists(f"{aside}{suffix}") for suffix in ("", *_SUFFIXES)):
            return aside
        number += 1


def _drop(part: Path) -> None:
    for suffix in ("", "-journal", *_SUFFIXES):
        Path(f"{part}{suffix}").unlink(missing_ok=True)


def _newest_copy(path: Path, part: Path) -> Path | None:
    """Put the newest copy of the store that is whole in the place of ``part``."""
    for copy in reversed(backups(path)):
        try:
            with (
                storage_errors(copy),
                contextlib.closing(open_reader(copy, immutable=True)) as connection,
            ):
                (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except StoreError:
            continue
        if said == "ok" and is_ours(copy):
            _drop(part)
            shutil.copyfile(copy, part)
            part.chmod(PRIVATE_FILE)
            return copy
    return None


def _damaged(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
