"""Several conversations on one screen, and one prompt for all of them."""

from dataclasses import replace

import pytest

from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.spec import SamplingParams
from lfm2chat.tui.difference import difference, telling_apart

SIZES = [(80, 24), (120, 36)]


async def run(pilot, app, command):
    await app.run_action(command, app.chat)
    await pilot.pause()


async def ready(pilot, app, wait):
    await wait(pilot, lambda: app.chat.status.status.phase == "ready")


async def split(pilot, app, wait):
    count = len(app.chat.panes)
    await pilot.press("ctrl+backslash")
    await wait(pilot, lambda: len(app.chat.panes) == count + 1 == len(app.state.panes))
    await wait(pilot, lambda: app.state.active == count)


def texts(pane):
    return [view.source for view in pane.transcript.shown]


async def send(pilot, text):
    await pilot.press(*text)
    await pilot.press("enter")


@pytest.mark.parametrize("size", SIZES)
async def test_a_second_pane_has_a_conversation_of_its_own(app, service, wait, size):
    service.answer = ["fine"]
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app, wait)
        await send(pilot, "one")
        await wait(pilot, lambda: texts(app.chat.panes.at(0)) == ["one", "fine"])
        await split(pilot, app, wait)
        assert app.chat.panes.at(1).region.x > app.chat.panes.at(0).region.right - 2
        await send(pilot, "two")
        await wait(pilot, lambda: texts(app.chat.panes.at(1)) == ["two", "fine"])
        assert texts(app.chat.panes.at(0)) == ["one", "fine"]
        assert len(service.stored) == 2


