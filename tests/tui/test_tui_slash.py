"""Slash commands, without a screen: which there are, what a line means, what it may become."""

import pytest

from lfm2chat.errors import UsageError
from lfm2chat.tui.keys import COMMANDS, Command
from lfm2chat.tui.slash import (
    SLASH_COMMANDS,
    Call,
    answers_wanted,
    as_typed,
    matching,
    parse,
    slash_commands,
    typed_name,
)


def names():
    return [one.name for one in SLASH_COMMANDS]


def test_every_command_of_the_app_has_a_name_and_no_name_means_two_things():
    called = {one.command for one in SLASH_COMMANDS}
    assert called == {one.id for one in COMMANDS if one.scope == "app" and one.slash is not None}
    every = [
        name
        for one in COMMANDS
        if one.scope == "app" and one.slash is not None
        for name in (one.slash or one.id.replace("_", "-"), *one.aliases)
    ]
    assert len(every) == len(set(every))
    assert names() == sorted(names())


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/new", Call("new")),
        ("/NEW  ", Call("new")),
        ("/model LFM2-350M", Call("models", "LFM2-350M")),
        ("/title two words", Call("rename", "two words")),
        ("/next_pane", Call("next_pane")),
        ("/temperature 0.2", Call("sampling", "temperature 0.2")),
        ("/top-p", Call("sampling")),
        ("/attach a b.txt", Call("attach", "a b.txt")),
        ("/rename one\ntwo", Call("rename", "one\ntwo")),
    ],
)
def test_a_line_that_begins_with_a_slash_is_a_command(text, call):
    assert parse(text) == call


@pytest.mark.parametrize("text", ["hello", " /new", "a /new", "", "\n/new"])
def test_anything_else_is_a_message(text):
    assert parse(text) == text


@pytest.mark.parametrize(("text", "count"), [("/regenerate", 1), ("/regenerate  3", 3)])
def test_a_number_after_regenerate_is_how_many_answers_are_wanted(text, count):
    assert answers_wanted(parse(text).argument) == count


@pytest.mark.parametrize("argument", ["three", "3.5", "\x1b[2J", "9" * 5000])
def test_what_is_no_number_of_answers_is_refused_with_an_example(argument):
    with pytest.raises(UsageError, match="is no number") as caught:
        answers_wanted(argument)
    assert "/regenerate 3" in caught.value.hint
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("message", ["/etc/hosts is what?", "//", "/new", "plain"])
def test_a_message_with_a_slash_in_front_is_sent_with_one_more(message):
    assert parse(as_typed(message)) == message


@pytest.mark.parametrize("text", ["/nwe", "/", "/etc/hosts", "/\x1b[2J"])
def test_an_unknown_word_is_refused_with_the_way_to_send_it(text):
    with pytest.raises(UsageError, match="there is no command") as caught:
        parse(text)
    assert "//" in caught.value.hint


def test_a_word_that_is_nearly_one_is_guessed():
    with pytest.raises(UsageError, match="did you mean /split"):
        parse("/spilt")


def test_a_command_that_takes_nothing_refuses_what_follows_it():
    with pytest.raises(UsageError, match="/new takes nothing after it"):
        parse("/new thing")


def test_a_command_that_needs_something_says_what():
    known = slash_commands([Command("export", (), "Export", "Save it.", argument="path")])
    with pytest.raises(UsageError, match="/export needs more: /export path"):
        parse("/export", known)
    assert parse("/export a.md", known) == Call("export", "a.md")


def test_a_command_without_a_slash_name_has_none():
    assert slash_commands([Command("x", (), "X", "X.", slash=None)]) == slash_commands([])


def test_what_begins_so_comes_before_what_holds_it():
    found = [one.name for one in matching("pa")]
    assert found[0] == "palette"
    assert {"close-pane", "next-pane"} <= set(found[1:])
    assert [one.name for one in matching("")] == names()
    assert matching("zzz") == ()


@pytest.mark.parametrize(
    ("line", "column", "name"),
    [
        ("/", 1, ""),
        ("/ne", 3, "ne"),
        ("/ne", 2, "n"),
        ("/ne", 0, None),
        ("/new x", 6, None),
        ("//", 2, None),
        ("x/", 2, None),
        ("", 0, None),
    ],
)
def test_a_name_is_typed_only_in_the_first_word(line, column, name):
    assert typed_name(line, column) == name
