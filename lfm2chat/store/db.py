"""Opens the SQLite file: private, checked before anything is written, every failure a sentence.

Contract: a path goes in, a :class:`sqlite3.Connection` in autocommit mode comes out
(``isolation_level=None``: transactions are written out, as ``BEGIN IMMEDIATE``). A file that is
not ours, that is damaged or that a newer version made is looked at through a read-only
connection and never written. Pragmas after the SQLite manual: WAL with ``synchronous=FULL`` so
that a COMMIT survives a power cut, and ``secure_delete`` so that deleted text is overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfm2chat.errors import DiskFullError, Lfm2ChatError, NewerStoreError, StoreError
from lfm2chat.paths import PRIVATE_DIR, PRIVATE_FILE
from lfm2chat.store.disks import network_of

APPLICATION_ID = 0x4C464D32
"""``LFM2`` in ASCII, in the file's header: whose database this is."""

BUSY_TIMEOUT_S = 5.0

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100

_WRITER_PRAGMAS = (
    "wal_autocheckpoint=0",  # StoreWriter does it, under the write lock
    "synchronous=FULL",
    "fullfsync=ON",  # macOS: fsync alone leaves the data in the drive's cache
    "checkpoint_fullfsync=ON",
    "foreign_keys=ON",
    "secure_delete=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "journal_size_limit=8388608",  # bytes; a WAL that grew shrinks back to this
    "temp_store=MEMORY",
)
_READER_PRAGMAS = ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY")

_HINT_SPACE = "free some space on that disk; the file itself is whole"
_HINT_WRITABLE = "make the folder and the file writable, or set LFM2CHAT_HOME to another folder"
_HINT_ASIDE = (
    "move the file and those beside it that end in -wal and -shm away, all together; "
    "a new store is made at the next start"
)
_HINT_WAIT = "close it, or wait until it is done"
_HINT_OTHER = "set LFM2CHAT_HOME to another folder, or move that file away"

# By SQLite's result code, extended or primary: the error, its sentence and its hint.
_Failure = tuple[type[Lfm2ChatError], str, str]
_FAILURES: dict[int, _Failure] = {
    sqlite3.SQLITE_FULL: (DiskFullError, "the disk with {path} is full", _HINT_SPACE),
    # A quota or a file-size limit, or no room for the shared memory: full, for our purposes.
    sqlite3.SQLITE_IOERR_WRITE: (DiskFullError, "no space to write {path}", _HINT_SPACE),
    sqlite3.SQLITE_IOERR_SHMSIZE: (DiskFullError, "no space to open {path}", _HINT_SPACE),
    sqlite3.SQLITE_READONLY: (StoreError, "{path} cannot be written: {error}", _HINT_WRITABLE),
    sqlite3.SQLITE_CANTOPEN: (StoreError, "{path} cannot be opened: {error}", _HINT_WRITABLE),
    sqlite3.SQLITE_NOTADB: (StoreError, "{path} is not an SQLite database", _HINT_ASIDE),
    sqlite3.SQLITE_CORRUPT: (StoreError, "{path} is damaged: {error}", _HINT_ASIDE),
    sqlite3.SQLITE_BUSY: (StoreError, "another program keeps {path} locked", _HINT_WAIT),
    sqlite3.SQLITE_LOCKED: (StoreError, "another program keeps {path} locked", _HINT_WAIT),
}
_OTHER_FAILURE: _Failure = (StoreError, "{path}: {error}", "the file is left as it is: look at it")


def open_writer(path: Path, *, newest_version: int) -> sqlite3.Connection:
    """The connection that may write; the file and its folder are made when they are missing.

    The connection may be handed to another thread (it is used by one at a time).

    Args:
        path: The store's file.
        newest_version: The highest ``user_version`` that this program understands.

    Raises:
        NewerStoreError: A newer version made it.
        StoreError: Not a file of ours, damaged, or not writable.
        DiskFullError: No space for the file or its shared memory.
    """
    with storage_errors(path):
        _make_private(path)
        refuse_foreign(path, newest_version)
        _tighten(path)
        connection = _connect(path, read_only=False)
        try:
            _use_journal(connection, network=network_of(path))
            for pragma in _WRITER_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that cannot write, for one thread's reads beside the writer.

    ``immutable``: nobody writes, and no log is beside the file; it needs no shared memory then.

    Raises:
        StoreError: The file cannot be opened.
    """
    with storage_errors(path):
        connection = _connect(path, read_only=True, immutable=immutable)
        try:
            for pragma in _READER_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return connection


def is_open_elsewhere(path: Path) -> bool:
    """Whether another connection has the store at ``path`` open; False where there is no store.

    In write-ahead logging every open connection shares a lock on the file, however idle it is.
    """
    if not path.exists():
        return False
    with contextlib.closing(_connect(path, read_only=False)) as connection:
        try:
            connection.execute("PRAGMA busy_timeout=0")
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return False


def open_memory() -> sqlite3.Connection:
    """A connection to a new database in memory; what SQLite sets aside stays in memory too."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in (
        "foreign_keys=ON",
        "secure_delete=ON",
        "trusted_schema=OFF",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system inside the block into ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise as_store_error(error, path) from error


