"""Versions of messages, with the real service: edit, answer again, go on, walk, fork, hide."""

import pytest

from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.spec import FinishReason
from lfm2chat.tui.tree_rows import tree_rows
from lfm2chat.tui.widgets.message import version_label


def texts(app):
    return [view.source for view in app.chat.transcript.shown]


def heading(view):
    return view.heading.content.plain


def quiet(app, count):
    messages = app.chat.transcript.messages
    return app.state.model.phase == "ready" and not app.state.live and len(messages) == count


async def run(pilot, app, command):
    await app.run_action(command, app.chat)
    await pilot.pause()


async def say(pilot, app, wait, text, count):
    await pilot.press(*text, "enter")
    await wait(pilot, lambda: quiet(app, count))


@pytest.fixture
def begun(open_app, make_model):
    make_model("one")
    return open_app("one", max_new_tokens=8)


async def test_an_edit_three_turns_back_keeps_both_branches(begun, wait):
    app = begun
    async with app.run_test(size=(100, 30)) as pilot:
        for turn, text in enumerate(("first", "second", "third"), 1):
            await say(pilot, app, wait, text, 2 * turn)
        before = texts(app)
        app.chat.reading_message = lambda: app.chat.transcript.messages[0]
        await pilot.press(*"draft")
        await run(pilot, app, "edit")
        assert app.chat.prompt.draft.text == "first"
        assert "both versions stay" in str(app.screen.query_one("#prompt-note").render())
        await pilot.press(*" again", "enter")
        await wait(pilot, lambda: quiet(app, 2))
        assert texts(app)[0] == "first again"
        assert app.chat.prompt.draft.text == "draft"
        await wait(pilot, lambda: "2/2" in heading(app.chat.transcript.shown[0]))
        # Back again by a click on the arrow: nothing was lost, and nothing is written anew.
        await run(pilot, app, f"walk({app.chat.transcript.messages[0].id}, -1)")
        await wait(pilot, lambda: texts(app) == before)
        assert "1/2" in heading(app.chat.transcript.shown[0])


async def test_an_arrow_in_the_heading_is_clicked(begun, wait):
    app = begun
    async with app.run_test(size=(100, 30)) as pilot:
        await say(pilot, app, wait, "hello", 2)
        first = app.chat.transcript.messages[1].id
        await pilot.press("ctrl+r")
        await wait(pilot, lambda: quiet(app, 2) and app.chat.transcript.messages[1].id != first)

        def view():
            return app.chat.transcript.shown[1]

        await wait(pilot, lambda: "‹ 2/2 ›" in heading(view()))
        await wait(pilot, lambda: view().heading.region.height == 1)
        column = heading(view()).index("‹")
        await pilot.click(offset=view().heading.at(column, 0))
        await wait(pilot, lambda: app.chat.transcript.messages[1].id == first)


async def test_several_answers_at_once_are_versions_of_one(begun, wait):
    app = begun
    async with app.run_test(size=(100, 30)) as pilot:
        await say(pilot, app, wait, "hello", 2)
        await pilot.press(*"/regenerate 3", "enter")
        # They may be done before the key press is.
        await wait(pilot, lambda: "2/4" in heading(app.chat.transcript.shown[1]))
        await wait(pilot, lambda: quiet(app, 2))
        await run(pilot, app, "next_version")
        await wait(pilot, lambda: "3/4" in heading(app.chat.transcript.shown[1]))


@pytest.mark.parametrize(
    ("typed", "said"), [("/regenerate three", "is no number"), ("/regenerate 9", "at once")]
)
async def test_a_number_of_answers_that_cannot_be_is_said_and_begins_none(begun, wait, typed, said):
    app = begun
    async with app.run_test(size=(100, 30)) as pilot:
        await say(pilot, app, wait, "hello", 2)
        await pilot.press(*typed, "enter")
        await wait(pilot, lambda: any(said in one.message for one in app._notifications))
        assert not app.state.live
        assert "›" not in heading(app.chat.transcript.shown[1])


