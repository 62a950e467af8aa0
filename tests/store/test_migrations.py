"""A migration is whole or was never there."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lfm2chat.store.db import APPLICATION_ID
from lfm2chat.store.migrations import MIGRATIONS, NEWEST_VERSION, migrate

RELEASED = sorted((Path(__file__).parent / "fixtures").glob("schema_*.sql"))
LATER = (
    *MIGRATIONS,
    (
        "ALTER TABLE conversation ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE folder (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO folder (name) SELECT title FROM conversation",
    ),
    ("CREATE INDEX folder_name ON folder (name)",),
)
# BEGIN, the statements, a user_version for each migration and COMMIT.
STEPS_TO_FIRST = 2 + sum(len(statements) + 1 for statements in MIGRATIONS)
STEPS_TO_LATER = 2 + sum(len(statements) + 1 for statements in LATER[len(MIGRATIONS) :])


class Stopping(sqlite3.Connection):
    """Fails instead of running its ``stop_at``-th writing statement."""

    stop_at = -1

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement not in {"PRAGMA user_version", "ROLLBACK"}:
            self.stop_at -= 1
            if self.stop_at == 0:
                raise RuntimeError(f"stopped at {statement}")
        return super().execute(statement, *parameters)


def _open(path: Path, *, stop_at: int = -1) -> contextlib.closing[Stopping]:
    connection = sqlite3.connect(path, isolation_level=None, factory=Stopping)
    connection.stop_at = stop_at
    return contextlib.closing(connection)


def _state(path: Path) -> list[tuple[Any, ...]]:
    with _open(path) as connection:
        return [
            *connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name"),
            *connection.execute("PRAGMA user_version"),
            *connection.execute("PRAGMA application_id"),
        ]


def _old_store(path: Path) -> None:
    with _open(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        migrate(connection)
        connection.execute(
            "INSERT INTO conversation (change, title, created_at, updated_at) VALUES (1, 't', 0, 0)"
        )


def test_new_store_gets_the_newest_version_and_our_id(tmp_path):
    path = tmp_path / "x.db"
    with _open(path) as connection:
        migrate(connection)
        migrate(connection)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert (NEWEST_VERSION,) in _state(path)
    assert (APPLICATION_ID,) in _state(path)


@pytest.mark.parametrize("stop_at", range(1, STEPS_TO_FIRST + 1))
def test_first_migration_stopped_at_any_statement_leaves_an_empty_file(tmp_path, stop_at):
    path = tmp_path / "x.db"
    with _open(path, stop_at=stop_at) as connection, pytest.raises(RuntimeError, match="stopped"):
        migrate(connection)
    assert _state(path) == [(0,), (0,)]
    with _open(path) as connection:
        migrate(connection)
    assert (NEWEST_VERSION,) in _state(path)


@pytest.mark.parametrize("stop_at", range(1, STEPS_TO_LATER + 1))
def test_later_migrations_stopped_at_any_statement_leave_the_old_schema(tmp_path, stop_at):
    path = tmp_path / "x.db"
    _old_store(path)
    old = _state(path)
    with _open(path, stop_at=stop_at) as connection, pytest.raises(RuntimeError, match="stopped"):
        migrate(connection, migrations=LATER)
    assert _state(path) == old
    with _open(path) as connection:
        migrate(connection, migrations=LATER)
        assert connection.execute("SELECT name FROM folder").fetchall() == [("t",)]
    assert (len(LATER),) in _state(path)


def test_no_statement_is_left_unstopped(tmp_path):
    """The two tests above count the statements right: one more is not reached."""
    with _open(tmp_path / "x.db", stop_at=STEPS_TO_FIRST + 1) as connection:
        migrate(connection)
    with _open(tmp_path / "x.db", stop_at=STEPS_TO_LATER + 1) as connection:
        migrate(connection, migrations=LATER)


@pytest.mark.parametrize("stop_at", range(1, STEPS_TO_FIRST + 1))
def test_process_that_dies_at_any_statement_leaves_an_empty_file(tmp_path, stop_at):
    """``_exit`` runs nothing on the way out, as a SIGKILL does."""
    script = textwrap.dedent("""
        import os, sqlite3, sys
        from lfm2chat.store.migrations import migrate

        class Dying(sqlite3.Connection):
            left = int(sys.argv[2])
            def execute(self, statement, *parameters):
                if statement != "PRAGMA user_version":
                    self.left -= 1
                    if self.left == 0:
                        os._exit(9)
                return super().execute(statement, *parameters)

        connection = sqlite3.connect(sys.argv[1], isolation_level=None, factory=Dying)
        sqlite3.Connection.execute(connection, "PRAGMA journal_mode=WAL").fetchone()
        migrate(connection)
    """)
    path = tmp_path / "x.db"
    run = subprocess.run([sys.executable, "-c", script, str(path), str(stop_at)], check=False)
    assert run.returncode == 9
    assert _state(path) == [(0,), (0,)]
    with _open(path) as connection:
        migrate(connection)
    assert (NEWEST_VERSION,) in _state(path)


def _released(dump: Path, path: Path) -> None:
    with _open(path) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))


@pytest.mark.parametrize("dump", RELEASED, ids=lambda dump: dump.stem)
def test_every_way_leads_to_the_schema_of_a_new_store(tmp_path, dump):
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    _released(dump, old)
    for path in (old, new):
        with _open(path) as connection:
            migrate(connection)
    # A dump writes the names of an index's own tables in other quotes.
    states = [
        [tuple(str(value).replace('"', "'").split() for value in row) for row in _state(path)]
        for path in (old, new)
    ]
    assert states[0] == states[1]


@pytest.mark.parametrize("dump", RELEASED, ids=lambda dump: dump.stem)
def test_released_store_stopped_at_any_statement_of_its_way_stays_as_it_was(tmp_path, dump):
    path = tmp_path / "x.db"
    _released(dump, path)
    old = _state(path)
    first = int(dump.stem.removeprefix("schema_"))
    steps = 2 + sum(len(statements) + 1 for statements in MIGRATIONS[first:])
    for stop_at in range(1, steps + 1):
        with _open(path, stop_at=stop_at) as connection, pytest.raises(RuntimeError):
            migrate(connection)
        assert _state(path) == old
    with _open(path, stop_at=steps + 1) as connection:
        migrate(connection)
    assert (NEWEST_VERSION,) in _state(path)


def test_migration_that_fails_says_so_and_leaves_the_old_schema(tmp_path):
    path = tmp_path / "x.db"
    _old_store(path)
    old = _state(path)
    with _open(path) as connection, pytest.raises(sqlite3.OperationalError, match="no such table"):
        migrate(connection, migrations=(*LATER, ("DROP TABLE missing",)))
    assert _state(path) == old


def test_newer_store_is_not_downgraded(tmp_path):
    path = tmp_path / "x.db"
    _old_store(path)
    with _open(path) as connection:
        migrate(connection, migrations=LATER)
        migrate(connection)
    assert (len(LATER),) in _state(path)


def test_long_branch_is_deleted_with_its_conversation(tmp_path):
    """A cascade along ``parent_id`` would end at SQLite's limit of 1,000 nested triggers."""
    with _open(tmp_path / "x.db") as connection:
        migrate(connection)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("BEGIN")
        connection.execute(
            "INSERT INTO conversation (change, title, created_at, updated_at) VALUES (1, 't', 0, 0)"
        )
        for number in range(1, 3001):
            connection.execute(
                "INSERT INTO message (conversation_id, parent_id, role, status, created_at) "
                "VALUES (1, ?, 'user', 'done', 0)",
                (number - 1 or None,),
            )
        connection.execute("INSERT INTO chunk VALUES (3000, 1, 'x')")
        connection.execute("COMMIT")
        connection.execute("DELETE FROM conversation")
        for table in ("message", "chunk"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
