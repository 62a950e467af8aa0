"""A store that is only looked at: a newer lfm2chat made it, and may mean more by its rows than we;
or it lies where nothing can be written.

Its tables are asked as our own are; where one of them has gone, so has the way to read it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from lfm2chat.errors import DiskFullError, Lfm2ChatError, NewerStoreError, StoreError
from lfm2chat.store.db import open_reader, open_writer, refuse_foreign, storage_errors
from lfm2chat.store.migrations import NEWEST_VERSION, migrate, version
from lfm2chat.store.readers import Readers
from lfm2chat.store.reads import require_columns

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]

_HINT_FOLDER = "make the folder and the file writable, then start lfm2chat again"
_HINT_FULL = "free some space on that disk, then start lfm2chat again"
_COPY_TRIES = 3


class RefusingWriter:
    """Stands where a writer would: takes every operation and runs none. Any thread."""

    def __init__(self, why: Lfm2ChatError) -> None:
        """``why`` says why nothing is written, and what to do."""
        self.why = why

    def submit(self, operation: Operation[Result]) -> Future[Result]:  # noqa: ARG002 - the writer's
        """A future that has failed already."""
        future: Future[Result] = Future()
        # A new one each time: an error that is raised grows by the way that it came.
        future.set_exception(type(self.why)(str(self.why), hint=self.why.hint))
        return future

    def submit_when_quiet(self, operation: Operation[Result]) -> Future[Result]:
        """As :meth:`submit`."""
        return self.submit(operation)

    def without_a_trace(self, deletion: Operation[None]) -> Future[None]:
        """As :meth:`submit`."""
        return self.submit(deletion)

    def close(self) -> None:
        """There is nothing to close."""


class _CopyReaders(Readers):
    """Reads a private copy, which goes when it is closed."""

    def close(self) -> None:
        """As for any readers; then remove the copy."""
        super().close()
        shutil.rmtree(self._path.parent, ignore_errors=True)


def only_read(error: NewerStoreError) -> NewerStoreError:
    """Why nothing is written in a store that a newer version made."""
    return NewerStoreError(f"{error}: it is opened for reading only", hint=error.hint)


def require_readable(path: Path, refusal: NewerStoreError, *, immutable: bool = False) -> None:
    """Refuse a file whose tables are not those that we read.

    Raises:
        NewerStoreError: As ``refusal``.
        StoreError: The file cannot be opened.
    """
    with (
        storage_errors(path),
        contextlib.closing(open_reader(path, immutable=immutable)) as connection,
    ):
        try:
            require_columns(connection)
        except sqlite3.DatabaseError as error:
            raise NewerStoreError(
                f"{refusal}, and cannot be read by this one: {error}", hint=refusal.hint
            ) from error


def read_unwritable(path: Path, refusal: Lfm2ChatError) -> tuple[Lfm2ChatError, Readers]:
    """Read a store that cannot be written: why it cannot, and what reads it.

    SQLite wants its shared memory beside the file even to read. A file without a log is read
    without; one that has a log, or an earlier schema, is copied to a private folder first.

    Args:
        path: The store's file.
        refusal: What opening it for writing failed with.

    Raises:
        Lfm2ChatError: ``refusal``, where there is nothing to read.
        NewerStoreError: A newer version made it, and it has another shape than ours.
        StoreError: Another program's file, or a damaged one.
    """
    try:
        if not path.stat().st_size:
            raise refusal
    except OSError:
        raise refusal from None
    full = isinstance(refusal, DiskFullError)
    reason = (
        f"the disk with {path} is full" if full else f"the folder {path.parent} cannot be written"
    )
    hint = _HINT_FULL if full else _HINT_FOLDER
    kind = DiskFullError if full else StoreError
    with storage_errors(path):
        if not _log_bytes(path):
            try:
                refuse_foreign(path, NEWEST_VERSION, immutable=True)
            except NewerStoreError as newer:
                require_readable(path, newer, immutable=True)
                return only_read(newer), Readers(path, immutable=True)
            with contextlib.closing(open_reader(path, immutable=True)) as connection:
                if version(connection) == NEWEST_VERSION:
                    why = kind(f"{reason}: nothing is saved", hint=hint)
                    return why, Readers(path, immutable=True)
        readers, newer_error = _copy(path)
    if newer_error is not None:
        return only_read(newer_error), readers
    return kind(f"{reason}: nothing is saved, and a copy is shown", hint=hint), readers


def _copy(path: Path) -> tuple[Readers, NewerStoreError | None]:
    """A copy of the store with its log, of our schema; the error where a newer version made it."""
    folder = Path(tempfile.mkdtemp(prefix="lfm2chat-"))  # private
    copy = folder / path.name
    try:
        _copy_quiet(path, copy)
        try:
            with contextlib.closing(open_writer(copy, newest_version=NEWEST_VERSION)) as connection:
                migrate(connection)
        except NewerStoreError as newer:
            require_readable(copy, newer)
            return _CopyReaders(copy), newer
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _CopyReaders(copy), None


def _copy_quiet(path: Path, copy: Path) -> None:
    """Copy file and log as of one moment: again where somebody wrote meanwhile."""
    for _ in range(_COPY_TRIES):
        before = _state(path)
        for suffix in ("", "-wal"):
            source, target = Path(f"{path}{suffix}"), Path(f"{copy}{suffix}")
            target.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, target)
        if _state(path) == before:
            return


def _state(path: Path) -> list[tuple[int, int] | None]:
    states: list[tuple[int, int] | None] = []
    for name in (path, Path(f"{path}-wal")):
        try:
            status = os.stat(name)  # noqa: PTH116 - as in the writer
        except FileNotFoundError:
            states.append(None)
        else:
            states.append((status.st_size, status.st_mtime_ns))
    return states


def _log_bytes(path: Path) -> int:
    try:
        return Path(f"{path}-wal").stat().st_size
    except FileNotFoundError:
        return 0
