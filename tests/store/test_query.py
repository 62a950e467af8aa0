"""A search is words and filters; what only looks like a filter is a word."""

from __future__ import annotations

from datetime import datetime

import pytest

from lfm2chat.errors import UsageError
from lfm2chat.store import Store
from lfm2chat.store.query import as_query, parse_query


def _day(*parts: int) -> float:
    return datetime(*parts).astimezone().timestamp()  # type: ignore[arg-type]


def _titles(store: Store, query: str) -> list[str]:
    return [hit.title for hit in store.search(query)]


def _say(store: Store, text: str, title: str, *, model: str = "guide") -> int:
    return store.begin_conversation(text, title=title, model=model).result()[0].id


def test_filters_are_taken_out_of_the_words():
    query = parse_query('brown tag:work fox model:350M in:title "a tag:b" is:pinned')
    assert query.words.split() == ["brown", "fox", '"a', 'tag:b"']
    assert (query.tags, query.models) == (("work",), ("350M",))
    assert query.in_title
    assert query.pinned
    assert not query.archived


def test_a_value_with_spaces_stands_in_quotes():
    assert parse_query('tag:"to do" is:archived').tags == ("to do",)


def test_what_only_looks_like_a_filter_is_a_word():
    for text in ("https://example.org", "std::vector", '"in:title"', "retag:x", "12:30"):
        assert parse_query(text).words == text
        assert not parse_query(text).filtered


@pytest.mark.parametrize(
    ("written", "begin"),
    [("2026", (2026, 1, 1)), ("2026-03", (2026, 3, 1)), ("2026-3-", (2026, 3, 1)),
     ("2026-12-31", (2026, 12, 31))],
)  # fmt: skip
def test_a_date_may_be_a_day_a_month_or_a_year(written, begin):
    assert parse_query(f"before:{written}").before_s == _day(*begin)


def test_of_two_dates_the_narrower_holds():
    query = parse_query("after:2024 after:2025 before:2027 before:2026")
    assert (query.after_s, query.before_s) == (_day(2025, 1, 1), _day(2026, 1, 1))


@pytest.mark.parametrize(
    "text",
    ["before:soon", "after:2026-02-30", "after:0000", "is:nice", "in:space", "tag:", "is: x"],
)
def test_a_filter_without_a_meaning_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as refused:
        parse_query(text)
    assert ":" in refused.value.hint


def test_what_a_shell_hands_over_is_put_into_quotes_again():
    assert as_query(["two", "in one", "tag:to do"]) == 'two "in one" tag:"to do"'


def test_tags_are_found_however_they_are_written(store):
    number = _say(store, "brown bread", "Baking")
    _say(store, "brown fox", "Animals")
    store.set_tags(number, ["To Do", "kitchen"]).result()
    assert _titles(store, 'brown tag:"TO  do"') == ["Baking"]
    assert _titles(store, "brown tag:kitchen tag:other") == []


def test_filters_narrow_titles_and_messages(store):
    number = _say(store, "brown bread", "Brown things", model="LFM2-350M")
    _say(store, "brown fox", "Animals")
    assert _titles(store, "brown model:350m") == ["Brown things", "Brown things"]
    assert _titles(store, "brown in:title") == ["Brown things"]
    store.pin_conversation(number).result()
    assert set(_titles(store, "brown is:pinned")) == {"Brown things"}
    store.archive_conversation(number).result()
    assert set(_titles(store, "brown is:archived")) == {"Brown things"}
    assert _titles(store, "brown is:pinned") == []


def test_dates_narrow_what_is_found(store):
    _say(store, "brown bread", "Baking")
    assert _titles(store, "brown after:2020") == ["Baking"]
    assert _titles(store, "brown before:2020") == []


def test_filters_alone_give_conversations_newest_first(store):
    for title in ("one", "two", "three"):
        number = _say(store, "words", title)
        if title != "two":
            store.set_tags(number, ["odd"]).result()
    hits = store.search("tag:odd")
    assert [(hit.title, hit.message_id) for hit in hits] == [("three", None), ("one", None)]


def test_filters_hold_for_writing_without_spaces_too(store):
    number = _say(store, "東京の天気", "weather")
    _say(store, "東京の駅", "stations")
    store.set_tags(number, ["jp"]).result()
    assert _titles(store, "東京 tag:jp") == ["weather"]
