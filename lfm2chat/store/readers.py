"""The reading side: one read-only connection for each thread that asks."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfm2chat.errors import StoreError
from lfm2chat.store.db import open_reader, storage_errors


class Readers:
    """A read-only connection per thread, closed with the store or after its thread."""

    def __init__(self, path: Path, *, immutable: bool = False) -> None:
        """``immutable`` as for :func:`~lfm2chat.store.db.open_reader`."""
        self._path = path
        self._immutable = immutable
        self._lock = threading.Lock()
        self._of_thread: dict[threading.Thread, tuple[threading.Lock, sqlite3.Connection]] = {}
        self._closed = False

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The calling thread's connection inside a read transaction: one state throughout."""
        in_use, connection = self._mine()
        with in_use, storage_errors(self._path):
            self._refuse_closed()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:  # SQLite may have ended it with an error
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Wait for reads that run, then close every connection."""
        with self._lock:
            self._closed = True
            entries = list(self._of_thread.values())
            self._of_thread.clear()
        for in_use, connection in entries:
            with in_use:
                connection.close()

    def _mine(self) -> tuple[threading.Lock, sqlite3.Connection]:
        with self._lock:
            self._refuse_closed()
            entry = self._of_thread.get(threading.current_thread())
            if entry is not None:
                return entry
            for thread in [thread for thread in self._of_thread if not thread.is_alive()]:
                self._of_thread.pop(thread)[1].close()
            entry = threading.Lock(), open_reader(self._path, immutable=self._immutable)
            self._of_thread[threading.current_thread()] = entry
            return entry

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path} is closed already", hint="start lfm2chat again")
