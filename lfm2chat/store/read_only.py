"""A store that is only looked at: a newer lfm2chat made it, and may mean more by its rows than we.

Its tables are asked as our own are; where one of them has gone, so has the way to read it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from lfm2chat.errors import NewerStoreError
from lfm2chat.store.db import open_reader, storage_errors
from lfm2chat.store.reads import require_columns

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]


class RefusingWriter:
    """Stands where a writer would: takes every operation and runs none. Any thread."""

    def __init__(self, refusal: NewerStoreError) -> None:
        """``refusal`` says whose file it is and what to do."""
        self.why = NewerStoreError(f"{refusal}: it is opened for reading only", hint=refusal.hint)

    def submit(self, operation: Operation[Result]) -> Future[Result]:  # noqa: ARG002 - the writer's
        """A future that has failed already."""
        future: Future[Result] = Future()
        # A new one each time: an error that is raised grows by the way that it came.
        future.set_exception(NewerStoreError(str(self.why), hint=self.why.hint))
        return future

    def submit_when_quiet(self, operation: Operation[Result]) -> Future[Result]:
        """As :meth:`submit`."""
        return self.submit(operation)

    def without_a_trace(self, deletion: Operation[None]) -> Future[None]:
        """As :meth:`submit`."""
        return self.submit(deletion)

    def close(self) -> None:
        """There is nothing to close."""


def require_readable(path: Path, refusal: NewerStoreError) -> None:
    """Refuse a file whose tables are not those that we read.

    Raises:
        NewerStoreError: As ``refusal``.
        StoreError: The file cannot be opened.
    """
    with storage_errors(path), contextlib.closing(open_reader(path)) as connection:
        try:
            require_columns(connection)
        except sqlite3.DatabaseError as error:
            raise NewerStoreError(
                f"{refusal}, and cannot be read by this one: {error}", hint=refusal.hint
            ) from error
