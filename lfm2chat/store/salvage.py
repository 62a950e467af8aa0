"""What can still be read of a damaged store, row by row, into a new one.

Rows are asked for in ranges of their ids; a range that fails is halved until the rows that cannot
be read are alone. What no version of lfm2chat writes is left out, field by field where the row
makes sense without it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lfm2chat.chat.turns import MessageStatus, Role, TitleBy
from lfm2chat.spec import FinishReason, Timing
from lfm2chat.store.db import is_ours, open_reader, open_writer
from lfm2chat.store.migrations import NEWEST_VERSION, migrate
from lfm2chat.store.rows import RowReader, unpack_ids
from lfm2chat.store.search_index import rebuild

_MOST_IDS = 1_000_000
_PIECE = 256

Row = dict[str, Any]


def salvage(path: Path, part: Path) -> tuple[int, int]:
    """Make ``part`` of what can be read in ``path``: how many conversations and messages that is.

    Raises:
        StoreError: ``part`` cannot be made.
    """
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
    _insert(target, "conversation", conversations.values())
    _insert(target, "message", messages.values())
    _copy_others(source, target, conversations, messages, highest)
    rebuild(target)
    return len(conversations), len(messages)


def _copy_others(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    conversations: dict[int, Row],
    messages: dict[int, Row],
    highest: int,
) -> None:
    for table in ("chunk", "attachment"):
        rows = _rows(source, table, "message_id", highest)
        kept = (row for row in rows if row["message_id"] in messages and _is_text(row["text"]))
        _insert(target, table, kept)
    tags = _rows(source, "tag", "conversation_id", highest)
    named = (row for row in tags if _is_text(row["name"]) and _is_text(row["key"]))
    _insert(target, "tag", (row for row in named if row["conversation_id"] in conversations))
    for table in ("unsent", "preset", "prompt"):
        _insert(target, table, _rows(source, table, "rowid", _highest(source, table)))


def _mended(
    rows: Iterator[Row], mend: Callable[[Row, RowReader], Row | None], reader: RowReader
) -> dict[int, Row]:
    mended = (mend(row, reader) for row in rows)
    return {row["id"]: row for row in mended if row is not None}


def _tip(conversations: dict[int, Row], messages: dict[int, Row]) -> None:
    """A tip that has gone, or is hidden, becomes the last message that is there to be seen."""
    hidden: set[int] = set()
    for number, message in messages.items():
        if message.get("trashed_at") is not None or message["parent_id"] in hidden:
            hidden.add(number)
    last = {
        message["conversation_id"]: number
        for number, message in messages.items()
        if number not in hidden
    }
    for number, conversation in conversations.items():
        tip = messages.get(conversation["tip_id"])
        if tip is None or tip["conversation_id"] != number or tip["id"] in hidden:
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
    # In pieces: of one range for everything each half would be read again at every halving.
    ranges = [(low, low + _PIECE - 1) for low in range(0, highest + 1, _PIECE)][::-1]
    while ranges:
        low, high = ranges.pop()
        try:
            rows = source.execute(query, (low, high)).fetchall()
        except (sqlite3.Error, OverflowError) as error:
            if "no such table" in str(error):  # nor is there in any other range
                return
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
            continue
        yield from (dict(row) for row in rows)


def _insert(target: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    known = {str(one["name"]) for one in target.execute(f"PRAGMA table_info({table})")}
    for row in rows:
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
    for name in ("trashed_at", "pinned_at", "archived_at"):
        # A store of an earlier schema has none of the last two.
        if name in row and not isinstance(row[name], float):
            row[name] = None
    if "title_by" in row and row["title_by"] not in list(TitleBy):
        row["title_by"] = TitleBy.USER
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
    if not isinstance(row.get("trashed_at"), float):
        row["trashed_at"] = None
    if not isinstance(row.get("visit"), int):
        row["visit"] = 0
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
