"""Reading with the keyboard: the cursor, copying, quoting, saving, details, thoughts."""

import re

from lfm2chat.spec import FinishReason
from lfm2chat.tui.widgets.column import BAR

ANSWER = """A *first* paragraph.

```python
def f():
    return 1
```

- one
- two
"""
THOUGHT = "<think>\nhm, let me see\n</think>\n\n" + ANSWER


def transcript(app):
    return app.chat.transcript


def barred(app):
    """The rows of the screen that begin with the cursor's bar, as they read."""
    rows = []
    for y in range(app.size.height):
        line = "".join(s.text for s in app.screen._compositor.render_strips()[y])
        if BAR in line[:3]:
            rows.append(re.sub(rf"^ *{BAR}", "", line).strip(" ▁▂▃▄▅▆▇█▎▍"))
    return rows


async def opened(app, pilot, wait, service, texts=("a question", ANSWER)):
    service.store_conversation("[x] title", list(texts))
    await wait(pilot, lambda: len(transcript(app).shown) >= min(len(texts), 3))
    await pilot.pause()


async def test_the_cursor_walks_over_messages_and_blocks_and_back_to_the_prompt(app, service, wait):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service)
        assert app.chat.reading_message() is None
        await pilot.press("f7")
        await wait(pilot, lambda: transcript(app).has_focus)
        assert app.chat.reading_message().text == ANSWER
        assert "Copy" in str(app.chat.keybar.render())
        await pilot.press("down")
        await pilot.pause()
        assert barred(app) == ["A first paragraph."]
        await pilot.press("right")
        await pilot.pause()
        # The label to copy the code is shown while the cursor is on it.
        assert barred(app)[0].startswith("def f():")
        assert barred(app)[0].endswith("copy")
        assert barred(app)[1] == "return 1"
        await pilot.press("end", "home")
        await wait(pilot, lambda: app.chat.reading_message().text == "a question")
        await pilot.press("up", "left", "right")
        assert barred(app) == ["You", "a question"]
        await pilot.press("down", "down", "down", "down")
        await wait(pilot, lambda: barred(app) == ["• one", "• two"])
        await pilot.press("down")
        assert transcript(app).block == 2
        await pilot.press("left", "left", "left")
        assert transcript(app).block is None
        await pilot.press("escape")
        await wait(pilot, lambda: app.chat.prompt.area.has_focus)
        assert barred(app) == []
        assert app.chat.reading_message() is None
        await pilot.press("shift+tab")
        await wait(pilot, lambda: transcript(app).has_focus)


async def test_block_source_code_and_conversation_are_copied(app, service, wait, copied):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service, ("a question", THOUGHT))

        async def takes(*keys):
            copied.clear()
            await pilot.press(*keys)
            await wait(pilot, lambda: copied)
            return copied[0]

        await pilot.press("f7")
        await wait(pilot, lambda: transcript(app).has_focus)
        assert await takes("y") == ANSWER.rstrip("\n")
        assert await takes("Y") == THOUGHT
        # One code block in the answer: no need to go there.
        assert await takes("c") == "def f():\n    return 1"
        assert await takes("right", "y") == "hm, let me see"
        assert await takes("right", "y") == "A *first* paragraph."
        assert await takes("right", "y") == "```python\ndef f():\n    return 1\n```"
        assert await takes("c") == "def f():\n    return 1"
        copied.clear()
        app.chat.action_copy_answer()
        await wait(pilot, lambda: copied == [ANSWER])
        copied.clear()
        app.chat.action_copy_conversation()
        await wait(pilot, lambda: copied)
        assert "## You" in copied[0]
        assert "hm, let me see" in copied[0]


async def test_quoting_adds_to_what_was_typed_and_loses_nothing(app, service, wait):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service)
        await pilot.press(*"so", "f7", "right", "right", "q")
        await wait(pilot, lambda: app.chat.prompt.area.has_focus)
        wanted = "so\n\n> ```python\n> def f():\n>     return 1\n> ```\n\n"
        assert app.chat.prompt.draft.text == wanted
        await wait(pilot, lambda: service.stored[app.state.shown].draft == wanted.strip())


async def test_saving_asks_for_the_path_and_before_it_replaces(app, service, wait, tmp_path):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service)
        path = tmp_path / "code.py"
        path.write_text("mine")
        await pilot.press("f7", "right", "right", "s")
        await wait(pilot, lambda: app.screen.query("#save-path"))
        field = app.screen.query_one("#save-path")
        assert field.value == "x-title.py"
        field.value = str(path)
        await pilot.press("enter")
        note = app.screen.query_one("#save-note")
        await wait(pilot, lambda: "there already" in str(note.render()))
        assert path.read_text() == "mine"
        await pilot.press("enter")
        await wait(pilot, lambda: app.screen is app.chat)
        assert path.read_text() == "def f():\n    return 1\n"
        assert transcript(app).has_focus


async def test_details_are_shown_by_key_and_by_a_click_on_the_heading(
    app, service, wait, click, copied
):
    async with app.run_test(size=(80, 30)) as pilot:
        conversation = service.store_conversation("x", ["a question", ANSWER])
        shown = service.branches[conversation.id][-1].id
        service.branches.other[shown] = (shown, shown + 5)
        await wait(pilot, lambda: len(transcript(app).shown) == 2)
        await pilot.press("f7", "d")
        await wait(pilot, lambda: app.screen.query("#details"))
        values = [str(value.render()) for value in app.screen.query(".details-value")]
        assert f"1 of 2; the others are {shown + 5}" in values
        assert "9 tokens in 20 ms · 450 tok/s" in values
        await pilot.press("y")
        await wait(pilot, lambda: copied)
        assert "reused" in copied[0]
        await pilot.press("escape", "escape")
        await wait(pilot, lambda: app.screen is app.chat)
        heading = transcript(app).shown[-1].heading
        await click(pilot, lambda: app.screen.query("#details"), heading)


