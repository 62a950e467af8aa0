"""What was said once is found again: the list's filter, the search, trash and archive."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.store.search import Hit, Piece
from lfm2chat.tui import listing
from lfm2chat.tui.screens.put_away import PutAwayScreen
from lfm2chat.tui.screens.search import SearchScreen
from lfm2chat.tui.screens.tags import TagsScreen, completed
from lfm2chat.tui.widgets.found import by_conversation, preview, snippet, snippet_around

NOON = datetime(2026, 3, 10, 12).astimezone().timestamp()
HOUR = 3600.0
NOW = 1_760_000_000.0
SIZES = [(80, 24), (120, 36)]


def _one(number: int, title: str, *, age_h: float = 0, **values: object) -> Conversation:
    return Conversation(number, title, NOON, NOON - age_h * HOUR, **values)  # type: ignore[arg-type]


def _lines(app) -> list[str]:
    return [str(option.prompt) for option in app.chat.list.options]


def _titles(app) -> list[str]:
    return [line.splitlines()[0].lstrip("▌ ") for line in _lines(app)]


def _said(app) -> list[str]:
    return [notification.message for notification in app._notifications]


# --- without a screen -------------------------------------------------------------------------


def test_groups_are_calendar_days_with_the_pinned_ones_on_top():
    entries = listing.ordered(
        [
            _one(1, "now"), _one(2, "night", age_h=11), _one(3, "yesterday", age_h=13),
            _one(4, "six days", age_h=6 * 24), _one(5, "old", age_h=9 * 24),
            _one(6, "pinned", age_h=5000, pinned_at=1.0), _one(7, "gone", trashed_at=1.0),
            _one(8, "away", archived_at=1.0),
        ]
    )  # fmt: skip
    groups = listing.grouped(entries, now=NOON)
    assert [(group.title, [one.title for one in group.entries]) for group in groups] == [
        ("Pinned", ["pinned"]), ("Today", ["now", "night"]), ("Yesterday", ["yesterday"]),
        ("Last 7 days", ["six days"]), ("Older", ["old"]),
    ]  # fmt: skip


def test_the_filter_wants_all_words_of_title_and_tags_without_case_and_accents():
    entries = [
        _one(1, "Crème brûlée", tags=("Cooking",)), _one(2, "creme for hands"), _one(3, "cooking"),
    ]  # fmt: skip
    found = listing.TitleFilter()
    assert [e.id for e in found.matching(entries, "CREME")] == [1, 2]
    assert [e.id for e in found.matching(entries, "cook crème")] == [1]
    assert [e.id for e in found.matching(entries, "#cook")] == [1]
    assert [e.id for e in found.matching(entries, "")] == [1, 2, 3]
    entries[1] = replace(entries[1], title="lotion")
    assert [e.id for e in found.matching(entries, "creme")] == [1]


def test_tags_in_use_are_known_by_how_often_they_are_used():
    entries = [_one(1, "a", tags=("work", "home")), _one(2, "b", tags=("Home",))]
    assert listing.known_tags(entries) == ["home", "work"]


def test_the_last_tag_is_completed_and_none_is_offered_twice():
    known = ["Work", "home"]
    assert completed("ho", known) == "home"
    assert completed("home, wo", known) == "home, work"
    assert completed("home, ho", known) is None
    assert completed("home", known) is None
    assert completed("home, ", known) is None


def test_a_snippet_is_one_line_and_never_markup():
    pieces = (Piece("[/oops\n", False), Piece("[@click=app.quit]\x1b", True))
    content = snippet(pieces)
    assert content.plain == "[/oops [@click=app.quit]␛"
    assert [span.start for span in content.spans if "bold" in str(span.style)] == [7]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (8, "…bake ei"),
        (21, "…six bake eight nine "),
        (30, "…five six bake eight nine ten "),
        (60, "one two three four five six bake eight nine ten eleven"),
    ],
)
def test_what_was_found_stands_in_the_middle_of_a_snippet_that_is_cut(width, shown):
    pieces = (
        Piece("one two three four five six ", False), Piece("bake", True),
        Piece(" eight nine ten eleven", False),
    )  # fmt: skip
    content = snippet_around(pieces, width)[:width]
    assert content.plain == shown
    at = shown.index("bake")
    marked = [(span.start, span.end) for span in content.spans if "bold" in str(span.style)]
    assert marked == [(at, at + 4)]


def test_a_snippet_that_ends_with_what_was_found_fills_its_row():
    pieces = (Piece("one two three four five six ", False), Piece("bake", True))
    assert snippet_around(pieces, 20).plain == "…four five six bake"
    assert snippet_around(pieces, 40).plain == "one two three four five six bake"
    wide = (Piece("日本" * 9, False), Piece("焼く", True))
    assert snippet_around(wide, 11).plain == "…本日本焼く"


def test_hits_stand_with_their_conversation_in_the_order_of_the_best():
    hits = [Hit(number, "t", number * 10, Role.USER, 0.0, ()) for number in (2, 1, 2)]
    assert [[hit.conversation_id for hit in group] for group in by_conversation(hits)] == [
        [2, 2], [1],
    ]  # fmt: skip


def test_a_preview_begins_a_little_before_what_was_found():
    text = "word " * 400 + "the needle, a needle" + " end" * 10
    content = preview(text, (Piece("needle", True),))
    assert content.plain.startswith("… word")
    assert len(content.plain) < 400
    assert [content.plain[span.start : span.end] for span in content.spans] == ["needle", "needle"]


# --- the list ---------------------------------------------------------------------------------


async def _in_list(app, pilot, wait, key):
    """The conversation ``key`` is open, and the keys go to the list, on its line."""
    await wait(pilot, lambda: app.state.shown == key and app.chat.list.cursor == key)
    app.chat.list.focus()


@pytest.mark.parametrize("size", SIZES)
async def test_typing_in_the_list_filters_titles_then_messages_and_esc_shows_all(
    app, service, wait, size
):
    service.store_conversation("Baking", ["how long does bread bake?", "an hour"])
    service.store_conversation("Bread", ["flour?", "yes"])
    service.store_conversation("Stars", ["how far?", "far"], tags=("breadth",))
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        if size[0] < 100:
            await pilot.press("f5")
        app.chat.list.focus()
        await pilot.press(*"bread")
        assert app.chat.filter.value == "bread"
        await wait(pilot, lambda: "in messages:" in _titles(app))
        assert _titles(app) == ["Stars", "Bread", "in messages:", "Baking"]
        # Of a text that is wider than the list the word that was typed is seen.
        said = "how long does bread bake?" if size[0] > 80 else "…does bread bake?"
        assert _lines(app)[3].splitlines()[1].strip() == said
        await pilot.press("escape")
        await wait(pilot, lambda: len(_titles(app)) == 3)
        assert app.focused is app.chat.list


async def test_what_was_written_in_last_is_open_at_the_start_though_another_is_pinned(
    app, service, wait
):
    service.store_conversation("Pinned", ["a", "b"], pinned_at=NOW)
    last = service.store_conversation("Last", ["a", "b"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        assert app.state.shown == last.id
        assert [one.title for one in app.chat.conversations] == ["Pinned", "Last"]


async def test_enter_in_the_filter_opens_the_first_and_a_hit_opens_at_its_message(
    app, service, wait
):
    texts = [f"line {number}" for number in range(120)]
    texts[20] = "the needle"
    long = service.store_conversation("Hay", texts)
    service.store_conversation("Needles", ["a", "b"])
    other = service.store_conversation("Other", ["a", "b"])
    async with app.run_test(size=(120, 36)) as pilot:
        await _in_list(app, pilot, wait, other.id)
        await pilot.press("slash", *"needle")
        await wait(pilot, lambda: "in messages:" in _titles(app))
        await pilot.press("down", "down", "enter")
        await wait(pilot, lambda: app.state.shown == long.id)
        transcript = app.chat.transcript
        await wait(pilot, lambda: transcript.query(".-found"))
        (found,) = transcript.query(".-found")
        assert found.source == "the needle"
        await wait(pilot, lambda: transcript.region.contains_region(found.region))
        assert len(transcript.shown) < 40
        assert not transcript.following
        # Scrolling down mounts what follows, until the end is there.
        for _ in range(60):
            await pilot.press("pagedown")
            await pilot.pause()
            if transcript.following:
                break
        assert transcript.shown[-1].source == "line 119"


async def test_keys_of_the_list_pin_archive_tag_rename_and_delete(app, service, wait):
    old = service.store_conversation("Old", ["a", "b"])
    new = service.store_conversation("New", ["a", "b"])
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await _in_list(app, pilot, wait, new.id)
        await pilot.press("down", "p")
        await wait(pilot, lambda: _titles(app)[0] == "Pinned")
        assert _titles(app) == ["Pinned", "◆ Old", "Today", "New"]
        assert app.chat.list.cursor == old.id
        await pilot.press("t")
        await wait(pilot, lambda: isinstance(app.screen, TagsScreen))
        await pilot.press(*"work, to do", "enter")
        await wait(pilot, lambda: service.stored[old.id].tags == ("to do", "work"))
        assert "#to do #work" in _lines(app)[1]
        await pilot.press("f2")
        await wait(pilot, lambda: app.screen.query("#ask-input"))
        await pilot.press("end", "!", "enter")
        await wait(pilot, lambda: service.stored[old.id].title == "Old!")
        await pilot.press("a")
        await wait(pilot, lambda: _titles(app) == ["New"])
        assert any("Archived: Old!" in said for said in _said(app))
        await pilot.press("down", "x")
        await wait(pilot, lambda: service.stored[new.id].trashed_at is not None)
        assert app.chat.conversations == []


async def test_deleting_another_one_leaves_the_open_one_open_and_the_draft_too(app, service, wait):
    service.store_conversation("Old", ["a", "b"])
    new = service.store_conversation("New", ["a", "b"])
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown == new.id)
        await pilot.press(*"draft")
        await _in_list(app, pilot, wait, new.id)
        await pilot.press("down", "delete")
        await wait(pilot, lambda: _titles(app) == ["New"])
        assert app.state.shown == new.id
        assert app.chat.prompt.draft.text == "draft"


async def test_o_opens_it_in_a_pane_of_its_own(app, service, wait):
    old = service.store_conversation("Old", ["a", "b"])
    new = service.store_conversation("New", ["a", "b"])
    async with app.run_test(size=(120, 36)) as pilot:
        await _in_list(app, pilot, wait, new.id)
        await pilot.press("down", "o")
        await wait(pilot, lambda: app.state.panes == [new.id, old.id])


async def test_a_right_click_shows_what_can_be_done(app, service, wait):
    only = service.store_conversation("Only", ["a", "b"])
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await pilot.click("#list", offset=(4, 0), button=3)
        await wait(pilot, lambda: app.screen.query("#menu-list"))
        await pilot.press("down", "enter")
        await wait(pilot, lambda: service.stored[only.id].pinned_at is not None)


async def test_a_long_list_is_made_bit_by_bit(app, service, wait):
    for number in range(600):
        service.store_conversation(f"conversation {number}", [])
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        assert len(app.chat.list.conversations) == 600
        made = app.chat.list.option_count
        assert made < 200
        app.chat.list.focus()
        await pilot.press("end")
        await wait(pilot, lambda: app.chat.list.option_count > made)
        await pilot.press(*"w", "escape", *"/ation 7")
        await wait(pilot, lambda: app.chat.list.highlighted == 0)
        assert all("7" in title for title in _titles(app))


# --- search -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "beside"), [((80, 24), False), ((120, 36), True)])
async def test_search_shows_places_by_conversation_and_opens_one(app, service, wait, size, beside):
    one = service.store_conversation("Bread", ["how long does bread bake?", "bread: an hour [/b]"])
    service.store_conversation("Stars", ["how far?", "far"])
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press("ctrl+s", *"bread")
        options = app.screen.query_one("#search-list")
        await wait(pilot, lambda: app.screen._asked == "bread" and options.option_count == 3)
        lines = [str(option.prompt).strip() for option in options.options]
        assert lines[0] == "Bread"
        assert lines[1].startswith("you · ")
        assert lines[2].endswith("bread: an hour [/b]")
        await pilot.press("down", "down")
        if beside:
            message = app.screen.query_one("#search-message")
            await wait(pilot, lambda: "an hour [/b]" in str(message.render()))
        assert app.screen.query_one("#search-preview").display is beside
        await pilot.press("enter")
        await wait(pilot, lambda: app.state.shown == one.id)
        await wait(pilot, lambda: app.chat.transcript.query(".-found"))
        assert app.focused is app.chat.prompt.area
        # The next search begins with the words of the last.
        await pilot.press("ctrl+s")
        await wait(pilot, lambda: isinstance(app.screen, SearchScreen))
        assert app.screen.query_one("#search-input").value == "bread"


async def test_beside_a_title_stands_how_its_conversation_begins(app, service, wait):
    said = [f"message {number} [/b]" for number in range(9)]
    said[1] = f"<think>a thought</think>{said[1]}"
    service.store_conversation("Bread", said)
    async with app.run_test(size=(200, 50)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press("ctrl+s", *"bread")
        shown = app.screen.query_one("#search-message")
        await wait(pilot, lambda: "message 0" in str(shown.render()))
        told = str(shown.render())
        assert told.startswith("you\nmessage 0 [/b]\n\nanswer\nmessage 1 [/b]\n\nyou\n")
        assert "message 5" in told
        assert "message 6" not in told


async def test_a_place_in_another_branch_is_shown_in_that_branch(app, service, wait):
    one = service.store_conversation("Forked", ["question", "first answer"])
    user, answer = service.branches[one.id]
    other = Message(99, one.id, user.id, Role.ASSISTANT, "second wording", MessageStatus.DONE, NOW)
    service.aside[one.id] = [user, other]
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == one.id)
        await pilot.press("ctrl+s", *"wording")
        options = app.screen.query_one("#search-list")
        # Enter before all of it was looked for looks for it; then it opens.
        await wait(pilot, lambda: app.screen._asked == "wording" and options.option_count == 2)
        await pilot.press("enter")
        await wait(pilot, lambda: app.chat.transcript.query(".-found"))
        assert ("select", one.id, 99) in service.calls
        assert [view.source for view in app.chat.transcript.shown] == ["question", "second wording"]
        assert answer.text == "first answer"


async def test_a_filter_that_means_nothing_is_said_and_what_was_found_stays(app, service, wait):
    service.store_conversation("Bread", ["bread", "b"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press("ctrl+s", *"bread")
        options = app.screen.query_one("#search-list")
        await wait(pilot, lambda: options.option_count == 2)
        await pilot.press(*" is:odd")
        note = app.screen.query_one("#search-note")
        await wait(pilot, lambda: "is:odd is no filter" in str(note.render()))
        assert options.option_count == 2
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)


async def test_typing_goes_on_while_the_store_is_asked(app, service, wait):
    service.store_conversation("Bread", ["bread", "b"])
    service.cabinet.gate.clear()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press("ctrl+s", *"br")
        await wait(pilot, lambda: any(call[0] == "search" for call in service.calls))
        await pilot.press(*"ead")
        assert app.screen.query_one("#search-input").value == "bread"
        service.cabinet.gate.set()
        await wait(pilot, lambda: app.screen.query_one("#search-list").option_count == 2)


# --- trash and archive ------------------------------------------------------------------------


async def _put_away(app, pilot, wait):
    app.chat.action_put_away()
    await wait(pilot, lambda: isinstance(app.screen, PutAwayScreen) and app.screen.is_mounted)
    await wait(pilot, lambda: "looking" not in str(app.screen._note.render()))


@pytest.mark.parametrize("size", SIZES)
async def test_the_trash_is_shown_restored_and_emptied(app, service, wait, size):
    service.store_conversation("Kept", ["a", "b"])
    first = service.store_conversation("[/first", ["a", "b"], trashed_at=NOW)
    second = service.store_conversation("second", ["a", "b"], trashed_at=NOW + 1)
    third = service.store_conversation("third", ["a", "b"], trashed_at=NOW - 1)
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await _put_away(app, pilot, wait)
        screen = app.screen
        assert [one.title for one in screen.entries] == ["second", "[/first", "third"]
        await pilot.press("enter")
        await wait(pilot, lambda: service.stored[second.id].trashed_at is None)
        await wait(pilot, lambda: len(screen.entries) == 2)
        # Only a yes deletes; the question says what.
        await pilot.press("x")
        await wait(pilot, lambda: app.screen is not screen)
        assert "[/first" in " ".join(str(w.render()) for w in app.screen.query("ForeignText"))
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is screen)
        assert first.id in service.stored
        await pilot.press("e")
        await wait(pilot, lambda: app.screen is not screen)
        assert "2 conversations" in " ".join(
            str(w.render()) for w in app.screen.query("ForeignText")
        )
        await pilot.press("enter")
        await wait(pilot, lambda: app.screen is screen and not screen.entries)
        assert not {first.id, third.id} & set(service.stored)


async def test_the_archive_opens_brings_back_and_deletes(app, service, wait):
    service.store_conversation("Kept", ["a", "b"])
    away = service.store_conversation("Away", ["a", "b"], archived_at=NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        assert [one.title for one in app.chat.conversations] == ["Kept"]
        await _put_away(app, pilot, wait)
        await pilot.press("right", "enter")
        await wait(pilot, lambda: app.state.shown == away.id)
        await _put_away(app, pilot, wait)
        await pilot.press("right", "x")
        await wait(pilot, lambda: app.screen.query(".confirm-line"))
        await pilot.press("enter")
        await wait(pilot, lambda: away.id not in service.stored)
        await pilot.press("escape")
        # What was deleted for ever is open no longer.
        await wait(pilot, lambda: app.state.shown < 0)


async def test_what_is_brought_back_from_the_archive_is_in_the_list(app, service, wait):
    service.store_conversation("Away", ["a", "b"], archived_at=NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await _put_away(app, pilot, wait)
        await pilot.press("tab", "r")
        await wait(pilot, lambda: [one.title for one in app.chat.conversations] == ["Away"])