async def test_going_on_begins_with_what_is_there(begun, wait):
    app = begun
    async with app.run_test(size=(100, 30)) as pilot:
        app.state.sampling[app.state.shown] = None
        await say(pilot, app, wait, "hello", 2)
        message = app.chat.transcript.messages[1]
        await run(pilot, app, "continue")
        await wait(pilot, lambda: app.state.live or app.chat.transcript.messages[1] != message)
        await wait(pilot, lambda: quiet(app, 2) and app.chat.transcript.messages[1] != message)
        assert app.chat.transcript.messages[1].text.startswith(message.text)
        assert texts(app)[1].startswith(app.chat.transcript.shown[1].source[:10])


async def test_leaving_an_edit_brings_the_draft_back(begun, wait):
    app = begun
    async with app.run_test(size=(80, 24)) as pilot:
        await say(pilot, app, wait, "hello", 2)
        await pilot.press(*"draft")
        await run(pilot, app, "edit")
        await pilot.press(*"xyz", "escape")
        assert app.chat.prompt.draft.text == "draft"
        assert not app.screen.query_one("#prompt-note").display
        assert app.state.drafts[app.state.shown].text == "draft"


async def test_an_answer_that_is_edited_is_kept_beside_the_model_s(begun, wait):
    app = begun
    async with app.run_test(size=(80, 24)) as pilot:
        await say(pilot, app, wait, "hello", 2)
        app.chat.reading_message = lambda: app.chat.transcript.messages[1]
        await run(pilot, app, "edit")
        app.chat.prompt.area.text = "my own words"
        await pilot.press("enter")
        await wait(pilot, lambda: texts(app) == ["hello", "my own words"])
        assert app.chat.transcript.messages[1].finish_reason is FinishReason.EDITED


async def test_the_tree_shows_everything_and_goes_anywhere(begun, wait):
    app = begun
    async with app.run_test(size=(100, 30)) as pilot:
        await say(pilot, app, wait, "hello", 2)
        key = app.state.shown
        first = app.chat.transcript.messages[1].id
        await pilot.press("ctrl+r")
        await wait(pilot, lambda: quiet(app, 2) and app.chat.transcript.messages[1].id != first)

        async def open_tree():
            await pilot.press("ctrl+t")
            await wait(pilot, lambda: app.screen.query("#tree"))
            await pilot.pause()

        await open_tree()
        assert app.screen.query_one("#tree").option_count == 3
        await pilot.press("up", "enter")
        await wait(pilot, lambda: app.chat.transcript.messages[1].id == first)
        await open_tree()
        await pilot.press("x")
        await wait(pilot, lambda: app.chat.transcript.messages[1].id != first)
        await wait(pilot, lambda: "/" not in heading(app.chat.transcript.shown[1]).split("tok")[0])
        await run(pilot, app, "restore_message")
        await wait(pilot, lambda: app.chat.transcript.messages[1].id == first)
        await open_tree()
        await pilot.press("f")
        await wait(pilot, lambda: app.state.shown not in (key, -1))
        await wait(pilot, lambda: quiet(app, 2))
        assert "fork" in app.chat.conversations[0].title


def chain(*parents):
    return [
        Message(number, 1, parent, Role.USER, f"m{number}", MessageStatus.DONE, 0.0)
        for number, parent in enumerate(parents, 1)
    ]


def test_a_tree_of_a_thousand_turns_is_as_narrow_as_one_of_two():
    rows = tree_rows(chain(None, *range(1, 3000)), shown={3000})
    assert {row.lines for row in rows} == {""}
    assert [row.message.id for row in rows] == list(range(1, 3001))
    assert rows[-1].shown
    assert not rows[0].shown


def test_versions_stand_below_each_other_the_oldest_first():
    rows = tree_rows(chain(None, 1, 1, 2, 4, 4), shown=set())
    assert [(row.message.id, row.lines) for row in rows] == [
        (1, ""),
        (2, "├ "),
        (4, "│ "),
        (5, "│ ├ "),
        (6, "│ └ "),
        (3, "└ "),
    ]


def test_nothing_is_said_of_a_single_version():
    assert version_label(1, 1, 1).plain == ""
    assert version_label(1, 2, 3).plain.strip() == "‹ 2/3 ›"
