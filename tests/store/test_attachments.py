"""Files are kept with their message, as they were."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.attachments import MAX_BYTES, MAX_FILES, Attachment
from lfm2chat.errors import StoreError, UsageError
from lfm2chat.store import Store

FILES = (
    Attachment("notes.txt", "a zebra\n"),
    Attachment("odd \ud800\x00\n", "\ud800\x00", "text/x"),
)


def test_files_come_back_with_every_way_to_their_message(store, path):
    conversation, user, _ = store.begin_conversation(
        "look", title="t", model="guide", attachments=FILES
    ).result()
    assert user.attachments == FILES
    _, second, _ = store.begin_turn(
        conversation.id, "and", model="m", attachments=FILES[:1]
    ).result()
    store.close()
    with Store.open(path) as reopened:
        assert [len(m.attachments) for m in reopened.branch(conversation.id)] == [2, 0, 1, 0]
        assert reopened.message(user.id).attachments == FILES
        assert reopened.roots(conversation.id)[0].attachments == FILES
        assert reopened.children(second.parent_id)[0].attachments == FILES[:1]
        assert reopened.tree(conversation.id).messages[0].attachments == FILES


texts = st.text(st.characters(exclude_categories=[]), max_size=20)


@given(st.lists(st.builds(Attachment, texts, texts, texts), max_size=4))
def test_any_files_come_back_equal(tmp_path_factory, files):
    with Store.open(tmp_path_factory.mktemp("files") / "x.db") as store:
        store.begin_conversation("", title="t", model="m", attachments=files).result()
        assert store.message(1).attachments == tuple(files)


def test_file_of_the_greatest_size_is_kept(store):
    file = Attachment("big.txt", "x" * MAX_BYTES)
    store.begin_conversation("q", title="t", model="m", attachments=[file]).result()
    assert store.message(1).attachments == (file,)


def test_too_many_files_are_refused_before_anything_is_written(store):
    with pytest.raises(UsageError):
        store.begin_conversation("q", title="t", model="m", attachments=FILES[:1] * (MAX_FILES + 1))
    assert store.conversations() == []


def test_words_of_a_file_are_not_searched(store):
    store.begin_conversation("look", title="t", model="m", attachments=FILES).result()
    assert store.search("zebra") == []
    assert len(store.search("look")) == 1


def test_row_that_no_version_writes_is_an_error(store, path):
    store.begin_conversation("q", title="t", model="m", attachments=FILES).result()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE attachment SET name = X'FF'")
        connection.commit()
    with pytest.raises(StoreError, match="message 1 in the store cannot be read"):
        store.message(1)
