"""Keeping the full-text indexes equal to the texts, and making them anew when they are damaged.

The writing connection notes every change of a message or a title by triggers of its own, in
memory, and brings the indexes up to date within the same transaction. Triggers in the file could
not do it: with ``trusted_schema=OFF`` a trigger may not write into an FTS5 table (SQLite marks the
module as innocuous only from later releases on), and the file is not to be trusted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from lfm2chat.store.migrations import SEARCH_TABLES

Result = TypeVar("Result")

# ``removed`` and ``added`` are what the index held and what it is to hold; NULL: no entry.
_FOLLOW = (
    """
    CREATE TEMP TABLE search_change (
        seq INTEGER PRIMARY KEY, of TEXT NOT NULL, id INTEGER NOT NULL, removed, added
    )
    """,
    """
    CREATE TEMP TRIGGER message_added AFTER INSERT ON main.message
    WHEN new.status <> 'writing' BEGIN
        INSERT INTO search_change (of, id, added) VALUES ('message', new.id, new.text);
    END
    """,
    """
    CREATE TEMP TRIGGER message_changed AFTER UPDATE OF text, status ON main.message BEGIN
        INSERT INTO search_change (of, id, removed, added) VALUES ('message', new.id,
            iif(old.status <> 'writing', old.text, NULL),
            iif(new.status <> 'writing', new.text, NULL));
    END
    """,
    """
    CREATE TEMP TRIGGER message_removed AFTER DELETE ON main.message
    WHEN old.status <> 'writing' BEGIN
        INSERT INTO search_change (of, id, removed) VALUES ('message', old.id, old.text);
    END
    """,
    """
    CREATE TEMP TRIGGER title_added AFTER INSERT ON main.conversation BEGIN
        INSERT INTO search_change (of, id, added) VALUES ('title', new.id, new.title);
    END
    """,
    """
    CREATE TEMP TRIGGER title_changed AFTER UPDATE OF title ON main.conversation BEGIN
        INSERT INTO search_change (of, id, removed, added)
            VALUES ('title', new.id, old.title, new.title);
    END
    """,
    """
    CREATE TEMP TRIGGER title_removed AFTER DELETE ON main.conversation BEGIN
        INSERT INTO search_change (of, id, removed) VALUES ('title', old.id, old.title);
    END
    """,
)

# An external-content index takes an entry out by the very text that it was made from.
_APPLY = {
    "message": (
        "INSERT INTO message_search (message_search, rowid, text) VALUES ('delete', ?, ?)",
        "INSERT INTO message_search (rowid, text) VALUES (?, ?)",
    ),
    "title": (
        "INSERT INTO title_search (title_search, rowid, title) VALUES ('delete', ?, ?)",
        "INSERT INTO title_search (rowid, title) VALUES (?, ?)",
    ),
}

# What a write into a damaged index fails with.
_OF_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT)


def follow(connection: sqlite3.Connection) -> None:
    """From here on note what ``connection``, the writing one, changes. Once, outside of anything.

    The file has the newest schema.
    """
    for statement in _FOLLOW:
        connection.execute(statement)


def indexed(
    connection: sqlite3.Connection, operation: Callable[[sqlite3.Connection], Result]
) -> Result:
    """Run ``operation`` and bring the indexes up to date, inside the caller's transaction.

    A damaged index is made anew: no text is refused because of it.

    Raises:
        sqlite3.Error: ``operation`` fails, or more than an index is damaged.
    """
    result = operation(connection)
    if not connection.execute("SELECT 1 FROM search_change LIMIT 1").fetchone():
        return result
    connection.execute("SAVEPOINT indexing")
    try:
        _apply(connection)
    except sqlite3.DatabaseError as error:
        # Else, as after a full disk, SQLite has taken all back.
        if error.sqlite_errorcode & 0xFF not in _OF_DAMAGE or not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO indexing")
        rebuild(connection)
        connection.execute("DELETE FROM search_change")
    connection.execute("RELEASE indexing")
    return result


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the indexes anew from the texts, inside the caller's transaction.

    Raises:
        sqlite3.Error: More is damaged than the indexes.
    """
    for name, statement in SEARCH_TABLES.items():
        try:
            connection.execute(f"DROP TABLE IF EXISTS {name}")
        except sqlite3.DatabaseError:
            _drop_by_force(connection, name)
        connection.execute(statement)
        connection.execute(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")  # noqa: S608 - own names


def forget_deleted(connection: sqlite3.Connection) -> None:
    """Merge the indexes: the words of what was deleted stand in them until then.

    Inside the caller's transaction; seconds for 100,000 messages.
    """
    for name in SEARCH_TABLES:
        connection.execute(f"INSERT INTO {name} ({name}) VALUES ('optimize')")  # noqa: S608 - own names


def is_damaged(error: sqlite3.Error, connection: sqlite3.Connection) -> bool:
    """Whether ``error`` comes of a damaged index: it says so, or an index cannot be read."""
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_CORRUPT_VTAB:
        return True
    return any(_refuses(connection, name) for name in SEARCH_TABLES)


def _apply(connection: sqlite3.Connection) -> None:
    changes = connection.execute("SELECT of, id, removed, added FROM search_change ORDER BY seq")
    for of, number, removed, added in changes.fetchall():
        remove, add = _APPLY[of]
        if removed is not None:
            connection.execute(remove, (number, removed))
        if added is not None:
            connection.execute(add, (number, added))
    connection.execute("DELETE FROM search_change")
    # FTS5 writes what it holds in memory at a savepoint or at the COMMIT, where it would be late.
    connection.execute("SAVEPOINT flushed")
    connection.execute("RELEASE flushed")


def _refuses(connection: sqlite3.Connection, name: str) -> bool:
    try:
        connection.execute(f"SELECT rowid FROM {name} ('a') LIMIT 1").fetchall()  # noqa: S608 - own names
    except sqlite3.DatabaseError:
        return True
    return False


def _drop_by_force(connection: sqlite3.Connection, name: str) -> None:
    """Too damaged to be taken for an index: its own tables go one by one."""
    connection.execute("PRAGMA writable_schema=ON")
    try:
        connection.execute("DELETE FROM sqlite_schema WHERE name = ?", (name,))
    finally:
        connection.execute("PRAGMA writable_schema=RESET")
    for part in ("data", "idx", "docsize", "config"):
        connection.execute(f"DROP TABLE IF EXISTS {name}_{part}")
