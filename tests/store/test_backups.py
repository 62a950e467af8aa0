"""The store is copied before its schema changes and weekly; copies are whole, private and few."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.errors import DiskFullError
from lfm2chat.store import Store
from lfm2chat.store.backups import KEPT, WEEK_S, back_up, backups
from lfm2chat.store.migrations import NEWEST_VERSION

RELEASED = sorted((Path(__file__).parent / "fixtures").glob("schema_*.sql"))


def _restore(dump: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))


def test_every_released_schema_but_the_newest_is_a_fixture():
    assert [dump.name for dump in RELEASED] == [
        f"schema_{number}.sql" for number in range(1, NEWEST_VERSION)
    ]


@pytest.mark.parametrize("dump", RELEASED, ids=lambda dump: dump.stem)
def test_store_of_an_earlier_release_opens_with_all_it_held(path, dump):
    _restore(dump, path)
    with Store.open(path) as store:
        (shown,) = store.conversations()
        (trashed,) = store.conversations(trashed=True)
        assert (shown.title, shown.draft, shown.system_prompt) == (
            "First steps", "half a thought", "Be brief.",
        )  # fmt: skip
        assert trashed.title == "Thrown away"
        texts = [message.text for message in store.branch(shown.id)]
        assert texts == [
            "how do I measure a café table?", "With a ruler.", "odd \ud800 and \x00",
            "half an answer",
        ]  # fmt: skip
        assert store.branch(shown.id)[-1].status is MessageStatus.INTERRUPTED
        assert store.unsent() == "not sent yet"
        assert {hit.message_id for hit in store.search("ruler")} == {2}
        assert {hit.message_id for hit in store.search("cafe")} == {1}
        assert {hit.message_id for hit in store.search("half answer")} == {4}


@pytest.mark.parametrize("dump", RELEASED, ids=lambda dump: dump.stem)
def test_copy_is_made_before_the_schema_changes(path, dump):
    _restore(dump, path)
    Store.open(path).close()
    (copy,) = backups(path)
    with contextlib.closing(sqlite3.connect(copy)) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (int(dump.stem[-1]),)
        assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert old.execute("SELECT count(*) FROM message").fetchone() == (6,)


def test_new_and_current_stores_are_not_copied_at_the_start(path):
    Store.open(path).close()
    Store.open(path).close()
    assert backups(path) == []


def test_copy_is_a_store_that_opens(store, path, finish, tmp_path):
    _, _, answer = store.begin_conversation("keep me", title="t", model="guide").result()
    finish(store, answer.id, "kept")
    copy = back_up(path)
    elsewhere = tmp_path / "elsewhere" / "conversations.db"
    elsewhere.parent.mkdir()
    copy.rename(elsewhere)
    with Store.open(elsewhere) as restored:
        assert [message.text for message in restored.branch(1)] == ["keep me", "kept"]


def test_copy_holds_what_is_only_in_the_log(store, path):
    store.begin_conversation("in the log", title="t", model="guide").result()
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    with contextlib.closing(sqlite3.connect(back_up(path))) as copy:
        assert copy.execute("SELECT text FROM message").fetchone() == ("in the log",)


def test_only_the_last_copies_are_kept_and_all_are_private(store, path):
    old = os.umask(0)
    try:
        made = [back_up(path) for _ in range(KEPT + 2)]
    finally:
        os.umask(old)
    assert backups(path) == made[-KEPT:]
    assert {copy.stat().st_mode & 0o777 for copy in backups(path)} == {0o600}
    assert made[0].parent.stat().st_mode & 0o777 == 0o700


def test_no_space_for_a_copy_leaves_the_earlier_ones(store, path, monkeypatch):
    first = back_up(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lfm2chat.store.backups.os.fsync", full)
    with pytest.raises(DiskFullError):
        back_up(path)
    assert backups(path) == [first]
    assert [entry.name for entry in first.parent.iterdir()] == [first.name]


def test_copy_is_due_once_a_week_from_the_first_conversation_on(path):
    now = time.time()
    clock = [now]
    with Store.open(path, clock=lambda: clock[0]) as store:
        assert store.copy_when_due().result() is None
        store.create_conversation(title="t").result()
        first = store.copy_when_due().result()
        assert backups(path) == [first]
        assert store.copy_when_due().result() is None
        clock[0] = now + WEEK_S - 60
        assert store.copy_when_due().result() is None
        clock[0] = now + WEEK_S + 60
        assert store.copy_when_due().result() == backups(path)[-1]
        assert len(backups(path)) == 2


def test_clock_that_was_wrong_once_does_not_end_the_copies(store, path):
    store.create_conversation(title="t").result()
    copy = back_up(path)
    os.utime(copy, (copy.stat().st_mtime + 400 * WEEK_S,) * 2)
    assert store.copy_when_due().result() is not None
    assert store.copy_when_due().result() is None


def test_weekly_copy_is_whole_while_others_write(store, path, finish):
    stop = threading.Event()

    def write(other: Store) -> None:
        while not stop.is_set():
            _, _, answer = other.begin_conversation("q " * 500, title="t", model="m").result()
            finish(other, answer.id, "a " * 500)

    with Store.open(path) as second:
        writers = [threading.Thread(target=write, args=(one,)) for one in (store, second)]
        for writer in writers:
            writer.start()
        made = []
        while len(made) < 5:
            made += [copy] if (copy := store.copy_when_due().result()) else []
            for one in backups(path):
                os.utime(one, (0, 0))
            time.sleep(0.02)
        stop.set()
        for writer in writers:
            writer.join()
    for copy in backups(path):
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            # A conversation begins with two messages, in one transaction.
            count = "SELECT count(*) FROM "
            (messages,) = connection.execute(count + "message").fetchone()
            (conversations,) = connection.execute(count + "conversation").fetchone()
            assert messages == 2 * conversations > 0


@pytest.mark.skipif(os.name != "posix", reason="process numbers")
def test_half_a_copy_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not(store, path):
    folder = back_up(path).parent
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"{path.stem}.{dead.pid}.part", f"{path.stem}.{os.getppid()}.part", "notes.part"):
        (folder / name).write_bytes(b"half")
    back_up(path)
    assert {entry.name for entry in folder.glob("*.part")} == {
        f"{path.stem}.{os.getppid()}.part", "notes.part",
    }  # fmt: skip