async def test_a_click_puts_the_cursor_where_it_is_and_a_label_copies(
    app, service, wait, click, copied
):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service)
        answer = transcript(app).shown[-1].answer
        await click(pilot, lambda: transcript(app).has_focus, answer, offset=(2, 6))
        assert transcript(app).block == 2
        await pilot.hover(offset=answer.at(3, 3))
        await wait(pilot, lambda: "copy" in answer.draw(2).text)
        await click(pilot, lambda: copied, answer, offset=(answer.size.width - 3, 2))
        assert copied[0] == "def f():\n    return 1"
        await pilot.hover("#status")
        await wait(pilot, lambda: "copy" not in answer.draw(2).text)


async def test_a_selection_with_the_mouse_is_no_click(app, service, wait):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service)
        answer = transcript(app).shown[-1].answer
        await pilot.mouse_down(offset=answer.at(2, 0))
        await pilot.hover(offset=answer.at(7, 0))
        await pilot.mouse_up(offset=answer.at(7, 0))
        await pilot.pause()
        assert app.screen.get_selected_text().strip() == "first"
        assert app.chat.prompt.area.has_focus


async def test_messages_that_are_not_mounted_are_when_the_cursor_comes_to_them(app, service, wait):
    texts = [f"message {number}" for number in range(60)]
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, wait, service, texts)
        await pilot.press("f7", "home")
        await wait(pilot, lambda: barred(app)[-1:] == ["message 0"])
        # The reader left the end before they were drawn: they are all the same.
        await wait(pilot, lambda: all(view.source for view in transcript(app).shown))
        await pilot.press("end")
        await wait(pilot, lambda: barred(app)[-1:] == ["message 59"])
        await pilot.press("up")
        await wait(pilot, lambda: barred(app)[-1:] == ["message 58"])


async def test_the_cursor_scrolls_through_a_block_that_is_higher_than_the_screen(
    app, service, wait
):
    code = "\n".join(f"line {number}" for number in range(60))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, wait, service, ("q", f"above\n\n```\n{code}\n```\n\nbelow"))
        await pilot.press("f7", "right", "right")
        await wait(pilot, lambda: any(row.startswith("line 0") for row in barred(app)))
        await pilot.press("down")
        await pilot.pause()
        assert transcript(app).block == 1
        for _ in range(6):
            await pilot.press("down")
            await pilot.pause()
        await wait(pilot, lambda: barred(app) == ["below"])


async def test_nothing_to_read_leaves_the_prompt_as_it_is(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f7", "x")
        assert app.chat.prompt.draft.text == "x"


async def test_a_thought_is_one_line_until_it_is_unfolded(app, service, wait, click):
    async with app.run_test(size=(80, 30)) as pilot:
        await opened(app, pilot, wait, service, ("a question", THOUGHT))
        view = transcript(app).shown[-1]
        assert view.source == THOUGHT
        await wait(pilot, lambda: view.thought.region.height == 1)
        assert view.thought.content.plain == "▸ thought, 4 words"
        await pilot.press("f7", "right", "enter")
        await wait(pilot, lambda: view.thought.region.height == 2)
        assert barred(app) == ["▾ thought, 4 words", "hm, let me see"]
        await click(pilot, lambda: view.thought.folded, view.thought)


async def test_a_thought_is_counted_while_it_is_written_and_folded_at_its_end(app, service, wait):
    async with app.run_test(size=(80, 30)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        turn = max(service.turns)
        for piece in ("<thi", "nk>\nfirst line\n", "second [/line"):
            service.say(turn, piece)
        await wait(pilot, lambda: transcript(app).shown[-1].thought is not None)
        view = transcript(app).shown[-1]
        await wait(pilot, lambda: "4 words" in view.thought.content.plain)
        assert view.thought.content.plain == "▸ thinking… 4 words\n  second [/line"
        service.say(turn, "</think>\n\nThe ")
        service.say(turn, "answer")
        await wait(pilot, lambda: view.answer.source == "The answer")
        assert view.thought.content.plain.startswith("▸ thought, ")
        message = service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        assert view.source == message.text


async def test_an_answer_that_is_stopped_in_its_thought_keeps_it(app, service, wait):
    async with app.run_test(size=(80, 30)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: app.state.live)
        turn = max(service.turns)
        service.say(turn, "<think>\nhalf a")
        message = service.finish(turn, FinishReason.CANCELLED)
        await wait(pilot, lambda: not app.state.live)
        view = transcript(app).shown[-1]
        await wait(pilot, lambda: view.thought is not None)
        assert view.thought.content.plain == "▸ thought, 2 words"
        assert view.source == message.text


async def test_letters_do_to_the_message_that_is_read_what_the_palette_does_to_the_last(
    app, service, wait
):
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot, wait, service, ("first question", "yes", "second", "no"))
        await pilot.press("f7", "home")
        await wait(pilot, lambda: app.chat.reading_message().text == "first question")
        assert "Fork" in str(app.chat.keybar.render())
        await pilot.press("e")
        await wait(pilot, lambda: app.chat.prompt.area.has_focus)
        assert app.chat.prompt.draft.text == "first question"
