"""Sending, streaming, stopping, queueing: what the screen does with a turn."""

import pytest

from lfm2chat.chat.text import safe
from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.errors import StoreError
from lfm2chat.runtime.events import TurnAccepted
from lfm2chat.spec import FinishReason
from lfm2chat.tui.clipboard import Copied

ANSWER = """A list:

1. one
2. two `code`
   - inner
   - lists
     1. of
     2. three levels

   and a paragraph

3. item 3
4. item 4
5. item 5
6. item 6
7. item 7
8. item 8
9. item 9
10. item 10
11. item 11

* other
* bullets

  loose
* end

| a | b |
|---|---|
| Vec<T> | <div> |

```python
def f(): ...
```
the end"""
SIZES = [(80, 24), (120, 36)]


async def send(pilot, text: str) -> None:
    await pilot.press(*text)
    await pilot.press("enter")


def views(app):
    return app.chat.transcript.shown


def answers(app):
    return [view for view in views(app) if view.has_class("-assistant")]


def said(app):
    return [notification.message for notification in app._notifications]


def submitted(service):
    return [call[1:3] for call in service.calls if call[0] == "submit"]


def line(app):
    return app.chat.status.status


@pytest.mark.parametrize("size", SIZES)
async def test_sending_shows_the_message_and_streams_the_answer(app, service, wait, size):
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "hello")
        await wait(pilot, lambda: len(views(app)) == 2)
        assert views(app)[0].source == "hello"
        assert app.chat.prompt.draft.empty
        turn = max(service.turns)
        service.read(turn, 15, 21, cached=12)
        await wait(pilot, lambda: line(app).phase == "reading 33 %")
        for piece in (ANSWER[:20], ANSWER[20:50]):
            service.say(turn, piece)
        await wait(pilot, lambda: [one.source for one in answers(app)] == [ANSWER[:50]])
        await wait(pilot, lambda: line(app).phase == "writing")
        await wait(pilot, lambda: line(app).speed == "100 tok/s")
        service.say(turn, ANSWER[50:])
        service.finish(turn)
        await wait(pilot, lambda: line(app).phase == "ready")
        assert answers(app)[0].source == ANSWER
        assert line(app).context == "context 24/4096"
        assert line(app).reuse == "reused 12 · read 9"


@pytest.mark.parametrize("step", [9, 40])
async def test_however_it_is_cut_the_blocks_are_those_of_the_whole(app, service, wait, step):
    def blocks(view):
        height, width = view.answer.size.height, view.answer.size.width
        rows = [view.answer.draw(row) for row in range(height)]
        return width, view.answer.text_lines, [row.text for row in rows]

    async with app.run_test() as pilot:
        service.store_conversation("whole", ["q", ANSWER], updated_at=9e9)
        await wait(pilot, lambda: line(app).phase == "ready")
        await pilot.press("ctrl+n")
        await send(pilot, "cut")
        await wait(pilot, lambda: len(views(app)) == 2)
        turn = max(service.turns)
        for start in range(0, len(ANSWER), step):
            service.say(turn, ANSWER[start : start + step])
            await pilot.pause()
        service.finish(turn)
        await wait(pilot, lambda: line(app).phase == "ready")
        cut = blocks(answers(app)[0])
        app.chat.open_conversation(1)
        await wait(pilot, lambda: [view.source for view in answers(app)] == [ANSWER])
        await pilot.pause()
        assert cut == blocks(answers(app)[0])


async def test_escape_stops_and_keeps_the_text(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "hello")
        await wait(pilot, lambda: len(views(app)) == 2)
        turn = max(service.turns)
        service.say(turn, "half an ans")
        await pilot.press("escape")
        await wait(pilot, lambda: ("cancel", turn) in service.calls)
        assert line(app).phase == "stopping"
        message = service.finish(turn, FinishReason.CANCELLED)
        await wait(pilot, lambda: line(app).phase == "ready")
        assert answers(app)[0].source == message.text == "half an ans"
        assert "stopped" in answers(app)[0].note.content.plain


