"""The token lens: tones, the cursor, the alternatives, going on from one."""

import pytest

from lfm2chat.runtime.events import LensToken, OtherToken, Scored, ScoreEnded
from lfm2chat.tui.lens import Measure, next_doubt, percent, shown_token, tone_of


def token(text, probability, *others, entropy=0.5):
    alternatives = (OtherToken(text, 1, probability), *others)
    return LensToken(text, 1, probability, entropy, alternatives)


TOKENS = (
    token("The [red]", 0.99),
    token(" sky", 0.4, OtherToken(" sea", 7, 0.35), OtherToken("\ufffd", 8, 0.1)),
    token(" is\n", 0.95),
    token("blue \x1b]0;x\x07", 0.05),
)


async def look(pilot, app, service, wait):
    conversation = service.store_conversation("c", ["q", "".join(t.text for t in TOKENS)])
    await wait(pilot, lambda: app.chat.status.status.phase == "ready")
    app.chat.open_conversation(conversation.id)
    await wait(pilot, lambda: app.state.shown == conversation.id)
    await app.run_action("lens", app.chat)
    await wait(pilot, lambda: any(call[0] == "lens" for call in service.calls))
    return conversation, service._next


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (60, 20)])
async def test_an_answer_is_looked_at_token_by_token(app, service, wait, size):
    async with app.run_test(size=size) as pilot:
        conversation, request = await look(pilot, app, service, wait)
        answer = service.branches[conversation.id][-1]
        service.emit(Scored(request, answer.id, "guide", TOKENS))
        await wait(pilot, lambda: app.screen.query("#lens-text"))
        text = app.screen.query_one("#lens-text")
        await wait(pilot, lambda: "blue" in str(text.render()))
        assert "\x1b" not in str(text.render())
        await pilot.press("right")
        about = app.screen.query_one("#lens-about")
        await wait(pilot, lambda: "·sky  40 %" in str(about.render()))
        await pilot.press("j")
        await wait(pilot, lambda: text.at == 3)
        await pilot.press("home", "n", "down", "enter")
        await wait(pilot, lambda: app.screen is app.chat)
        assert service.branches.continued[:2] == (conversation.id, answer.id)
        assert service.branches.continued[2]["text"] == "The [red] sea"


async def test_half_a_character_is_no_place_to_go_on_from(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        conversation, request = await look(pilot, app, service, wait)
        service.emit(Scored(request, service.branches[conversation.id][-1].id, "guide", TOKENS))
        await wait(pilot, lambda: app.screen.query("#lens-text"))
        await pilot.press("right", "end", "p", "down", "down", "enter")
        await pilot.pause()
        assert app.screen is not app.chat


async def test_a_lens_that_shows_nothing_says_why(app, service, wait):
    async with app.run_test(size=(80, 24)) as pilot:
        conversation, request = await look(pilot, app, service, wait)
        answer = service.branches[conversation.id][-1]
        service.emit(ScoreEnded(request, answer.id, "the memory is full", "close something"))
        await wait(
            pilot, lambda: any("memory is full" in note.message for note in app._notifications)
        )


def test_the_less_sure_the_stronger_the_tone():
    styles = [tone_of(token("x", p), Measure.PROBABILITY).style for p in (0.95, 0.7, 0.4, 0.2, 0)]
    assert len(set(styles)) == 5
    assert styles[0] == ""
    assert "underline" in styles[-1]
    assert tone_of(token("x", 0.0, entropy=0.0), Measure.ENTROPY).style == ""


def test_doubts_are_found_in_both_directions():
    assert next_doubt(TOKENS, 0, 1) == 1
    assert next_doubt(TOKENS, 1, 1) == 3
    assert next_doubt(TOKENS, 3, 1) == 3
    assert next_doubt(TOKENS, 3, -1) == 1


def test_small_shares_and_spaces_are_said():
    assert [percent(p) for p in (1, 0.034, 0.004, 0.00001)] == ["100 %", "3 %", "0.4 %", "< 0.1 %"]
    assert shown_token(" a\n") == "·a↵"
