"""What fills the context, the line above which nothing is seen, the policy."""

from dataclasses import replace

import pytest
from textual.content import Content

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.shares import ContextMap, Share
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.runtime.events import SummaryMade, SummaryProgress, TurnFinished
from lfm2chat.settings import read_settings
from lfm2chat.tui.context import Kind, bar, parts, totals
from lfm2chat.tui.widgets.phrases import rows_of

FOUND = ContextMap(
    system_tokens=10,
    shares=(
        Share(Role.USER, 100, (), seen=False),
        Share(Role.ASSISTANT, 200, (), seen=False),
        Share(Role.USER, 30, (400,), seen=True),
        Share(Role.ASSISTANT, 50, (), seen=True),
        Share(Role.USER, 7, (), seen=True),
    ),
    template_tokens=23,
    prompt_tokens=520,
    reserved=100,
    limit=1000,
    left_out=2,
    fits=True,
)


def message(number, role, text, *files):
    return Message(
        number, 1, number - 1 or None, role, text, MessageStatus.DONE, 0.0, attachments=files
    )


BRANCH = [
    message(1, Role.USER, "old"),
    message(2, Role.ASSISTANT, "old answer"),
    message(3, Role.USER, "new", Attachment("notes.md", "text/markdown", "x")),
    message(4, Role.ASSISTANT, "new answer"),
]


def test_what_is_seen_is_kept_and_is_free_make_up_the_limit():
    rows = parts(FOUND, BRANCH)
    assert sum(totals(rows).values()) == FOUND.limit
    assert totals(rows)[Kind.FILE] == 400
    assert [row.text for row in rows if row.kind is Kind.FILE] == ["notes.md"]
    assert rows[-4].text == "what is typed"
    assert [row.seen for row in rows if row.kind is Kind.QUESTION] == [False, True, True]


@pytest.mark.parametrize("width", [2, 9, 10, 24, 25, 200])
def test_no_entry_of_the_legend_is_broken_and_no_row_is_too_wide(width):
    entries = ["free 380", "kept for the answer 512", "日本 7"]
    rows = rows_of([Content(entry) for entry in entries], width, "   ")
    # What is wider than a row is wrapped: all of it is seen, and counted.
    assert all(row.cell_length <= width for row in rows)
    assert "".join("".join(row.plain.split()) for row in rows) == "".join(
        "".join(entry.split()) for entry in entries
    )
    if width >= 24:
        assert [entry for row in rows for entry in row.plain.split("   ")] == entries


def test_a_summary_is_a_part_of_its_own():
    found = replace(FOUND, summary="They said\nhello.", summary_tokens=40, prompt_tokens=560)
    rows = parts(found, BRANCH)
    assert sum(totals(rows).values()) == FOUND.limit
    assert (rows[1].kind, rows[1].tokens, rows[1].text) == (Kind.SUMMARY, 40, "They said hello.")


@pytest.mark.parametrize("width", [1, 6, 7, 8, 33, 200])
def test_the_bar_is_as_wide_as_it_may_be_and_forgets_nothing(width):
    cells = bar(totals(parts(FOUND, BRANCH)), width)
    assert len(cells) == 7
    assert sum(count for _, count in cells) == max(width, 7)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36)])
async def test_the_map_is_shown_and_the_policy_is_chosen(app, service, wait, size):
    service.context = FOUND
    conversation = service.store_conversation("c", [one.text for one in BRANCH])
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: app.state.shown == conversation.id)
        await pilot.press(*"more")
        await app.run_action("context", app.chat)
        await wait(pilot, lambda: app.screen.query("#context"))
        assert ("map", conversation.id, "more") in service.calls

        def text():
            return " ".join(str(part.render()) for part in app.screen.query("Static"))

        await wait(pilot, lambda: "stop, and say so" in text())
        assert "520 of 1000 tokens" in text()
        assert "does not see above this" in text()
        await pilot.press("p", "escape")
        await wait(pilot, lambda: app.settings.context_policy == "roll")
        await wait(pilot, lambda: service.settings.context_policy == "roll")
        await wait(pilot, lambda: read_settings(app.paths.config_file).context_policy == "roll")


