"""The one thread that writes: operations in, futures out, each operation one transaction.

Contract: the writer owns the only writing connection of this process. Anybody may submit from
any thread; operations run in the order of submission. A future resolves after the COMMIT has
reached the disk, never before, and its callbacks run on the writer's thread.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from lfm2chat.errors import StoreError
from lfm2chat.store.backups import back_up, backups, drop_abandoned
from lfm2chat.store.db import as_store_error, newer_store
from lfm2chat.store.migrations import NEWEST_VERSION, version
from lfm2chat.store.search_index import forget_deleted, indexed

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]
_Item = tuple[Operation[Any], Future[Any]]

CHECKPOINT_BYTES = 4 * 2**20
"""The write-ahead log is moved into the database once it is longer than this."""

QUIET_S = 2.0
"""Nobody waits for anything when so long nothing was written: answers are flushed more often."""

_COMMITS_BETWEEN_TRIES = 256


class StoreWriter:
    """Runs operations one after the other on its own thread.

    A failed operation is rolled back and its error given to its future; the thread lives on,
    so a full disk is an error of each write until there is space again.
    """

    why = None

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Take ``connection`` over (closed by :meth:`close`) and start the thread."""
        self._connection = connection
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._file = _identity(path)
        self._commits_to_wait = 0
        self._lock = threading.Lock()  # nothing enters the queue after its end mark
        self._closed = False
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._when_quiet: deque[_Item] = deque()
        # A daemon: an application that dies with an error must not hang on a store left open.
        self._thread = threading.Thread(target=self._run, name="lfm2chat-store", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation[Result]) -> Future[Result]:
        """Queue ``operation`` and return at once. Any thread; never raises.

        The operation gets the connection inside ``BEGIN IMMEDIATE`` and returns the future's
        result. The future carries DiskFullError or StoreError when it cannot be written; it
        cannot be cancelled, since a caller who stops waiting still wants the text on disk.
        """
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if not self._closed:
                self._queue.put((operation, future))
                return future
        future.set_exception(
            StoreError(f"{self._path} is closed already", hint="start lfm2chat again")
        )
        return future

    def submit_when_quiet(self, operation: Operation[Result]) -> Future[Result]:
        """As :meth:`submit`, for what may take long: it waits until nothing was written for
        ``QUIET_S``. The future is cancelled where the writer closes before; until it begins,
        whoever asked may cancel it too.
        """
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._when_quiet.append((operation, future))
            # The thread may be waiting without an end: it looks again after an operation.
            self._queue.put((lambda _: None, Future()))
        return future

    def without_a_trace(self, deletion: Operation[None]) -> Future[None]:
        """As :meth:`submit`, and nothing is left of what ``deletion`` deletes: neither in the
        indexes, nor in the log, nor in copies of the store, which a new one replaces if there are.

        A deletion that fails changes nothing, the copies neither.
        """

        def leave_nothing(connection: sqlite3.Connection) -> None:
            indexed(connection, deletion)
            forget_deleted(connection)
            connection.execute("COMMIT")
            self._empty_log()
            drop_abandoned(self._path)
            if backups(self._path):
                back_up(self._path, keep=1)
            connection.execute("BEGIN IMMEDIATE")  # for the end of the transaction that this is in

        return self.submit(leave_nothing)

    def close(self) -> None:
        """Run everything queued, then close the connection and end the thread. Twice is fine.

        Never from a future's callback: that is the thread which would be waited for.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            operation, future = item
            try:
                result = self._transaction(operation)
            except (sqlite3.Error, OSError) as error:
                future.set_exception(as_store_error(error, self._path))
            except Exception as error:  # noqa: BLE001 - the thread outlives any operation
                future.set_exception(error)
            else:
                future.set_result(result)
                self._checkpoint_when_long()
            # Else the last result lives until the next operation.
            del item, operation, future
        self._connection.close()
        while self._when_quiet:
            self._when_quiet.popleft()[1].cancel()

    def _next(self) -> _Item | None:
        """What is to be run now; None is the end."""
        while self._when_quiet:
            try:
                return self._queue.get(timeout=QUIET_S)
            except queue.Empty:
                operation, future = self._when_quiet.popleft()
                if future.set_running_or_notify_cancel():
                    return operation, future
        return self._queue.get()

    def _transaction(self, operation: Operation[Result]) -> Result:
        self._refuse_lost_file()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._refuse_newer_schema()
            result = indexed(self._connection, operation)
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself after some errors, such as a full disk.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return result

    def _refuse_newer_schema(self) -> None:
        """Another process of a newer version may have migrated the file since it was opened."""
        found = version(self._connection)
        if found > NEWEST_VERSION:
            raise newer_store(self._path, found, NEWEST_VERSION)

    def _refuse_lost_file(self) -> None:
        """SQLite writes happily into a file that has no name any more; nobody would find it."""
        if _identity(self._path) != self._file:
            raise StoreError(
                f"{self._path} was removed or replaced while it was open",
                hint="start lfm2chat again; copy out what is on the screen first",
            )

    def _checkpoint_when_long(self) -> None:
        """Move a long log into the database and cut it to nothing.

        SQLite's own automatic checkpoint does not take the write lock, so another process can
        restart the log under it; before SQLite 3.51.3 that could corrupt the database
        (https://sqlite.org/wal.html#walresetbug). TRUNCATE takes the lock first.
        """
        self._commits_to_wait -= 1
        try:
            if self._commits_to_wait > 0 or self._wal.stat().st_size < CHECKPOINT_BYTES:
                return
            busy = not self._empty_log()
        except (sqlite3.Error, OSError):
            busy = True  # The commits are safe in the log; a full disk has room again later.
        self._commits_to_wait = _COMMITS_BETWEEN_TRIES if busy else 0

    def _empty_log(self) -> bool:
        """Move the log into the database and cut it to nothing; False: somebody is reading."""
        row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not row[0]


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of ``path``; None when there is nothing by that name."""
    try:
        status = os.stat(path)  # noqa: PTH116 - three times as fast as Path.stat, at each commit
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
