"""What is looked for in a conversation is what is seen of it, whether it is mounted or not."""

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2chat.chat.text import safe
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.tui.matching import find, pattern_of, place_of
from lfm2chat.tui.widgets.blocks import stacked
from lfm2chat.tui.widgets.document import Document
from lfm2chat.tui.widgets.hits import CURRENT, FOUND, Hits
from lfm2chat.tui.widgets.lines import rows_of
from lfm2chat.tui.widgets.seen import SeenMessages, seen_of

PIECES = [
    "word ", "bold word", "**bold** ", "*it* ", "`code` ", "[link](http://x.org) ", "\n", "\n\n",
    "# head\n", "- item\n", "  1. nested\n", "> quote\n", "```python\nx = 1\n", "```\n",
    "| a | bold word |\n|---|:-:|\n", "| word | 2 |\n", "---\n", "漢字", "\t", "~~s~~ ", "&amp; ",
    "\x1b[2J", "\\* ", "[r][1] ", "\n[1]: http://y.org\n", "<think>", "</think>",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
queries = st.sampled_from(["word", "bold word", "*", "**", "o", "1", "item", "-", "─", "a", "漢"])


def message(text, role=Role.ASSISTANT, number=1):
    return Message(number, 1, None, role, text, MessageStatus.DONE, 0.0)


def count(text, query, width=60, role=Role.ASSISTANT):
    seen = seen_of(message(text, role), width)
    return len(find([f"{seen.thought}\n{seen.text}"], pattern_of(query)))


@given(texts.filter(lambda text: "think" not in text), queries, st.integers(4, 90))
@settings(max_examples=300)
def test_as_many_hits_are_counted_as_are_marked_in_the_rows_in_their_order(text, query, width):
    document = Document.whole(safe(text))
    drawn = list(stacked([*document.finished, *document.last], width, tight=False))
    lines, rows = [line.content.plain for line in drawn], list(rows_of(drawn, width, number=0))
    pattern, counted = pattern_of(query), count(text, query, width)
    places = [place_of(lines, pattern, number) for number in range(counted)]
    assert places == sorted(set(places))
    for place in places:
        here = [s for row in rows for s in Hits(pattern, place).on(row).content.spans]
        styles = [span.style for span in here if span.style in (FOUND, CURRENT)]
        assert CURRENT in styles
    # Each letter of a hit is marked once, on whatever row; a blank at the edge may not be drawn.
    marked = sum(
        len(row.content.plain[span.start : span.end].replace(" ", ""))
        for row in map(Hits(pattern).on, rows)
        for span in row.content.spans
        if span.style == FOUND
    )
    assert marked == counted * len(query.replace(" ", ""))


@pytest.mark.parametrize(
    ("text", "query", "hits"),
    [
        ("a **bold** word", "bold word", 1),
        ("a **bold** word", "**", 0),
        ("[here](http://needle.org)", "needle", 0),
        ("- one\n- two", "- ", 0),
        ("- one\n- two", "•", 0),
        ("> quoted", "▌", 0),
        ("tom &amp; jerry", "tom & jerry", 1),
        ("[r][1]\n\n[1]: http://needle.org", "needle", 0),
        ("```\n**\n```", "**", 1),
        ("<think>**a** thought</think>\n\nthe *thought*", "thought", 2),
        ("<think>**a** thought</think>\n\nthe *thought*", "**", 2),
        ("<think>a thought</think>\n\nyes", "think", 0),
    ],
)
def test_what_is_seen_of_an_answer_is_found_and_its_markdown_is_not(text, query, hits):
    assert count(text, query) == hits


def test_what_was_written_is_found_as_it_was_typed():
    assert count("a **bold** word", "**", role=Role.USER) == 2
    assert count("a **bold** word", "bold word", role=Role.USER) == 0


def test_a_hit_that_a_line_is_broken_at_counts_once():
    assert [count("a needle here", "needle here", width) for width in (4, 9, 60)] == [1, 1, 1]


async def test_a_message_is_read_once_for_a_width_also_when_its_search_was_cancelled(monkeypatch):
    read, begun, loop = [], asyncio.Event(), asyncio.get_running_loop()

    def noting(one, width):
        read.append((one.id, width))
        loop.call_soon_threadsafe(begun.set)
        return seen_of(one, width)

    monkeypatch.setattr("lfm2chat.tui.widgets.seen.seen_of", noting)
    messages = [message(f"**text** {number}", number=number) for number in range(400)]
    known = SeenMessages()
    search = asyncio.create_task(known.of(messages, 60))
    await begun.wait()
    search.cancel()
    seen = await known.of(messages, 60)
    assert [one.text for one in seen] == [f"text {number}" for number in range(400)]
    assert await known.of(messages, 60) == seen
    assert read == [(number, 60) for number in range(400)]
    await known.of(messages[:3], 61)
    assert read[400:] == [(number, 61) for number in range(3)]


def marks(view):
    """How many letters are marked in all rows of a view's parts."""
    rows = [part.row(y) for part in view._drawn_parts for y in range(part.height)]
    spans = [span for row in rows if row is not None for span in row.content.spans]
    return sum(span.end - span.start for span in spans if span.style in (FOUND, CURRENT))


# What is defined below more lines than are read at once: `[needle]` is no part of what is seen.
LONG = "[there][needle]\n\n" + "line\n\n" * 60 + "[needle]: http://x.org\n"
MIXED = [
    "a **needle** and `needle`", "A **nee**dle, [needle](http://needle.org)\n\n- **needle**\n",
    "needle\n" * 3, "| needle | b |\n|---|---|\n| needle needle needle | " + "c " * 60 + "|\n",
    "x" * 50_000 + " needle", "> needle " + "word " * 40 + "**needle** needle",
    "needle " * 6_000, "<think>**needle**\n</think>\n\n" + LONG,
]  # fmt: skip


@pytest.mark.parametrize("width", [120, 50])
async def test_the_number_in_the_bar_is_that_of_the_hits_marked_in_all_views(
    app, service, wait, width
):
    service.store_conversation("x", MIXED)
    async with app.run_test(size=(width, 30)) as pilot:
        transcript = app.chat.transcript
        await wait(pilot, lambda: transcript.shown and app.state.model.phase == "ready")
        await pilot.press("ctrl+f", *"needle")
        bar = app.screen.query_one("#find-count")
        await wait(pilot, lambda: "/" in str(bar.render()))
        await pilot.pause(0.3)
        told = int(str(bar.render()).split()[0].partition("/")[2])
        by_message = []
        for index in range(len(MIXED)):
            view = await transcript.bring(index)
            if getattr(view, "thought", None) is not None:
                view.thought.unfold_for_hit()
            await pilot.pause(0.1)
            by_message.append(marks(view) / len("needle"))
        assert sum(by_message) == told, by_message


@pytest.fixture
def held(monkeypatch):
    """Messages are read when the second event is set; the first is set when one is to be read."""
    asked, may = threading.Event(), threading.Event()

    def waiting(one, width):
        asked.set()
        may.wait(60)
        return seen_of(one, width)

    monkeypatch.setattr("lfm2chat.tui.widgets.seen.seen_of", waiting)
    yield asked, may
    may.set()


async def test_a_bar_that_is_closed_while_messages_are_read_marks_nothing(app, service, wait, held):
    asked, may = held
    service.store_conversation("x", ["needle", "a needle"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.press("ctrl+f", "n")
        await wait(pilot, asked.is_set)
        await pilot.press("escape")
        may.set()
        await pilot.pause(0.2)
        assert [marks(view) for view in app.chat.transcript.shown] == [0, 0]


async def test_a_conversation_that_is_opened_while_another_is_read_is_the_one_searched(
    app, service, wait, held
):
    asked, may = held
    service.store_conversation("other", ["needle", "**need**le", "needle", "needle"])
    service.store_conversation("x", ["needle", "a needle"])
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.press("ctrl+f", *"needle")
        await wait(pilot, asked.is_set)
        await pilot.press("ctrl+down")
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 4)
        may.set()
        bar = app.screen.query_one("#find-count")
        await wait(pilot, lambda: "/4" in str(bar.render()))


async def test_an_answer_that_is_being_written_is_searched_as_far_as_it_is_drawn(
    app, service, wait
):
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press(*"hi", "enter")
        await wait(pilot, lambda: app.state.live)
        service.say(max(service.turns), "<think>nee</think>\n\nthe **nee**dle, a needle ")
        transcript = app.chat.transcript
        await wait(pilot, lambda: "a needle" in transcript.shown[-1].source)
        await pilot.press("ctrl+f", *"nee")
        bar = app.screen.query_one("#find-count")
        await wait(pilot, lambda: "/3" in str(bar.render()))
        await pilot.press(*"dle")
        await wait(pilot, lambda: "/2" in str(bar.render()))
        await wait(pilot, lambda: marks(transcript.shown[-1]) == 2 * len("needle"))
