"""Pins, the archive, tags and titles: where a conversation stands, and by what name."""

from __future__ import annotations

import pytest

from lfm2chat.chat.turns import TitleBy
from lfm2chat.errors import ArchiveError, ConversationNotFoundError, UsageError
from lfm2chat.store import Store
from lfm2chat.store.archive import read_archive
from lfm2chat.store.names import MOST_TAGS


@pytest.fixture
def number(store: Store) -> int:
    return store.create_conversation(title="first words").result().id


def test_archived_conversation_leaves_the_list_and_is_found_by_searching(store, number):
    store.pin_conversation(number).result()
    archived = store.archive_conversation(number).result()
    assert archived.pinned_at is None
    assert store.conversations() == []
    assert [one.id for one in store.conversations(archived=True)] == [number]
    assert [hit.conversation_id for hit in store.search("words")] == [number]
    store.unarchive_conversation(number).result()
    assert [one.id for one in store.conversations()] == [number]
    assert store.conversations(archived=True) == []


def test_archived_conversation_in_the_trash_is_in_the_trash_alone(store, number):
    store.archive_conversation(number).result()
    store.trash_conversation(number).result()
    assert store.conversations(archived=True) == []
    assert [one.id for one in store.conversations(trashed=True)] == [number]
    store.restore_conversation(number).result()
    assert [one.id for one in store.conversations(archived=True)] == [number]


def test_who_talks_in_an_archived_conversation_brings_it_back(store, number):
    store.archive_conversation(number).result()
    store.begin_turn(number, "more", model="guide").result()
    assert [one.id for one in store.conversations()] == [number]


def test_pin_keeps_the_place_in_the_order_of_changes(store, number):
    later = store.create_conversation(title="second").result().id
    assert store.pin_conversation(number).result().pinned_at is not None
    assert [one.id for one in store.conversations()] == [later, number]
    assert store.unpin_conversation(number).result().pinned_at is None


def test_title_of_the_user_is_not_replaced_by_the_models(store, number):
    def by_model(title: str) -> object:
        return store.update_conversation(number, title=title, title_by=TitleBy.MODEL).result()

    assert store.conversation(number).title_by is TitleBy.TEXT
    assert by_model("a better one").title_by is TitleBy.MODEL
    named = store.update_conversation(number, title="mine").result()
    assert (named.title, named.title_by) == ("mine", TitleBy.USER)
    assert by_model("a better one") == named


def test_tags_that_differ_in_case_or_spaces_are_one(store, number):
    tagged = store.set_tags(number, ["Work", "  home\nplans ", "WORK", "home plans"]).result()
    assert tagged.tags == ("home plans", "Work")
    assert store.conversations()[0].tags == tagged.tags
    assert store.set_tags(number, []).result().tags == ()


@pytest.mark.parametrize(
    ("names", "says"),
    [([" "], "empty"), (["x" * 41], "41 characters"), ([str(n) for n in range(99)], "99 tags")],
)
def test_bad_tag_changes_nothing(store, number, names, says):
    store.set_tags(number, ["kept"]).result()
    with pytest.raises(UsageError, match=says):
        store.set_tags(number, names)
    assert store.conversation(number).tags == ("kept",)
    assert len(store.set_tags(number, map(str, range(MOST_TAGS))).result().tags) == MOST_TAGS


def test_tags_go_with_their_conversation(store, number, path):
    store.set_tags(number, ["a"]).result()
    store.delete_conversation(number).result()
    with pytest.raises(ConversationNotFoundError):
        store.set_tags(number, ["a"]).result()
    with store._readers.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM tag").fetchone()[0] == 0


@pytest.mark.parametrize("tags", ['"x"', "[1]", '[""]', '["' + "x" * 41 + '"]'])
def test_archive_with_bad_tags_is_refused(tags):
    header = b'{"format": "lfm2chat conversations", "version": 1}'
    line = f'{{"conversation": {{"title": "t", "tags": {tags}}}}}'.encode()
    with pytest.raises(ArchiveError, match="line 2"):
        read_archive([header, line])
