"""What is put away comes back, what is deleted for ever does not, and the model forgets it too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.errors import ConversationNotFoundError, UsageError
from lfm2chat.runtime.cabinet import Cabinet
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as store:
        yield store


@pytest.fixture
def forgotten() -> list[int]:
    return []


@pytest.fixture
def cabinet(store: Store, forgotten: list[int]) -> Cabinet:
    return Cabinet(lambda _: store, told=lambda future: future, forget=forgotten.append)


def _finished(store: Store, title: str) -> int:
    conversation, _, answer = store.begin_conversation(
        f"about {title}", title=title, model="guide"
    ).result()
    store.finish_message(
        answer.id, text="done", status=MessageStatus.DONE, finish_reason=FinishReason.STOP,
        token_ids=(), tokenizer_hash="", model="guide", sampling=None, seed=None, timing=None,
    ).result()  # fmt: skip
    return conversation.id


def test_pin_archive_and_tags_go_both_ways(store, cabinet):
    number = _finished(store, "bread")
    assert cabinet.pin(number, True).result().pinned_at is not None
    assert cabinet.pin(number, False).result().pinned_at is None
    assert cabinet.set_tags(number, ["b", "a"]).result().tags == ("a", "b")
    cabinet.archive(number, True).result()
    assert [one.id for one in cabinet.archived()] == [number]
    assert store.conversations() == []
    cabinet.archive(number, False).result()
    assert cabinet.archived() == []
    assert [one.id for one in store.conversations()] == [number]


def test_too_long_a_tag_is_refused_at_once(store, cabinet):
    number = _finished(store, "bread")
    with pytest.raises(UsageError):
        cabinet.set_tags(number, ["x" * 100])


def test_a_conversation_begins_with_its_first_messages(cabinet, store):
    number = _finished(store, "bread")
    assert [one.text for one in cabinet.beginning(number, most=9)] == ["about bread", "done"]
    assert [one.text for one in cabinet.beginning(number, most=1)] == ["about bread"]
    with pytest.raises(ConversationNotFoundError):
        cabinet.beginning(number + 1, most=1)


def test_what_was_deleted_last_is_first_in_the_trash(store, cabinet):
    first, second = _finished(store, "first"), _finished(store, "second")
    store.trash_conversation(second).result()
    store.trash_conversation(first).result()
    assert [one.id for one in cabinet.trashed()] == [first, second]


def test_deleting_for_ever_leaves_nothing_to_find(store, cabinet, forgotten):
    number = _finished(store, "bread")
    cabinet.delete_forever(number).result()
    assert cabinet.search("bread") == []
    with pytest.raises(ConversationNotFoundError):
        store.conversation(number)
    assert forgotten == [number]


def test_a_deletion_that_fails_forgets_nothing(cabinet, forgotten):
    with pytest.raises(ConversationNotFoundError):
        cabinet.delete_forever(77).result()
    assert forgotten == []


def test_emptying_the_trash_spares_what_was_restored_meanwhile(store, cabinet):
    gone, kept = _finished(store, "gone"), _finished(store, "kept")
    for number in (gone, kept):
        store.trash_conversation(number).result()
    asked = [one.id for one in cabinet.trashed()]
    store.restore_conversation(kept).result()
    cabinet.empty_trash(asked).result()
    assert [one.id for one in store.conversations()] == [kept]
    assert cabinet.trashed() == []
