"""A store in memory does what one on disk does, and leaves nothing anywhere."""

from __future__ import annotations

import threading

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.errors import ConversationNotFoundError, StoreError
from lfm2chat.store import Store, is_temporary


@pytest.fixture
def memory():
    with Store.in_memory() as store:
        yield store


def test_conversation_is_written_read_searched_and_forgotten(memory, finish):
    file = Attachment("notes.txt", "x")
    conversation, user, answer = memory.begin_conversation(
        "a zebra", title="t", model="guide", attachments=[file]
    ).result()
    memory.append_text(answer.id, "stri").result()
    assert memory.message(answer.id).text == "stri"
    assert finish(memory, answer.id, "striped").status is MessageStatus.DONE
    assert [message.text for message in memory.branch(conversation.id)] == ["a zebra", "striped"]
    assert memory.message(user.id).attachments == (file,)
    assert [hit.message_id for hit in memory.search("zebra")] == [user.id]
    memory.save_prompt("p", "text").result()
    memory.delete_conversation(conversation.id).result()
    assert (memory.conversations(), memory.search("zebra")) == ([], [])


def test_numbers_say_which_store_it_is(memory, store):
    for one, temporary in ((memory, True), (store, False)):
        conversation, user, answer = one.begin_conversation("q", title="t", model="m").result()
        for number in (conversation.id, user.id, answer.id):
            assert is_temporary(number) is temporary


def test_two_stores_in_memory_know_nothing_of_each_other(memory):
    conversation = memory.create_conversation(title="t").result()
    with Store.in_memory() as other, pytest.raises(ConversationNotFoundError):
        other.conversation(conversation.id)


def test_operation_that_fails_is_taken_back(memory):
    def half(connection):
        connection.execute("INSERT INTO unsent VALUES (1, 'half')")
        raise ValueError("stopped half way")

    with pytest.raises(ValueError, match="half way"):
        memory._writer.submit(half).result()
    assert memory.unsent() == ""


def test_reads_of_many_threads_see_whole_turns_only(memory):
    stop, torn = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            torn.extend(one for one in memory.conversations() if one.message_count % 2)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    conversation = memory.create_conversation(title="t").result()
    for _ in range(100):
        memory.begin_turn(conversation.id, "q", model="m").result()
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert memory.conversation(conversation.id).message_count == 200


def test_what_is_closed_is_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store.in_memory() as store:
        store.create_conversation(title="t").result()
    with pytest.raises(StoreError, match="closed"):
        store.conversations()
    with pytest.raises(StoreError, match="closed"):
        store.create_conversation(title="t").result()
    assert list(tmp_path.iterdir()) == []
