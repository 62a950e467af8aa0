"""What the user said, for the prompt's history: in which order, and what is left out."""

import pytest

from lfm2chat.store import Store
from lfm2chat.store.reads import LONGEST_SENT


@pytest.fixture
def say(store, finish):
    """Say a text in a conversation, a new one for None, and finish the answer."""

    def said(text, number=None):
        if number is None:
            begun = store.begin_conversation(text, title="t", model="m").result()
        else:
            begun = store.begin_turn(number, text, model="m").result()
        finish(store, begun[2].id, "an answer")
        return begun[0].id, begun[1].id

    return said


def test_this_conversation_comes_first_and_the_newest_message_first_in_each(store, say):
    first, _ = say("a")
    second, _ = say("b")
    say("c", first)
    assert store.sent(first, limit=10) == ["c", "a", "b"]
    assert store.sent(second, limit=10) == ["b", "c", "a"]
    assert store.sent(None, limit=10) == ["c", "b", "a"]


def test_each_of_both_has_its_limit(store, say):
    first, _ = say("a")
    say("b", first)
    say("c")
    say("d")
    assert store.sent(first, limit=1) == ["b", "d"]
    assert store.sent(first, limit=0) == []


def test_what_is_in_the_trash_hidden_or_too_long_is_left_out(store, say):
    first, _ = say("kept")
    _, hidden = say("hidden", first)
    say("below it", first)
    store.hide_message(first, hidden).result()
    gone, _ = say("gone")
    store.trash_conversation(gone).result()
    say("x" * (LONGEST_SENT + 1))
    say("x" * LONGEST_SENT)
    assert store.sent(first, limit=10) == ["kept", "x" * LONGEST_SENT]


def test_a_store_in_memory_is_asked_the_same_way(finish):
    with Store.in_memory() as store:
        begun = store.begin_conversation("aside", title="t", model="m").result()
        finish(store, begun[2].id, "an answer")
        assert store.sent(begun[0].id, limit=5) == ["aside"]
