"""A store that no disk ever sees: temporary conversations, gone with the process at the latest.

Nobody else can open what it holds, so one connection serves for everything: reads and writes take
turns. Its numbers begin where no other store's ever get to, so that a number says which store has
the conversation.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from lfm2chat.store.db import open_memory, storage_errors
from lfm2chat.store.migrations import migrate
from lfm2chat.store.readers import Readers
from lfm2chat.store.search_index import follow
from lfm2chat.store.writer import Operation, Result, StoreWriter

NOWHERE = Path("(memory)")
"""What stands for its path in sentences; nothing is opened by that name."""

_BEFORE_FIRST = 2**52


def is_temporary(number: int) -> bool:
    """Whether a conversation or a message of that number lies in memory only."""
    return number > _BEFORE_FIRST


def open_empty() -> sqlite3.Connection:
    """A connection to a new store in memory, to be handed to its writer and its readers."""
    connection = open_memory()
    migrate(connection)
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('conversation', ?), ('message', ?)",
        (_BEFORE_FIRST, _BEFORE_FIRST),
    )
    follow(connection)
    return connection


class MemoryWriter(StoreWriter):
    """Runs operations as the writer of a file does, each in ``turns`` with the reads."""

    def __init__(self, connection: sqlite3.Connection, turns: threading.Lock) -> None:
        self._turns = turns
        super().__init__(connection, NOWHERE)

    def without_a_trace(self, deletion: Operation[None]) -> Future[None]:
        """As :meth:`submit`: there is neither a log nor a copy."""
        return self.submit(deletion)

    def _transaction(self, operation: Operation[Result]) -> Result:
        with self._turns:
            return super()._transaction(operation)

    def _refuse_lost_file(self) -> None:
        """There is none to lose."""

    def _checkpoint_when_long(self) -> None:
        """There is no log."""


class MemoryReaders(Readers):
    """Reads on the writer's connection, in ``turns`` with the writes."""

    def __init__(self, connection: sqlite3.Connection, turns: threading.Lock) -> None:
        super().__init__(NOWHERE)
        self._connection = connection
        self._turns = turns

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The connection while nothing is written."""
        with self._turns, storage_errors(NOWHERE):
            self._refuse_closed()
            yield self._connection

    def close(self) -> None:
        """Wait for a read that runs, and let no other begin."""
        with self._turns:
            self._closed = True