def is_damage(error: Lfm2ChatError) -> bool:
    """Whether ``error`` of :func:`storage_errors` says that the file is no whole database."""
    cause = error.__cause__
    codes = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    return isinstance(cause, sqlite3.Error) and _primary_code(cause) in codes


def is_refused_write(error: Lfm2ChatError) -> bool:
    """Whether ``error`` of :func:`storage_errors` may leave reading possible."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        codes = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        return isinstance(error, DiskFullError) or _primary_code(cause) in codes
    return isinstance(cause, OSError) and (
        isinstance(error, DiskFullError) or cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    )


def require_writable(path: Path) -> None:
    """Refuse a file that SQLite would open for reading, without a word, when asked for more.

    Raises:
        PermissionError: Its mode or its disk forbids writing.
    """
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.W_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def is_ours(path: Path) -> bool | None:
    """Whose file it is by its first bytes alone; None where they are no database's.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return None
    return int.from_bytes(header[68:72], "big") == APPLICATION_ID


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def newer_store(path: Path, version: int, newest_version: int) -> NewerStoreError:
    """The error for a file whose schema is above the highest that this program understands."""
    return NewerStoreError(
        f"{path} was made by a newer lfm2chat (schema {version}, "
        f"this one knows up to {newest_version})",
        hint="upgrade lfm2chat, or set LFM2CHAT_HOME to another folder",
    )


def as_store_error(error: sqlite3.Error | OSError, path: Path) -> Lfm2ChatError:
    """The sentence and the hint for a failure of SQLite or of the file system."""
    if isinstance(error, OSError):
        return _from_os_error(error, path)
    code = getattr(error, "sqlite_errorcode", 0)
    kind, sentence, hint = _FAILURES.get(code) or _FAILURES.get(code & 0xFF) or _OTHER_FAILURE
    return kind(sentence.format(path=path, error=error), hint=hint)


def _from_os_error(error: OSError, path: Path) -> Lfm2ChatError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(f"no space to make {path}", hint=_HINT_SPACE)
    return StoreError(
        f"cannot use {error.filename or path}: {error.strerror or error}", hint=_HINT_WRITABLE
    )


def _connect(path: Path, *, read_only: bool, immutable: bool = False) -> sqlite3.Connection:
    uri = path.absolute().as_uri() + ("?mode=ro" if read_only else "?mode=rw")
    if immutable:
        uri += "&immutable=1"
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,  # opened and closed by others than the thread that uses it
    )
    connection.row_factory = sqlite3.Row
    return connection


def _make_private(path: Path) -> None:
    """Make folder and file with private modes before SQLite can make them with wide ones."""
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=PRIVATE_DIR, exist_ok=True)
    try:
        # SQLite gives -wal and -shm the mode of this file.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE_FILE))
    except FileExistsError:
        _refuse_other_kinds(path)


def _refuse_other_kinds(path: Path) -> None:
    status = path.lstat()
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    for is_kind, name in kinds:
        if is_kind(status.st_mode):
            raise StoreError(f"{path} is {name}, not a file", hint=_HINT_OTHER)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is a device, not a file", hint=_HINT_OTHER)
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to another user (number {status.st_uid})", hint=_HINT_OTHER
        )


def refuse_foreign(path: Path, newest_version: int, *, immutable: bool = False) -> None:
    """Look at the header through a read-only connection, which cannot even checkpoint.

    Raises:
        NewerStoreError: A newer version made it.
        StoreError: Another program made it.
        sqlite3.Error: It cannot be read.
    """
    connection = _connect(path, read_only=True, immutable=immutable)
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    finally:
        connection.close()
    fresh = application_id == 0 and version == 0 and tables == 0
    if not fresh and application_id != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program (application id {application_id:#010x})",
            hint=_HINT_OTHER,
        )
    if version > newest_version:
        raise newer_store(path, version, newest_version)


def _tighten(path: Path) -> None:
    """Take away what other users may do with our file, as after a copy under a wide umask."""
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        try:
            mode = stat.S_IMODE(name.stat().st_mode)
            if mode & 0o077:
                name.chmod(PRIVATE_FILE)
        except FileNotFoundError:
            continue


def _use_journal(connection: sqlite3.Connection, *, network: str) -> None:
    """Switch to write-ahead logging, once in the life of the file; over a network, away from it.

    Two processes that make the store at the same moment meet here, and SQLite answers the
    second one at once, without its busy timeout.
    """
    mode = "truncate" if network else "wal"
    # Only the log is remembered by the file; the other way is each connection's own.
    if not network and connection.execute("PRAGMA journal_mode").fetchone()[0] == mode:
        return
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={mode}")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return
