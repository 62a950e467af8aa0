"""What was said once is found again, whatever is typed into the search."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfm2chat.chat.turns import Role
from lfm2chat.store import Store
from lfm2chat.store.migrations import SEARCH_TABLES
from lfm2chat.store.search import Hit, terms

# Everything that a keyboard, or a cat on it, can send.
typed = st.text(st.characters(exclude_categories=[]), max_size=12) | st.text(
    '"*ab -^:(){}\\', max_size=12
)
word = st.text("abcdeé", min_size=1, max_size=4)


def _say(store: Store, text: str, *, title: str = "t") -> tuple[int, int]:
    """A conversation with one message of the user; its number and that of its answer."""
    conversation, _, answer = store.begin_conversation(text, title=title, model="guide").result()
    return conversation.id, answer.id


def _texts(hits: list[Hit]) -> list[str]:
    return ["".join(piece.text for piece in hit.snippet) for hit in hits]


def test_message_is_found_with_the_place_that_matched(store):
    number, _ = _say(store, "The quick brown fox jumps", title="Animals")
    (hit,) = store.search("BROWN")
    assert (hit.conversation_id, hit.title, hit.role) == (number, "Animals", Role.USER)
    assert [(piece.text, piece.matched) for piece in hit.snippet] == [
        ("The quick ", False), ("brown", True), (" fox jumps", False),
    ]  # fmt: skip


def test_all_words_must_stand_in_one_message(store):
    _say(store, "brown bread")
    _say(store, "a fox")
    assert store.search("brown fox") == []


def test_phrase_keeps_its_order_and_words_do_not(store):
    _say(store, "fox brown")
    assert store.search('"brown fox"') == []
    assert len(store.search("brown fox")) == 1


def test_prefix_is_asked_for_by_a_star_or_while_typing(store):
    _say(store, "measurement")
    assert store.search("measu") == []
    assert len(store.search("measu*")) == len(store.search("measu", typing=True)) == 1


def test_accents_and_case_do_not_count(store):
    _say(store, "Crème brûlée")
    assert len(store.search("creme BRULEE")) == 1


def test_writing_without_spaces_is_found_in_the_middle(store):
    _say(store, "昨日は東京タワーに行きました", title="旅行")
    (hit,) = store.search("東京")
    assert [piece.text for piece in hit.snippet if piece.matched] == ["東京"]
    assert store.search("旅行")[0].message_id is None


def test_titles_come_before_messages_and_follow_a_change(store):
    number, _ = _say(store, "about rulers", title="Geometry")
    _say(store, "geometry of rulers")
    assert [hit.message_id is None for hit in store.search("geometry")] == [True, False]
    store.update_conversation(number, title="Drawing").result()
    assert [hit.message_id is None for hit in store.search("geometry")] == [False]


def test_answer_is_found_once_it_is_finished(store, finish):
    _, answer = _say(store, "question")
    store.append_text(answer, "the zebra").result()
    assert store.search("zebra") == []
    finish(store, answer, "the zebra crossed")
    assert _texts(store.search("zebra")) == ["the zebra crossed"]


def test_interrupted_answer_is_found_after_the_next_start(path):
    with Store.open(path) as store:
        _, answer = _say(store, "question")
        store.append_text(answer, "half a zebra").result()
    with Store.open(path) as store:
        assert _texts(store.search("zebra")) == ["half a zebra"]


def test_trash_is_not_searched(store):
    number, _ = _say(store, "secret", title="secret")
    store.trash_conversation(number).result()
    assert store.search("secret") == []
    store.restore_conversation(number).result()
    assert len(store.search("secret")) == 2


def test_text_that_is_no_unicode_is_kept_and_does_not_break_a_search(store):
    _say(store, "odd \ud800 zebra \x00 end")
    (hit,) = store.search("zebra")
    assert hit.message_id is not None
    assert store.message(hit.message_id).text == "odd \ud800 zebra \x00 end"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.text(st.characters(exclude_categories=[]), max_size=12)
    | st.text('"*ab -^:(){}\\', max_size=12)
)
def test_nothing_that_is_typed_is_an_error(store, query):
    if not store.conversations():
        _say(store, "a b ab")
    assert isinstance(store.search(query, typing=True), list)
    if not terms(query):
        assert store.search(query) == []


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.text("abcdeé", min_size=1, max_size=4), min_size=1, max_size=6),
    data=st.data(),
)
def test_every_word_that_was_said_is_found(store, words, data):
    _, answer = _say(store, " ".join(words))
    (user,) = store.roots(store.message(answer).conversation_id)
    hits = store.search(f'"{" ".join(words)}"', limit=10_000)
    assert user.id in {hit.message_id for hit in hits}
    assert user.id in {
        hit.message_id for hit in store.search(data.draw(st.sampled_from(words)), limit=10_000)
    }


def _damage(path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


DAMAGES = (
    "UPDATE message_search_data SET block = X'00' WHERE id > 1",
    "DELETE FROM message_search_data",
    "DROP TABLE message_search_data",
    "DROP TABLE message_search_idx",
)


# The first damage makes an index that holds nothing; that is seen when something is written.
@pytest.mark.parametrize("damage", DAMAGES[1:])
def test_damaged_index_is_made_anew_by_the_search(path, damage):
    with Store.open(path) as store:
        for number in range(50):
            _say(store, f"zebra {number}")
    _damage(path, damage)
    with Store.open(path) as store:
        assert len(store.search("zebra")) == 50


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_index_loses_no_message(path, damage, finish):
    with Store.open(path) as store:
        number, _ = _say(store, "zebra")
    _damage(path, damage)
    with Store.open(path) as store:
        _, _, answer = store.begin_turn(number, "and a lion", model="guide").result()
        finish(store, answer.id, "a tiger")
        assert [m.text for m in store.branch(number)][-2:] == ["and a lion", "a tiger"]
        assert len(store.search("tiger")) == len(store.search("lion")) == 1


def test_index_holds_what_the_messages_hold(store, path, finish):
    for number in range(20):
        _, answer = _say(store, f"word{number} zebra")
        if number % 2:
            finish(store, answer, f"answer{number}")
    connection = sqlite3.connect(path, isolation_level=None)
    for name in SEARCH_TABLES:
        connection.execute(f"INSERT INTO {name} ({name}, rank) VALUES ('integrity-check', 1)")
    connection.close()