async def test_ctrl_c_stops_first_and_quits_on_the_second_press(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "hello")
        await wait(pilot, lambda: len(views(app)) == 2)
        turn = max(service.turns)
        await pilot.press("ctrl+c")
        await wait(pilot, lambda: ("cancel", turn) in service.calls)
        service.finish(turn, FinishReason.CANCELLED)
        await wait(pilot, lambda: line(app).phase == "ready")
        await pilot.press("ctrl+c")
        assert app.is_running
        await pilot.press("ctrl+c")
        await wait(pilot, lambda: service.closed)
    assert app.return_code == 0


async def test_ctrl_c_quits_even_if_the_answer_does_not_stop(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "hello")
        await wait(pilot, lambda: len(views(app)) == 2)
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+c")
        await wait(pilot, lambda: service.closed)


async def test_ctrl_c_copies_a_selection_and_stops_nothing(app, service, wait, monkeypatch):
    copied: list[str] = []

    def take(text, **_):
        copied.append(text)
        return Copied("xclip")

    monkeypatch.setattr("lfm2chat.tui.app.copy", take)
    service.store_conversation("x", ["a question", "an answer to copy"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: answers(app) and answers(app)[0].source)
        paragraph = answers(app)[0].answer
        await wait(pilot, lambda: paragraph.region.height == 1)
        await pilot.mouse_down(offset=paragraph.at(3, 0))
        await pilot.hover(offset=paragraph.at(9, 0))
        await pilot.mouse_up(offset=paragraph.at(9, 0))
        await pilot.press("ctrl+c")
        await wait(pilot, lambda: copied)
        assert copied[0].startswith("answer")
        await wait(pilot, lambda: said(app) == ["Copied (xclip)."])
        assert app.is_running


async def test_a_failed_answer_keeps_its_text_and_says_why(app, service, wait):
    async with app.run_test(notifications=True) as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "hello")
        await wait(pilot, lambda: len(views(app)) == 2)
        turn = max(service.turns)
        service.say(turn, "so far")
        service.fail(turn, "the logits are [/NaN]", "choose another model")
        await wait(pilot, lambda: said(app))
        assert answers(app)[0].source == "so far"
        assert "[/NaN]" in answers(app)[0].note.content.plain
        assert "choose another model" in said(app)[0]


async def test_a_text_that_was_not_committed_returns_to_the_prompt(app, service, wait):
    service.accept = False
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "precious")
        await wait(pilot, lambda: len(views(app)) == 1)
        await pilot.press(*"more")
        service.fail(1, "the disk is full", "make room")
        await wait(pilot, lambda: app.chat.prompt.draft.text == "precious\n\nmore")
        assert views(app) == []


async def test_a_refused_text_never_leaves_the_prompt(app, service, wait):
    service.refuse = StoreError("no store", hint="open one")
    async with app.run_test(notifications=True) as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "precious")
        await wait(pilot, lambda: said(app))
        assert app.chat.prompt.draft.text == "precious"
        assert app.state.live == {}


async def test_typing_and_sending_work_while_the_model_loads(app, service, wait):
    service.loaded_by_itself = False
    async with app.run_test() as pilot:
        await wait(pilot, lambda: service.calls)
        assert line(app).phase.startswith("loading")
        await send(pilot, "early bird")
        await wait(pilot, lambda: len(views(app)) == 2)
        assert service.calls[-1][:2] == ("submit", "early bird")
        service.select_model("guide")
        service.say(max(service.turns), "yes")
        await wait(pilot, lambda: line(app).phase == "writing")


async def test_what_is_sent_during_an_answer_waits_visibly_and_goes_out_after_it(
    app, service, wait
):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "one")
        await wait(pilot, lambda: len(views(app)) == 2)
        first = max(service.turns)
        await send(pilot, "two")
        await send(pilot, "three")
        await wait(pilot, lambda: app.chat.waiting.display)
        assert len(service.turns) == 1
        shown = str(app.chat.waiting.render())
        assert "two" in shown
        assert "three" in shown
        service.finish(first)
        await wait(pilot, lambda: len(service.turns) == 2)
        await wait(pilot, lambda: [view.source for view in views(app)][::2] == ["one", "two"])
        assert submitted(service) == [("one", None), ("two", 2)]
        service.finish(max(service.turns))
        await wait(pilot, lambda: len(service.turns) == 3)
        await wait(pilot, lambda: not app.chat.waiting.display)


