"""The schema, one tuple of statements per version, and the runner that applies them.

A released migration never changes; a new version is a new tuple at the end. The whole way from
the file's version to ours is one transaction, so a kill at any statement leaves the old schema,
and the next start tries again.

Schema 1: a conversation is a tree of messages (``parent_id``) with a movable tip. Ids only grow
(``AUTOINCREMENT``), so a parent's id is smaller than its children's, and order is by id, never
by a clock. ``conversation.change`` counts up over all conversations with every new or finished
message; the list is ordered by it. While an answer is written, its text lies in ``chunk`` and
its ``writer`` names the process (see :mod:`lfm2chat.store.leases`).

Schema 2: full-text indexes over finished messages and over titles, without a copy of the texts
(https://sqlite.org/fts5.html#external_content_tables), kept by :mod:`lfm2chat.store.search_index`.
A message that is being written is not in them: a flushed piece costs the same as before.

Schema 3: presets and saved prompts, found by a ``key`` that is their name without case; and
attachments, the text files that go with a message. No index knows what stands in those.

Schema 4: conversations are pinned, archived and tagged, a tag again found by its ``key``; and a
message with a ``trashed_at`` is hidden with all that is below it. The highest ``visit`` of a
subtree is where that was left.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from lfm2chat.store.db import APPLICATION_ID

Migrations = Sequence[Sequence[str]]

SEARCH_TABLES = {
    "message_search": """
        CREATE VIRTUAL TABLE message_search USING fts5 (
            text, content = 'finished_message', content_rowid = 'id',
            tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
        )
        """,
    "title_search": """
        CREATE VIRTUAL TABLE title_search USING fts5 (
            title, content = 'conversation', content_rowid = 'id',
            tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
        )
        """,
}
"""The indexes by name; they hold nothing that cannot be made again from the other tables."""

MIGRATIONS: Migrations = (
    (
        f"PRAGMA application_id={APPLICATION_ID}",
        """
        CREATE TABLE conversation (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            change INTEGER NOT NULL,
            title TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            trashed_at REAL,
            -- Checked by the code: as a foreign key it would be searched at every deletion.
            tip_id INTEGER,
            model TEXT NOT NULL DEFAULT '',
            sampling TEXT,
            system_prompt TEXT NOT NULL DEFAULT '',
            draft TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX conversation_change ON conversation (change)",
        """
        CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
            -- Deferred, not cascading: a chain of 1,000 is SQLite's limit of nested triggers.
            parent_id INTEGER REFERENCES message (id) DEFERRABLE INITIALLY DEFERRED,
            role TEXT NOT NULL,
            status TEXT NOT NULL,
            created_at REAL NOT NULL,
            model TEXT NOT NULL DEFAULT '',
            tokenizer_hash TEXT NOT NULL DEFAULT '',
            finish_reason TEXT,
            seed INTEGER,
            sampling TEXT,
            timing TEXT,
            error TEXT NOT NULL DEFAULT '',
            writer TEXT,
            text TEXT NOT NULL DEFAULT '',
            token_ids BLOB
        )
        """,
        "CREATE INDEX message_conversation ON message (conversation_id)",
        "CREATE INDEX message_parent ON message (parent_id)",
        "CREATE INDEX message_writing ON message (writer) WHERE status = 'writing'",
        """
        CREATE TABLE chunk (
            message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (message_id, seq)
        ) WITHOUT ROWID
        """,
        # What stands in the prompt of a conversation that has no first message yet: one row.
        """
        CREATE TABLE unsent (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            draft TEXT NOT NULL
        )
        """,
    ),
    (
        """
        CREATE VIEW finished_message AS
            SELECT id, text FROM message WHERE status <> 'writing'
        """,
        *SEARCH_TABLES.values(),
        "INSERT INTO message_search (message_search) VALUES ('rebuild')",
        "INSERT INTO title_search (title_search) VALUES ('rebuild')",
    ),
    (
        """
        CREATE TABLE preset (
            key TEXT PRIMARY KEY NOT NULL,
            name TEXT NOT NULL,
            system_prompt TEXT NOT NULL,
            sampling TEXT,
            model TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL
        )
        """,
        """
        CREATE TABLE prompt (
            key TEXT PRIMARY KEY NOT NULL,
            name TEXT NOT NULL,
            text TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL
        )
        """,
        """
        CREATE TABLE attachment (
            message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            media_type TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (message_id, position)
        )
        """,
    ),
    (
        "ALTER TABLE conversation ADD COLUMN pinned_at REAL",
        "ALTER TABLE conversation ADD COLUMN archived_at REAL",
        "ALTER TABLE conversation ADD COLUMN title_by TEXT NOT NULL DEFAULT 'text'",
        "ALTER TABLE message ADD COLUMN trashed_at REAL",
        # Counts up within a conversation each time that the tip comes to a message.
        "ALTER TABLE message ADD COLUMN visit INTEGER NOT NULL DEFAULT 0",
        # To find what is hidden without looking at every message.
        "CREATE INDEX message_trashed ON message (conversation_id) WHERE trashed_at IS NOT NULL",
        """
        CREATE TABLE tag (
            conversation_id INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
            key TEXT NOT NULL,
            name TEXT NOT NULL,
            PRIMARY KEY (conversation_id, key)
        ) WITHOUT ROWID
        """,
    ),
)

NEWEST_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, *, migrations: Migrations = MIGRATIONS) -> None:
    """Bring the file to the newest schema: wholly, or not at all.

    ``executescript`` would commit first and leave half a migration behind, so the statements
    run one by one. The version is read again under the write lock, since another process may
    have migrated in between.

    Raises:
        sqlite3.Error: A statement failed; the file is as it was.
    """
    if version(connection) >= len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version(connection), len(migrations)):
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version(connection: sqlite3.Connection) -> int:
    """The schema of the file; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
