"""A damaged store is set aside, never deleted, and what can still be read of it goes on.

Rows are asked for in ranges of their ids; a range that fails is halved until the rows that cannot
be read are alone. What no version of lfm2chat writes is left out, field by field where the row
makes sense without it. The new store is made beside the damaged one and takes its name in one
step, so at no moment a start finds nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.errors import Lfm2ChatError, StoreError
from lfm2chat.paths import PRIVATE_FILE
from lfm2chat.spec import FinishReason, Timing
from lfm2chat.store.backups import backups
from lfm2chat.store.db import (
    is_damage,
    is_open_elsewhere,
    is_ours,
    open_reader,
    open_writer,
    storage_errors,
)
from lfm2chat.store.migrations import NEWEST_VERSION, migrate
from lfm2chat.store.reads import conversation_rows
from lfm2chat.store.rows import RowReader, unpack_ids
from lfm2chat.store.search_index import rebuild

WAIT_S = 60.0
_IN_USE_S = 5.0
_SUFFIXES = ("-shm", "-wal")
_MOST_IDS = 1_000_000
_COUNTED = (
    "message NOT INDEXED",
    "message INDEXED BY message_conversation",
    "message INDEXED BY message_parent",
    "chunk",
    "attachment NOT INDEXED",
    "unsent",
)

Row = dict[str, Any]


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
        for trashed in (False, True):
            conversation_rows(connection, trashed=trashed, limit=None)
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
            found = _salvage(path, part)
            copy = None if any(found) else _newest_copy(path, part)
            aside = _swap(path, part)
        finally:
            _drop(part)
    return _notice(path, aside, found, copy)


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


def _salvage(path: Path, part: Path) -> tuple[int, int]:
    """Make ``part`` of what can be read: how many conversations and messages that is."""
    target = open_writer(part, newest_version=NEWEST_VERSION)
    try:
        migrate(target)
        found = 0, 0
        if is_ours(path):
            with contextlib.closing(_tolerant(path)) as source:
                target.execute("BEGIN IMMEDIATE")
                found = _copy_all(source, target)
                target.execute("COMMIT")
        # One file: it gets another name, and a log has none of its own.
        target.execute("PRAGMA journal_mode=DELETE")
    finally:
        target.close()
    return found


def _tolerant(path: Path) -> sqlite3.Connection:
    """A connection that reads a file that is too short, and texts that are none."""
    connection = open_reader(path)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.execute("PRAGMA writable_schema=ON")
    return connection


def _copy_all(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, int]:
    reader = RowReader()
    highest = max(_highest(source, "conversation"), _highest(source, "message"))
    messages = _mended(_rows(source, "message", "id", highest), _message, reader)
    conversations = _mended(_rows(source, "conversation", "id", highest), _conversation, reader)
    above: dict[int, int] = {}
    for message in messages.values():
        number = message["conversation_id"]
        if number not in conversations:
            conversations[number] = _nameless(number, message)
        if message["parent_id"] not in messages:
            # Its branch goes on below the last one that is left before it.
            message["parent_id"] = above.get(number)
        above[number] = message["id"]
    _tip(conversations, messages)
    for row in conversations.values():
        _insert(target, "conversation", row)
    for row in messages.values():
        _insert(target, "message", row)
    _copy_others(source, target, messages, highest)
    rebuild(target)
    return len(conversations), len(messages)


def _copy_others(
    source: sqlite3.Connection, target: sqlite3.Connection, messages: dict[int, Row], highest: int
) -> None:
    for table in ("chunk", "attachment"):
        for row in _rows(source, table, "message_id", highest):
            if row["message_id"] in messages and _is_text(row["text"]):
                _insert(target, table, row)
    for table in ("unsent", "preset", "prompt"):
        for row in _rows(source, table, "rowid", _highest(source, table)):
            _insert(target, table, row)


def _mended(
    rows: Iterator[Row], mend: Callable[[Row, RowReader], Row | None], reader: RowReader
) -> dict[int, Row]:
    mended = (mend(row, reader) for row in rows)
    return {row["id"]: row for row in mended if row is not None}


def _tip(conversations: dict[int, Row], messages: dict[int, Row]) -> None:
    """A tip that has gone becomes the last message that is there."""
    last = {message["conversation_id"]: message["id"] for message in messages.values()}
    for number, conversation in conversations.items():
        tip = messages.get(conversation["tip_id"])
        if tip is None or tip["conversation_id"] != number:
            conversation["tip_id"] = last.get(number)


def _highest(source: sqlite3.Connection, table: str) -> int:
    """An id that no row is above, from whichever place can be read."""
    found = []
    for query in (
        f"SELECT max(rowid) FROM {table}",  # noqa: S608 - own names
        f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608 - own names
        f"SELECT max(rowid) FROM {table} INDEXED BY {table}_conversation",  # noqa: S608 - own names
        "PRAGMA page_count",
    ):
        with contextlib.suppress(sqlite3.Error):
            row = source.execute(query).fetchone()
            if row is not None and isinstance(row[0], int):
                found.append(row[0])
    return min(max(found, default=0), _MOST_IDS)


def _rows(source: sqlite3.Connection, table: str, key: str, highest: int) -> Iterator[Row]:
    """The rows of ``table`` whose ``key`` is from 0 to ``highest``, as far as they can be read."""
    query = f"SELECT * FROM {table} NOT INDEXED WHERE {key} BETWEEN ? AND ? ORDER BY {key}"  # noqa: S608 - own names
    ranges = [(0, highest)]
    while ranges:
        low, high = ranges.pop()
        try:
            rows = source.execute(query, (low, high)).fetchall()
        except (sqlite3.Error, OverflowError):
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
            continue
        yield from (dict(row) for row in rows)


def _insert(target: sqlite3.Connection, table: str, row: Row) -> None:
    known = {str(one["name"]) for one in target.execute(f"PRAGMA table_info({table})")}
    values = {name: value for name, value in row.items() if name in known}
    marks = ", ".join("?" * len(values))
    # Two rows of one key, or a value that may not be: the first one, and none.
    target.execute(
        f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - own names
        tuple(values.values()),
    )


def _conversation(row: Row, reader: RowReader) -> Row | None:
    if not (_is_text(row["title"]) and isinstance(row["change"], int)):
        return None
    _mend(row, reader, texts=("system_prompt", "model", "draft"))
    if not isinstance(row["updated_at"], float):
        row["updated_at"] = row["created_at"]
    if not isinstance(row["trashed_at"], float):
        row["trashed_at"] = None
    return row


def _message(row: Row, reader: RowReader) -> Row | None:
    known = row["role"] in list(Role) and row["status"] in list(MessageStatus)
    if not (known and _is_text(row["text"]) and isinstance(row["conversation_id"], int)):
        return None
    _mend(row, reader, texts=("model", "tokenizer_hash", "error"))
    if row["finish_reason"] not in list(FinishReason):
        row["finish_reason"] = None
    if not isinstance(row["seed"], int):
        row["seed"] = None
    try:
        unpack_ids(row["token_ids"])
    except Exception:  # noqa: BLE001 - whatever a damaged value is
        row["token_ids"] = None
    try:
        Timing.from_dict(json.loads(row["timing"]))
    except Exception:  # noqa: BLE001 - whatever a damaged value is
        row["timing"] = None
    return row


def _mend(row: Row, reader: RowReader, *, texts: tuple[str, ...]) -> None:
    for name in texts:
        if not _is_text(row[name]):
            row[name] = ""
    if not isinstance(row["created_at"], float):
        row["created_at"] = time.time()
    try:
        reader.sampling(row["sampling"])
    except Exception:  # noqa: BLE001 - whatever a damaged value is
        row["sampling"] = None


def _nameless(number: int, message: Row) -> Row:
    """A conversation whose own row is lost."""
    return {
        "id": number, "change": number, "title": f"Conversation {number}", "tip_id": None,
        "created_at": message["created_at"], "updated_at": message["created_at"],
    }  # fmt: skip


def _is_text(value: object) -> bool:
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            value.decode("utf-8", "surrogatepass")
            return True
        return False
    return isinstance(value, str)


def _damaged(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
