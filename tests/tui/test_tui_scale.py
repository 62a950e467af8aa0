"""Long answers, nasty texts, storms of sizes: a frame costs the same, and nothing ends the app."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.chat.text import safe
from lfm2chat.spec import FinishReason
from lfm2chat.tui.widgets import document as documents
from lfm2chat.tui.widgets.blocks import stacked
from lfm2chat.tui.widgets.document import (
    END_DRAWN,
    LONGEST_DRAWN,
    MOST_CHARACTERS,
    MOST_CODE_LINES,
    MOST_LINES,
    MOST_LINES_DRAWN,
    Document,
    needs_the_end,
)
from lfm2chat.tui.widgets.lines import rows_of

NASTY = [
    *"[]()*_`|#<>&=~!\\{}$+- \t\n\x1b\x07\x9b\x00é漢a",
    "\n\n", "```\n", "```python\n", "~~~\n", "> ", "- ", "1. ", "    ", "|-|\n", "| a | b |\n",
    "![", "](", "[x]: http://x\n", "<div>", "</think>", "<|im_end|>", "[/oops]",
    "[@click=app.quit]", "[b]", "\u202e", "\u2066", "\u200b", "\u200d", "\ufe0f",
    "👩\u200d👩\u200d👧", "\U000e0041",
    "e\u0301", "\ud800", "\u2028", "&#27;", "&#x9b;", "http://e.org ", "\x1b]0;t\x07", "\x1b[2J",
]  # fmt: skip


def drawn(document, width=50):
    lines = list(stacked([*document.finished, *document.last], width, tight=False))
    return [row.before.plain + row.content.plain for row in rows_of(lines, width, number=0)]


def document_of(*pieces):
    document = Document()
    for piece in pieces:
        document.append(piece)
    return document


def nasty_texts(seed, count):
    drawn = random.Random(seed)
    return ["".join(drawn.choices(NASTY, k=drawn.randint(1, 80))) for _ in range(count)]


def answers(app):
    return [view for view in app.chat.transcript.shown if view.has_class("-assistant")]


# --- long answers ---------------------------------------------------------------------------------

LONG = {
    "list": "- an item of a list\n" * 1_000,
    "numbers": "".join(f"{number}. item\n" for number in range(1, 1_001)),
    "code": "```python\n" + "x = 1  # one\n" * 2_000 + "```\n\nafter it\n",
    "paragraph": "a line of it\n" * 1_000,
    "table": "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 1_000,
    "quotation": "> a line\n" * 1_000,
    "a line": "word " * 20_000 + "\n\nafter it\n",
    "mixed": "# Head\n\ntext\n\n- one\n- two\n\n```\ncode\n```\n\n" * 200,
}


@pytest.mark.parametrize("name", LONG)
def test_what_is_parsed_with_a_piece_does_not_grow_with_the_answer(name, monkeypatch):
    text = LONG[name]
    document = Document()
    parsed = []
    parse = document._parser.parse
    monkeypatch.setattr(
        document._parser, "parse", lambda *given: parsed.append(len(given[0])) or parse(*given)
    )
    step = len(text) // 60
    for start in range(0, len(text), step):
        before = len(parsed)
        document.append(text[start : start + step])
        windows = 2 + step // min(MOST_CHARACTERS, MOST_LINES)
        assert sum(parsed[before:]) <= windows * (MOST_CHARACTERS + 100)
    assert document.source == text
    assert max(parsed) <= MOST_CHARACTERS + 100
    longest = sum(len(block.lines(50)) for block in document.last)
    assert longest <= MOST_CODE_LINES + 2


@pytest.mark.parametrize("name", LONG)
def test_a_block_that_is_cut_is_drawn_the_same_however_it_came(name):
    text = LONG[name]
    step = len(text) // 97 + 1
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    whole = drawn(document_of(text))
    assert drawn(document_of(*pieces)) == whole
    for word in ("item", "line", "x = 1", "text"):
        if text.count(word) >= 1_000:
            assert sum(row.count(word) for row in whole) == text.count(word)
    if name == "table":
        assert sum(row == "1  2" for row in whole) == 1_000
    # One block: no empty line is where it was cut.
    if name in ("list", "numbers", "paragraph", "quotation", "table"):
        assert "" not in whole


def test_a_list_that_is_cut_goes_on_with_its_numbers():
    rows = drawn(document_of(LONG["numbers"]))
    assert [row.split(".")[0].strip() for row in rows] == [str(n) for n in range(1, 1_001)]


def test_code_that_is_cut_ends_at_its_own_fence():
    text = "````python\n" + "```\nx\n" * 500 + "````\n# head\n"
    rows = drawn(document_of(text))
    assert sum("```" in row for row in rows) == 500
    assert rows[-2:] == ["", "head"]


def test_beyond_what_is_drawn_stands_how_much_more_there_is_and_the_end():
    for text in ("x" * (2 * LONGEST_DRAWN) + "END", "x\n\n" * MOST_LINES_DRAWN + "END"):
        document = document_of(text)
        assert document.source == text
        rows = drawn(document)
        assert any("not shown here; the message is whole" in row for row in rows)
        assert rows[-1].endswith("END")
        half = len(text) // 2
        assert drawn(document_of(text[:half], text[half:-END_DRAWN], text[-END_DRAWN:])) == rows


def test_what_is_no_markdown_for_a_screen_ends_with_an_empty_line():
    deep = "> " * 40 + "deep"
    rows = drawn(document_of(f"**before**\n\n{deep}\n\n**after**"), width=200)
    assert rows == ["before", "", deep, "", "after"]


def test_what_stands_before_the_lines_of_nested_quotations_is_put_together_once():
    document = document_of("> " * 8 + "a line\n" + ("> " * 8 + "a line\n") * 3_000)
    lines = list(stacked(document.finished, 80, tight=False))
    assert len(lines) > 2_900
    assert {line.first.plain for line in lines} == {"▌ " * 8}
    assert len({id(line.first) for line in lines}) < len(lines) / 20
    styled = [span for span in lines[5].content.spans if span.style == "$muted"]
    assert len(styled) == 1


def test_references_below_a_window_are_found():
    text = "see [it]\n\n" + "a line\n\n" * 400 + "[it]: http://example.org\n"
    document = Document.whole(text)
    assert drawn(document)[0] == "see it"
    assert document.link(0) == "http://example.org"


@given(
    st.lists(st.sampled_from([*NASTY, "- x\n" * 30, "a\n" * 40, "`" * 50]), max_size=60), st.data()
)
def test_with_windows_as_small_as_can_be_nothing_is_lost(parts, data):
    text = safe("".join(parts))
    if needs_the_end(text):
        return
    cut = data.draw(st.integers(0, len(text)))
    sizes = {"MOST_LINES": 4, "MOST_CODE_LINES": 6, "MOST_CHARACTERS": 60, "LONGEST_LINE": 20}
    before = {name: getattr(documents, name) for name in sizes}
    try:
        for name, value in sizes.items():
            setattr(documents, name, value)
        pieces = document_of(text[:cut], text[cut:])
        assert pieces.source == text
        assert drawn(pieces) == drawn(document_of(text))
    finally:
        for name, value in before.items():
            setattr(documents, name, value)


# --- nasty texts in the app -----------------------------------------------------------------------


async def stream(app, service, pilot, wait, *, text, end):
    """Stream ``text`` and end it in the way ``end``; what is stored."""
    await pilot.press("x", "enter")
    await wait(pilot, lambda: app.state.live)
    turn = max(service.turns)
    third = len(text) // 3 + 1
    for start in range(0, len(text), third):
        service.say(turn, text[start : start + third])
        await pilot.pause(0.03)
    here = app.state.shown
    if end == "away":
        other = service.store_conversation("other", ["a", "b"])
        app.chat.open_conversation(other.id)
        await wait(pilot, lambda: app.state.shown == other.id)
        service.say(turn, "unseen")
        app.chat.open_conversation(here)
        await wait(pilot, lambda: app.state.shown == here)
    if end == "error":
        stored = service.texts[turn]
        service.fail(turn, "it broke")
    else:
        reason = FinishReason.CANCELLED if end == "stop" else FinishReason.STOP
        stored = service.finish(turn, reason).text
    await wait(pilot, lambda: not app.state.live)
    return stored


async def nasty_answers_are_drawn(app, service, wait, texts):
    ends = ("finish", "stop", "error", "away")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for number, text in enumerate(texts[: max(8, len(texts) // 10)]):
            stored = await stream(app, service, pilot, wait, text=text, end=ends[number % 4])
            await wait(pilot, lambda: answers(app) and answers(app)[-1].source == safe(stored))  # noqa: B023
        for start in range(0, len(texts), 20):
            chosen = texts[start : start + 20]
            both = [text for text in chosen for _ in range(2)]
            conversation = service.store_conversation("r", both)
            app.chat.open_conversation(conversation.id)
            await wait(pilot, lambda: app.state.shown == conversation.id)  # noqa: B023
            views = {view.message.id: view for view in answers(app)}
            while len(views) < len(chosen) and app.chat.transcript.scroll_y > 0:
                app.chat.transcript.page_up()
                await pilot.pause(0.02)
                views |= {view.message.id: view for view in answers(app)}
            await wait(
                pilot,
                lambda: all(view.source == safe(view.message.text) for view in answers(app)),
            )
        assert app.is_running


async def test_nasty_answers_end_nothing_and_are_what_is_stored(app, service, wait):
    await nasty_answers_are_drawn(app, service, wait, nasty_texts(11, 120))


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_ten_thousand_nasty_answers_end_nothing(app, service, wait):
    await nasty_answers_are_drawn(app, service, wait, nasty_texts(12, 10_000))


@pytest.mark.parametrize("end", ["finish", "stop", "error", "away"])
async def test_however_a_stream_ends_the_answer_is_what_is_stored(app, service, wait, end):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for text in ("# head\n\n- a\n- b", LONG["list"], "see [it]\n\n[it]: http://x"):
            stored = await stream(app, service, pilot, wait, text=text, end=end)
            await wait(pilot, lambda: answers(app) and answers(app)[-1].source == safe(stored))  # noqa: B023


async def test_opening_over_one_that_is_being_opened_ends_on_the_last(app, service, wait):
    chosen = [service.store_conversation(f"c{n}", [f"{n} " + LONG["mixed"]] * 20) for n in range(5)]
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        for conversation in chosen * 3:
            app.chat.open_conversation(conversation.id)
            await pilot.pause(0.01)
        last = service.branches[chosen[-1].id]
        await wait(pilot, lambda: app.chat.transcript.messages == list(last))
        await wait(pilot, lambda: answers(app) and answers(app)[-1].source.startswith("4 "))
        for view in app.chat.transcript.shown:
            assert view.source.startswith("4 ")
        # It still opens what is asked for.
        app.chat.open_conversation(chosen[0].id)
        await wait(pilot, lambda: answers(app) and answers(app)[-1].source.startswith("0 "))


async def test_what_would_be_mounted_in_a_pane_that_is_closed_is_not(app, service, wait):
    service.store_conversation("long", ["a message\n\n" * 5] * 60)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.chat.transcript.shown)
        transcript = app.chat.transcript
        removed = app.chat.panes.remove()
        for index in (0, 30, 60):
            await transcript._go_to(index)
            await transcript._step(earlier=True)
            await transcript._step(earlier=False)
        await removed
        await transcript._go_to(30)
        await transcript._look()
        await transcript.show([])
        assert not transcript.children


async def test_quitting_while_an_answer_streams_ends_well(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        service.say(max(service.turns), LONG["mixed"])
        await pilot.press("ctrl+q")
        await wait(pilot, lambda: service.closed)
    assert app.return_code == 0


# --- sizes ----------------------------------------------------------------------------------------


async def storm_of_sizes(app, service, wait, count):
    drawn = random.Random(5)
    sizes = [(0, 0), (1, 1), (500, 200), (0, 30), (80, 0)]
    sizes += [(drawn.randint(0, 500), drawn.randint(0, 200)) for _ in range(count - len(sizes))]
    service.store_conversation("long", [LONG["mixed"][:2000]] * 12)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.chat.transcript.shown)
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        turn = max(service.turns)
        for number, size in enumerate(sizes):
            await pilot.resize_terminal(*size)
            service.say(turn, f"## part {number}\n\nand *more*\n")
        await pilot.resize_terminal(80, 24)
        message = service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        await wait(pilot, lambda: app.chat.transcript.shown)
        await wait(pilot, lambda: [one.source for one in answers(app)][-1:] == [safe(message.text)])
        assert app.is_running


async def test_a_storm_of_sizes_while_an_answer_streams_ends_nothing(app, service, wait):
    await storm_of_sizes(app, service, wait, 20)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_long_storm_of_sizes_ends_nothing(app, service, wait):
    await storm_of_sizes(app, service, wait, 1_000)