async def test_stopping_gives_the_waiting_messages_back(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await send(pilot, "one")
        await wait(pilot, lambda: len(views(app)) == 2)
        await send(pilot, "two")
        await pilot.press("escape")
        service.finish(max(service.turns), FinishReason.CANCELLED)
        await wait(pilot, lambda: app.chat.prompt.draft.text == "two")
        assert len(service.turns) == 1
        assert not app.chat.waiting.display


async def test_another_conversation_does_not_stop_the_answer_and_misses_nothing(app, service, wait):
    other = service.store_conversation("other", ["hi", "ho"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await pilot.press("ctrl+n")
        await wait(pilot, lambda: app.state.shown < 0)
        await send(pilot, "go on")
        await wait(pilot, lambda: len(views(app)) == 2)
        turn, mine = max(service.turns), app.state.shown
        service.say(turn, "one ")
        app.chat.open_conversation(other.id)
        await wait(pilot, lambda: app.state.shown == other.id)
        service.say(turn, "two ")
        await wait(pilot, lambda: app.state.live[turn].text == "one two ")
        assert [view.source for view in views(app)] == ["hi", "ho"]
        app.chat.open_conversation(mine)
        await wait(pilot, lambda: app.state.shown == mine)
        service.say(turn, "three")
        await wait(pilot, lambda: [one.source for one in answers(app)] == ["one two three"])
        service.finish(turn)
        await wait(pilot, lambda: line(app).phase == "ready")
        assert answers(app)[0].source == "one two three"
        assert ("cancel", turn) not in service.calls


async def test_an_answer_that_ended_elsewhere_is_whole_when_it_is_opened(app, service, wait):
    other = service.store_conversation("other", ["hi", "ho"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        await pilot.press("ctrl+n")
        await send(pilot, "go on")
        await wait(pilot, lambda: len(views(app)) == 2)
        turn, mine = max(service.turns), app.state.shown
        stale = list(service.branches[mine])
        app.chat.open_conversation(other.id)
        await wait(pilot, lambda: app.state.shown == other.id)
        service.say(turn, "all of it")
        service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        # A read that began before the end of the turn says less than the event did.
        service.branches[mine] = stale
        assert stale[-1].status is MessageStatus.WRITING
        app.chat.open_conversation(mine)
        await wait(pilot, lambda: answers(app) and answers(app)[0].source == "all of it")


async def test_each_answer_keeps_the_name_of_the_model_that_wrote_it(app, service, wait):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: line(app).phase == "ready")
        service.answer = ["first"]
        await send(pilot, "one")
        await wait(pilot, lambda: len(answers(app)) == 1)
        await pilot.press("f3")
        await wait(pilot, lambda: app.screen.query("#model-list"))
        await wait(pilot, lambda: app.screen.query_one("#model-list").option_count == 2)
        await pilot.press("down", "enter")
        await wait(pilot, lambda: line(app).model == "LFM2-350M")
        await send(pilot, "two")
        await wait(pilot, lambda: len(answers(app)) == 2)
        headings = [view.heading.content.plain for view in answers(app)]
        assert headings[0].startswith("guide")
        assert headings[1].startswith("LFM2-350M")


async def test_the_conversation_of_the_last_time_is_opened(app, service, wait):
    service.store_conversation("old", ["a", "b"])
    service.store_conversation("new", ["c", "d"], draft="unsent")
    async with app.run_test() as pilot:
        await wait(pilot, lambda: [view.source for view in views(app)] == ["c", "d"])
        assert app.chat.prompt.draft.text == "unsent"
        await wait(pilot, lambda: line(app).context == "context 62/4096")


async def test_a_turn_of_nobody_changes_nothing(app, service, wait):
    conversation = service.store_conversation("x", ["a", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(views(app)) == 2)
        user, assistant = service.branches[conversation.id]
        service.emit(TurnAccepted(999, conversation, user, assistant))
        service.fail(999, "old", "")
        await pilot.pause(0.05)
        assert len(views(app)) == 2


async def test_what_is_shown_of_a_stored_answer_is_its_safe_text(app, service, wait):
    text = "esc \x1b]52;c;AAAA\x07 c1 \x9b31m bidi \u202e end"
    service.store_conversation("x", ["a", text])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: answers(app) and answers(app)[0].source == safe(text))
        assert views(app)[0].message.role is Role.USER