async def test_a_summary_is_read_there_and_the_policy_is_the_third(app, service, wait):
    service.context = replace(FOUND, summary="They [b]said\nhello.\x1b[2J", summary_tokens=40)
    conversation = service.store_conversation("c", [one.text for one in BRANCH])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown == conversation.id)
        await app.run_action("context", app.chat)
        await wait(pilot, lambda: app.screen.query("#context-summary"))

        def text():
            return " ".join(str(part.render()) for part in app.screen.query("Static, Phrases"))

        assert "What the model sees of the first 2 messages:" in text()
        assert "They [b]said\nhello.␛[2J" in text()
        assert "the model sees a summary of what is above this" in text()
        assert "the model does not see above this" not in text()
        assert "the summary 40" in text()
        await pilot.press("p", "p")
        await wait(pilot, lambda: "the model sums up the oldest half" in text())
        await pilot.press("escape")
        await wait(
            pilot, lambda: read_settings(app.paths.config_file).context_policy == "summarise"
        )


async def test_a_summary_that_is_due_is_said_in_place_of_the_end(app, service, wait):
    service.context = replace(FOUND, fits=False, summary_due=True)
    service.store_conversation("c", [one.text for one in BRANCH])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await app.run_action("context", app.chat)
        await wait(pilot, lambda: app.screen.query("#context"))
        rule = app.screen.query_one("#context-policy")
        await wait(pilot, lambda: "a summary comes first" in str(rule.render()))
        assert "nothing more can be answered" not in str(rule.render())


@pytest.mark.parametrize("summary", ["They said hello.", ""])
async def test_the_line_says_whether_the_model_sees_a_summary(app, service, wait, summary):
    service.store_conversation("c", ["q1", "a1", "q2", "a2"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press(*"q3", "enter")
        await wait(pilot, lambda: service.turns)
        turn = max(service.turns)
        service.emit(SummaryProgress(turn, 2, 0.41))
        await wait(pilot, lambda: "summarising 41 %" in str(app.chat.status.render()))
        service.emit(SummaryMade(turn, 2, summary))
        told = "model sees its summary" if summary else "wrote no summary"
        await wait(pilot, lambda: any(told in one.message for one in app._notifications))
        service.say(turn, "a3")
        emit = service.emit

        def left_out(event):
            if isinstance(event, TurnFinished):
                event = replace(event, left_out=2, summary=summary)
            emit(event)

        service.emit = left_out
        service.finish(turn)
        await wait(pilot, lambda: app.chat.transcript.query(".-first-seen"))
        (view,) = app.chat.transcript.query(".-first-seen")
        assert view.source == "q2"
        line = "sees a summary of what is above" if summary else "does not see above"
        assert line in str(view.border_title)
        what = "2 messages summarised" if summary else "2 messages left out"
        assert what in str(app.chat.status.render())


async def test_a_line_stands_where_the_model_begins_to_see(app, service, wait):
    service.store_conversation("c", ["q1", "a1", "q2", "a2"])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press(*"q3", "enter")
        await wait(pilot, lambda: service.turns)
        turn = max(service.turns)
        service.say(turn, "a3")
        emit = service.emit

        def rolled(event):
            if isinstance(event, TurnFinished):
                event = TurnFinished(
                    event.turn, event.message, event.timing, event.context_used, left_out=2
                )
            emit(event)

        service.emit = rolled
        service.finish(turn)
        await wait(pilot, lambda: app.chat.transcript.query(".-first-seen"))
        (view,) = app.chat.transcript.query(".-first-seen")
        assert view.source == "q2"
        assert "does not see above" in str(view.border_title)
