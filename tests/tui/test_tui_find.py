"""Finding words in the conversation."""

import pytest

from lfm2chat.tui.widgets.hits import CURRENT, FOUND


def count(app):
    return str(app.screen.query_one("#find-count").render()).split()[0]


def styles(app, text):
    """The styles of what is marked in the user's message ``text``."""
    for view in app.chat.transcript.shown:
        if view.source == text:
            return [span.style for span in view.body.content.spans if span.style]
    return None


def in_view(app, text):
    shown = [view for view in app.chat.transcript.shown if view.source == text]
    return bool(shown) and shown[0].region.overlaps(app.chat.transcript.region)


@pytest.mark.parametrize("size", [(120, 36), (60, 20)])
async def test_hits_are_counted_walked_and_marked_also_where_nothing_is_mounted(
    app, service, wait, size
):
    texts = [f"message {number}" for number in range(60)]
    texts[2], texts[40] = "a Needle, a needle", "a needle"
    texts[59] = "An *answer* with a\n\n```\nneedle in code\n```\n"
    service.store_conversation("x", texts)
    async with app.run_test(size=size) as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) >= 3)
        await pilot.press(*"typed", "ctrl+f", *"needle")
        await wait(pilot, lambda: count(app) == "4/4")
        answer = app.chat.transcript.shown[-1].answer
        await wait(pilot, lambda: "reverse" in str(answer.draw(2)._segments))
        await pilot.press("up")
        await wait(pilot, lambda: count(app) == "3/4" and in_view(app, "a needle"))
        await wait(pilot, lambda: CURRENT in styles(app, "a needle"))
        await pilot.press("shift+enter")
        await wait(pilot, lambda: count(app) == "2/4" and in_view(app, "a Needle, a needle"))
        await wait(pilot, lambda: CURRENT in styles(app, "a Needle, a needle"))
        assert FOUND in styles(app, "a Needle, a needle")
        await pilot.press("down", "enter", "enter")
        await wait(pilot, lambda: count(app) == "1/4")
        await pilot.press("escape")
        await wait(pilot, lambda: app.chat.prompt.area.has_focus)
        assert app.chat.prompt.draft.text == "typed"
        assert not styles(app, "a Needle, a needle")


async def test_a_capital_letter_counts_and_what_is_not_there_is_said(app, service, wait):
    service.store_conversation("x", ["a Needle", "a needle"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.press("ctrl+f", *"Needle")
        await wait(pilot, lambda: count(app) == "1/1")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: count(app) == "nothing")


async def test_a_hit_in_a_folded_thought_unfolds_it(app, service, wait):
    service.store_conversation("x", ["q", "<think>\nthe needle\n</think>\n\nno"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        await pilot.press("ctrl+f", *"needle")
        view = app.chat.transcript.shown[-1]
        await wait(pilot, lambda: not view.thought.folded)
        await wait(pilot, lambda: count(app) == "1/1")


BOTH = "<think>\nthe needle\n</think>\n\nno needle"


async def test_typing_unfolds_no_thought_while_the_answer_has_what_is_looked_for(
    app, service, wait
):
    service.store_conversation("x", ["q", BOTH])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        view = app.chat.transcript.shown[-1]
        await pilot.press("ctrl+f", *"needle")
        await wait(pilot, lambda: count(app) == "2/2")
        await pilot.pause(0.1)
        assert view.thought.folded
        # Whoever goes there sees it, until nothing is looked for any more.
        await pilot.press("enter")
        await wait(pilot, lambda: count(app) == "1/2" and not view.thought.folded)
        await pilot.press("enter")
        await wait(pilot, lambda: count(app) == "2/2")
        assert not view.thought.folded
        await pilot.press("escape")
        await wait(pilot, lambda: view.thought.folded)


async def test_a_thought_is_folded_again_when_what_is_typed_is_not_in_it(app, service, wait):
    service.store_conversation("x", ["q", "<think>\nthe needle\n</think>\n\nno"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        view = app.chat.transcript.shown[-1]
        await pilot.press("ctrl+f", *"need")
        await wait(pilot, lambda: not view.thought.folded)
        await pilot.press("y")
        await wait(pilot, lambda: count(app) == "nothing" and view.thought.folded)


async def test_a_thought_that_the_user_unfolded_stays_so_when_find_closes(app, service, wait):
    service.store_conversation("x", ["q", BOTH])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: len(app.chat.transcript.shown) == 2)
        view = app.chat.transcript.shown[-1]
        await pilot.press("f7", "right", "enter")
        await wait(pilot, lambda: not view.thought.folded)
        # What is seen is gone to while one types.
        await pilot.press("ctrl+f", *"needle")
        await wait(pilot, lambda: count(app) == "1/2")
        await pilot.press("escape")
        await wait(pilot, lambda: app.chat.prompt.area.has_focus)
        assert not view.thought.folded
