"""What a newer version made is read, and never written."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.errors import NewerStoreError, StoreError
from lfm2chat.store import Store
from lfm2chat.store.archive import archive_lines

# How a later schema may look: more of everything, and all that we read.
LATER = (
    "ALTER TABLE conversation ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN mood TEXT",
    "CREATE TABLE folder (id INTEGER PRIMARY KEY, name TEXT)",
)


def _make(path: Path, finish: Callable[..., object], *changes: str) -> None:
    with Store.open(path) as store:
        _, _, answer = store.begin_conversation("a zebra", title="t", model="guide").result()
        finish(store, answer.id, "striped")
        store.keep_unsent("half a thought").result()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for change in changes:
            connection.execute(change)
        connection.execute("PRAGMA user_version=99")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture
def newer(path: Path, finish: Callable[..., object]) -> Path:
    _make(path, finish, *LATER)
    return path


def test_everything_is_read_and_the_file_stays_as_it_is(newer):
    content = newer.read_bytes()
    with Store.open(newer) as store:
        (conversation,) = store.conversations()
        assert store.conversations(trashed=True) == []
        assert [message.text for message in store.branch(conversation.id)] == ["a zebra", "striped"]
        assert [hit.message_id for hit in store.search("zebra")] == [1]
        assert len(list(archive_lines([store.tree(conversation.id)]))) == 4
        assert store.unsent() == "half a thought"
    assert newer.read_bytes() == content
    assert not (newer.parent / "backups").exists()


def _writes(store: Store) -> list[Callable[[], object]]:
    ended = {
        "status": MessageStatus.DONE, "finish_reason": None, "token_ids": (), "tokenizer_hash": "",
        "model": "", "sampling": None, "seed": None, "timing": None,
    }  # fmt: skip
    return [
        lambda: store.create_conversation(title="t").result(),
        lambda: store.begin_conversation("q", title="t", model="m").result(),
        lambda: store.begin_turn(1, "q", model="m").result(),
        lambda: store.append_text(2, "more").result(),
        lambda: store.finish_message(2, text="", **ended).result(),
        lambda: store.update_conversation(1, title="other").result(),
        lambda: store.edit_question(1, 1, "q", model="m").result(),
        lambda: store.edit_answer(1, 2, "a").result(),
        lambda: store.begin_answers(1, 1, model="m").result(),
        lambda: store.begin_continuation(1, 2, model="m").result(),
        lambda: store.fork(1, 2, title=str).result(),
        lambda: store.select(1, 1).result(),
        lambda: store.hide_message(1, 1).result(),
        lambda: store.unhide_message(1, 1).result(),
        lambda: store.set_tags(1, ["a"]).result(),
        lambda: store.pin_conversation(1).result(),
        lambda: store.archive_conversation(1).result(),
        lambda: store.trash_conversation(1).result(),
        lambda: store.restore_conversation(1).result(),
        lambda: store.delete_conversation(1).result(),
        lambda: store.add_conversations([store.tree(1)]).result(),
        lambda: store.keep_unsent("x").result(),
        lambda: store.save_preset("x").result(),
        lambda: store.delete_preset("x").result(),
        lambda: store.save_prompt("x", "").result(),
        lambda: store.delete_prompt("x").result(),
        lambda: store.copy_when_due().result(),
    ]


def test_every_write_is_refused_with_the_way_out(newer):
    content = newer.read_bytes()
    with Store.open(newer) as store:
        for write in _writes(store):
            with pytest.raises(
                StoreError, match=r"newer lfm2chat \(schema 99.*reading only"
            ) as error:
                write()
            assert "upgrade" in error.value.hint
            assert error.value.exit_code == 6
        assert store.why_read_only is not None
    assert newer.read_bytes() == content


def test_store_of_this_version_is_not_read_only(store):
    assert store.why_read_only is None


def test_newer_version_may_go_on_writing_while_its_store_is_read(newer):
    with Store.open(newer) as store, contextlib.closing(sqlite3.connect(newer)) as other:
        other.execute("UPDATE conversation SET title = 'renamed'")
        other.commit()
        assert [one.title for one in store.conversations()] == ["renamed"]
        log = Path(f"{newer}-wal").read_bytes()
        content = newer.read_bytes()
        store.close()
        assert (newer.read_bytes(), Path(f"{newer}-wal").read_bytes()) == (content, log)


def test_store_that_a_newer_version_migrates_while_it_is_open_is_not_written_any_more(path, finish):
    with Store.open(path) as store:
        conversation, _, answer = store.begin_conversation("q", title="t", model="m").result()
        with contextlib.closing(sqlite3.connect(path)) as newer:
            for change in LATER:
                newer.execute(change)
            newer.execute("PRAGMA user_version=99")
            newer.commit()
        with pytest.raises(NewerStoreError, match="schema 99"):
            finish(store, answer.id)
        assert len(store.branch(conversation.id)) == 2
    with contextlib.closing(sqlite3.connect(path)) as newer:
        statuses = newer.execute("SELECT status FROM message ORDER BY id").fetchall()
    assert statuses == [("done",), ("writing",)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE message RENAME COLUMN status TO state",
        "ALTER TABLE conversation RENAME TO dialogue",
        "DROP TABLE chunk",
        "DROP TABLE unsent",
        "DROP TABLE attachment",
    ],
)
def test_store_of_another_shape_is_refused_and_left_as_it_is(path, finish, change):
    _make(path, finish, "DROP VIEW finished_message", change)
    content = path.read_bytes()
    with pytest.raises(
        NewerStoreError, match=r"newer lfm2chat \(schema 99.*cannot be read"
    ) as error:
        Store.open(path)
    assert "upgrade" in error.value.hint
    assert path.read_bytes() == content


@pytest.mark.parametrize("change", ["DROP TABLE message_search", "DROP VIEW finished_message"])
def test_store_whose_indexes_are_others_is_read_but_not_searched(path, finish, change):
    _make(path, finish, change)
    content = path.read_bytes()
    with Store.open(path) as store:
        assert len(store.branch(1)) == 2
        with pytest.raises(NewerStoreError, match="reading only"):
            store.search("zebra")
    assert path.read_bytes() == content