async def test_both_panes_write_at_once(app, service, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        await send(pilot, "one")
        await wait(pilot, lambda: len(service.turns) == 1)
        await split(pilot, app, wait)
        await send(pilot, "two")
        await wait(pilot, lambda: len(service.turns) == 2)
        first, second = service.turns
        for piece in ("a", "b"):
            service.say(first, f"left {piece} ")
            service.say(second, f"right {piece} ")
        service.finish(first)
        service.finish(second)
        await wait(pilot, lambda: texts(app.chat.panes.at(0))[-1:] == ["left a left b "])
        await wait(pilot, lambda: texts(app.chat.panes.at(1))[-1:] == ["right a right b "])


async def test_one_prompt_goes_to_all_panes_and_stop_stops_all(app, service, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        await split(pilot, app, wait)
        await run(pilot, app, "together")
        await send(pilot, "same")
        await wait(pilot, lambda: len(service.turns) == 2)
        assert [call[1] for call in service.calls if call[0] == "submit"] == ["same", "same"]
        assert app.chat.prompt.draft.empty
        await pilot.press("escape")
        stopped = [call for call in service.calls if call[0] == "cancel"]
        assert len(stopped) == 2


async def test_a_draft_belongs_to_its_pane(app, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        await pilot.press(*"left")
        await split(pilot, app, wait)
        await wait(pilot, lambda: app.chat.prompt.draft.text == "")
        await pilot.press(*"right")
        await pilot.press("f12")
        assert app.chat.prompt.draft.text == "left"
        await pilot.click(app.chat.panes.at(1), offset=(5, 10))
        await wait(pilot, lambda: app.chat.prompt.draft.text == "right")


async def test_a_closed_pane_leaves_its_answer_running(app, service, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        await split(pilot, app, wait)
        await send(pilot, "two")
        await wait(pilot, lambda: len(service.turns) == 1)
        await run(pilot, app, "close_pane")
        await wait(pilot, lambda: len(app.chat.panes) == 1)
        turn = next(iter(service.turns))
        service.say(turn, "still here")
        message = service.finish(turn)
        app.chat.open_conversation(message.conversation_id)
        await wait(pilot, lambda: texts(app.chat.panes.at(0))[-1:] == ["still here"])


async def test_a_conversation_that_is_on_the_screen_is_chosen_and_not_shown_twice(
    app, service, wait
):
    only = service.store_conversation("only", ["q", "a"])
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown == only.id)
        await split(pilot, app, wait)
        app.chat.open_conversation(only.id)
        await wait(pilot, lambda: app.state.active == 0)
        assert app.state.panes[1] < 0


async def test_four_panes_are_the_most_and_stand_two_by_two(app, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        for _ in range(3):
            await split(pilot, app, wait)
        await pilot.press("ctrl+backslash")
        await pilot.pause()
        assert len(app.chat.panes) == 4
        rows = {pane.region.y for pane in app.chat.panes}
        columns = {pane.region.x for pane in app.chat.panes}
        assert (len(rows), len(columns)) == (2, 2)


async def test_where_the_width_is_short_panes_stand_one_above_the_other(app, wait):
    async with app.run_test(size=(60, 24)) as pilot:
        await ready(pilot, app, wait)
        await split(pilot, app, wait)
        await wait(
            pilot, lambda: app.chat.panes.at(0).region.bottom <= app.chat.panes.at(1).region.y
        )


async def test_panes_scroll_together_on_demand(app, service, wait):
    long = "\n\n".join(f"line {n}" for n in range(80))
    for name in ("one", "two"):
        service.store_conversation(name, ["q", long])
    async with app.run_test(size=(120, 36)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        first = app.state.shown
        await split(pilot, app, wait)
        other = next(key for key in service.stored if key != first)
        app.chat.open_conversation(other)
        left, right = (pane.transcript for pane in app.chat.panes)
        await wait(pilot, lambda: right.max_scroll_y > 50 and left.max_scroll_y > 50)
        await run(pilot, app, "scroll_together")
        before = left.scroll_y
        await pilot.press("pageup")
        await wait(pilot, lambda: right.scroll_y < right.max_scroll_y and left.scroll_y < before)
        assert left.max_scroll_y - left.scroll_y == right.max_scroll_y - right.scroll_y


async def test_the_difference_of_two_answers_is_shown(app, service, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        await split(pilot, app, wait)
        await run(pilot, app, "together")
        await send(pilot, "same")
        await wait(pilot, lambda: len(service.turns) == 2)
        for turn, text in zip(service.turns, ("it is [red] wine", "it is [/x] water"), strict=True):
            service.say(turn, text)
            service.finish(turn)
        await wait(pilot, lambda: not app.state.live)
        await run(pilot, app, "difference")
        await wait(pilot, lambda: app.screen.query("#difference"))

        def shown():
            return " ".join(str(part.render()) for part in app.screen.query(".side > Static"))

        await wait(pilot, lambda: "[red] wine" in shown() and "[/x] water" in shown())
        await pilot.press("escape")
        await wait(pilot, lambda: app.screen is app.chat)


def test_parts_of_a_difference_join_to_the_whole_texts():
    left, right = difference("a red  wine, cold", "a white wine, cold!")
    assert "".join(part.text for part in left) == "a red  wine, cold"
    assert "".join(part.text for part in right) == "a white wine, cold!"
    assert [part.text.strip() for part in right if part.own] == ["white", "!"]


def test_two_answers_of_one_model_are_told_apart_by_what_differs():
    one = Message(
        1, 1, None, Role.ASSISTANT, "a red drink", MessageStatus.DONE, 0.0, model="guide",
        sampling=SamplingParams(), seed=7,
    )  # fmt: skip
    hot = replace(one, sampling=SamplingParams(temperature=0.9, stop=("a",)), seed=8)
    assert telling_apart(one, hot) == ("temperature 0.3 · stop none", "temperature 0.9 · stop a")
    assert telling_apart(one, replace(one, seed=8)) == ("seed 7", "seed 8")
    # The seed that is asked for is that of the answer, or none.
    asked = replace(one, sampling=SamplingParams(seed=7))
    assert telling_apart(one, asked) == ("", "")
    shorter = replace(one, sampling=None, text="drink")
    assert telling_apart(one, shorter) == ("3 words", "1 word")
    # Models tell apart by their names; seeds draw other tokens for each anyway.
    assert telling_apart(one, replace(one, model="other", seed=8)) == ("", "")


async def test_a_model_is_chosen_for_one_pane_alone_where_there_are_several(app, service, wait):
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app, wait)
        await split(pilot, app, wait)
        await pilot.press("f3")
        await wait(pilot, lambda: app.screen.query("#model-list"))
        options = app.screen.query_one("#model-list")
        await wait(pilot, lambda: options.option_count > 1)
        await pilot.press("down", "enter")
        await wait(pilot, lambda: app.screen is app.chat)
        assert service.model_name == "guide"
        await send(pilot, "two")
        await wait(pilot, lambda: service.turns)
        assert service.asked_model == "LFM2-350M"
        await pilot.press("f12")
        await send(pilot, "one")
        await wait(pilot, lambda: len(service.turns) == 2)
        assert service.asked_model == ""
