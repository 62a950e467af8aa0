"""Markdown as it is drawn: the same however it is cut, whole at every width, harmless."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.content import Content
from textual.geometry import Offset
from textual.selection import Selection

from lfm2chat.chat.text import safe
from lfm2chat.tui.pace import LONGEST_S, SHARE, SHORTEST_S, Pace
from lfm2chat.tui.widgets.blocks import stacked
from lfm2chat.tui.widgets.document import Document, needs_the_end
from lfm2chat.tui.widgets.lines import Line, extract, rows_of
from lfm2chat.tui.widgets.table import Table

PIECES = [
    "word ", "longer words here ", "**bold** ", "*it* ", "`code` ", "[l](http://x.org) ", "\n",
    "\n\n", "# head\n", "## h2\n\n", "- item\n", "  - nested\n", "1. one\n", "2. two\n",
    "> quote\n", "```python\nx = 1\n", "```\n", "    indented\n", "| a | b |\n|---|:-:|\n",
    "| 1 | 2 |\n", "---\n", "漢字", "é", "\t", "~~s~~ ", "http://example.org ", "<div> ",
    "&amp; ", "&#27;[2J ", "\\* ", "===\n",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def document_of(*pieces):
    document = Document()
    for piece in pieces:
        document.append(piece)
    return document


def drawn(document, width=50):
    """Every row as it stands on the screen."""
    lines = list(stacked([*document.finished, *document.last], width, tight=False))
    return [row.before.plain + row.content.plain for row in rows_of(lines, width, number=0)]


@given(texts, st.data())
@settings(max_examples=300)
def test_however_a_text_is_cut_it_is_drawn_as_the_whole(text, data):
    text = safe(text)
    if needs_the_end(text):
        return
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert drawn(document_of(*pieces)) == drawn(document_of(text))


@given(texts, st.integers(1, 90))
@settings(max_examples=300)
def test_rows_fit_and_nothing_of_a_line_is_lost(text, width):
    document = document_of(safe(text))
    lines = list(stacked([*document.finished, *document.last], width, tight=False))
    rows = list(rows_of(lines, width, number=0))
    for number, line in enumerate(lines):
        own = [row for row in rows if row.number == number]
        joined = "".join(row.content.plain for row in own)
        assert joined.replace(" ", "") == line.content.plain.replace(" ", "")
        # Where even the mark in front of it takes all of the width, a character is left.
        most = max(width, line.first.cell_length + 2)
        assert all(row.before.cell_length + row.content.cell_length <= most for row in own)
        assert all("\x1b" not in row.content.plain for row in own)


@given(st.text(), st.integers(1, 20))
def test_code_of_any_characters_is_folded_without_loss(text, width):
    line = Line(Content("".join(safe(text).split())), code=True)
    rows = rows_of([line], width, number=0)
    assert "".join(row.content.plain for row in rows) == line.content.plain


@pytest.mark.parametrize("width", [12, 20, 40, 100])
def test_a_table_fits_and_its_words_stay(width):
    cells = [["Name", "What it is"], ["alpha", "one two three four five six seven"], ["b", ""]]
    table = Table(tuple(tuple(map(Content, row)) for row in cells), ("left", "right"))
    lines = table.lines(width)
    assert all(line.content.cell_length <= width for line in lines)
    text = " ".join(line.content.plain for line in lines)
    for word in ("Name", "alpha", "one", "two", "three", "four", "five", "six", "seven"):
        assert word in text


def test_what_is_finished_is_not_read_again():
    document = document_of("first\n\nsecond\n\n```python\n")
    finished = list(document.finished)
    assert len(finished) == 2
    document.append("x = 1\n")
    document.append("```\n\nlast")
    assert document.finished[:2] == finished
    assert all(one is other for one, other in zip(document.finished, finished, strict=False))


def test_a_link_is_found_by_its_number_and_no_other_number_is_one():
    document = document_of("[a](http://a.org) and [b](http://b.org/'x) and [a](http://a.org)")
    assert [document.link(number) for number in range(3)] == [
        "http://a.org",
        "http://b.org/'x",
        "",
    ]
    assert document.link(-1) == ""


def test_what_is_selected_is_copied_as_it_was_written():
    lines = ["first line", "", "third"]
    assert extract(lines, Selection(Offset(6, 0), Offset(2, 2))) == "line\n\nth"
    assert extract(lines, Selection(None, None)) == "first line\n\nthird"
    assert extract(lines, Selection(Offset(0, 0), Offset(5, 0))) == "first"
    assert extract([], Selection(None, None)) == ""
    assert extract(lines, Selection(Offset(0, 9), Offset(3, 9))) == ""


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clocks(monkeypatch):
    wall, work = Clock(), Clock()
    monkeypatch.setattr("lfm2chat.tui.pace.time.monotonic", wall)
    monkeypatch.setattr("lfm2chat.tui.pace.time.thread_time", work)
    return wall, work


def frame(pace, clocks, cost):
    wall, work = clocks
    pace.begin()
    wall.now += 3 * cost
    work.now += cost
    pace.end()


def test_frames_that_cost_little_come_at_the_full_rate(clocks):
    pace = Pace()
    frame(pace, clocks, 0.001)
    assert pace.interval_s == SHORTEST_S
    assert not pace.due()
    clocks[0].now += SHORTEST_S
    assert pace.due()


def test_costly_frames_take_their_share_and_no_more(clocks):
    pace = Pace()
    for _ in range(20):
        frame(pace, clocks, 0.012)
    assert pace.interval_s == pytest.approx(0.012 / SHARE)
    frame(pace, clocks, 5.0)
    assert pace.interval_s == LONGEST_S


def test_a_frame_that_never_ends_does_not_end_the_drawing(clocks):
    pace = Pace()
    pace.begin()
    assert not pace.due()
    clocks[0].now += LONGEST_S
    assert pace.due()


ANSWER = (
    "A line that is long enough to be wrapped, once, twice or more often.\n\n- one\n- two\n\n" * 4
)


async def test_an_answer_has_room_while_it_grows_and_none_when_it_ends(app, service, wait):
    async with app.run_test(size=(60, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        turn = max(service.turns)
        view = app.chat.transcript.shown[-1]
        for start in range(0, len(ANSWER), 16):
            service.say(turn, ANSWER[start : start + 16])
            await pilot.pause(0.02)
        await wait(pilot, lambda: view.source == ANSWER)
        await wait(pilot, lambda: view.answer.size.height >= len(view.answer._rows))
        service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        await wait(pilot, lambda: view.answer.size.height == len(view.answer._rows))
        assert "".join(view.answer.text_lines).count("twice") == 4


async def test_another_theme_draws_the_same_rows_in_other_colours(app, service, wait):
    service.store_conversation("x", ["q", "# head\n\nsome `code`"])
    async with app.run_test(size=(60, 24)) as pilot:
        await wait(pilot, lambda: app.chat.transcript.shown)
        answer = app.chat.transcript.shown[-1].answer
        await wait(pilot, lambda: answer.size.height == 3)
        before = [answer.draw(row) for row in range(3)]
        app.theme = "dawn" if app.theme != "dawn" else "dusk"
        await wait(pilot, lambda: [answer.draw(row) for row in range(3)] != before)
        assert [answer.draw(row).text for row in range(3)] == [row.text for row in before]
