"""Journeys of a user through the whole app, with the real service: by keyboard, by mouse.

The fifth one, a model that is downloaded, used and removed, needs a hub: tests/e2e/test_journey.py.
"""

from __future__ import annotations

from pathlib import Path

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store

SCRIPT = "def tides():\n    return ['high', 'low']"
DAY_S = 86_400.0


def texts(pane):
    return [view.source for view in pane.transcript.shown]


def quiet(app, count):
    messages = app.chat.transcript.messages
    return app.state.model.phase == "ready" and not app.state.live and len(messages) == count


def heading(view):
    return view.heading.content.plain


async def slash(pilot, text):
    """A slash command, typed as a user does: Escape closes the list of completions first."""
    await pilot.press(*text, "escape", "enter")


async def test_from_a_first_start_to_a_first_answer(open_app, wait):
    app = open_app("")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = " ".join(str(part.render()) for part in app.screen.query("Static"))
        for visible in ("new line", "stop", "new conversation", "models", "all keys"):
            assert visible in screen
        await pilot.press(*"How do I start a new conversation?", "enter")
        await wait(pilot, lambda: quiet(app, 2))
        assert "Ctrl+N" in texts(app.chat.panes.active)[1]


async def test_three_turns_back_a_question_is_put_in_another_way_and_compared(
    open_app, make_model, wait
):
    make_model("one")
    app = open_app("one", max_new_tokens=6)
    async with app.run_test(size=(100, 34)) as pilot:
        for turn, text in enumerate(("first", "second", "third"), 1):
            await pilot.press(*text, "enter")
            await wait(pilot, lambda turn=turn: quiet(app, 2 * turn))
        before = texts(app.chat.panes.active)
        # By keyboard: up to the first message, e, other words, Enter.
        await pilot.press("f7", "home")
        await wait(pilot, lambda: app.chat.reading_message() is not None)
        await wait(pilot, lambda: app.chat.reading_message().text == "first")
        await pilot.press("e")
        await wait(pilot, lambda: app.chat.prompt.draft.text == "first")
        await pilot.press(*" of all", "enter")
        await wait(pilot, lambda: quiet(app, 2))
        after = texts(app.chat.panes.active)
        assert after[0] == "first of all"
        # Compared by mouse: the arrows of the heading go there and back.
        for arrow, wanted in (("‹", before), ("›", after)):
            await wait(pilot, lambda a=arrow: a in heading(app.chat.transcript.shown[0]))
            app.chat.transcript.scroll_home(animate=False, immediate=True)
            await pilot.pause(0.1)
            view = app.chat.transcript.shown[0]
            await pilot.click(offset=view.heading.at(heading(view).index(arrow), 0))
            await wait(pilot, lambda w=wanted: texts(app.chat.panes.active) == w)


async def test_two_panes_answer_one_question_with_two_samplings(open_app, make_model, wait):
    make_model("one")
    app = open_app("one", max_new_tokens=6, temperature=0.0, min_p=0.0)
    async with app.run_test(size=(150, 40)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("ctrl+backslash")
        await wait(pilot, lambda: app.state.active == 1)
        await slash(pilot, "/temperature 5")
        await wait(pilot, lambda: app.state.sampling.get(app.state.shown) is not None)
        await slash(pilot, "/together")
        await wait(pilot, lambda: app.state.together)
        await pilot.press(*"hello", "enter")
        await wait(pilot, lambda: not app.state.live and all(key > 0 for key in app.state.panes))
        left, right = (texts(pane) for pane in app.chat.panes)
        assert left[0] == right[0] == "hello"
        assert left[1] != right[1]
        used = [pane.transcript.messages[1].sampling.temperature for pane in app.chat.panes]
        assert used == [0.0, 5.0]
        # By mouse: a click chooses the other pane.
        await pilot.click(app.chat.panes.at(0), offset=(20, 12))
        await wait(pilot, lambda: app.state.active == 0)


def last_week(path: Path) -> None:
    """A store with an answer of last week that holds code, below newer conversations."""
    now = [1_760_000_000.0 - 6 * DAY_S]
    with Store.open(path, clock=lambda: now[0]) as store:
        for question, answer in (
            ("Write a function for the tides", f"Here it is:\n\n```python\n{SCRIPT}\n```\n\nDone."),
            ("And the weather?", "No."),
            ("Anything else?", "Nothing."),
        ):
            begun = store.begin_conversation(question, title=question, model="guide").result()
            store.finish_message(
                begun[2].id,
                text=answer,
                status=MessageStatus.DONE,
                finish_reason=FinishReason.STOP,
                token_ids=(),
                tokenizer_hash="",
                model="guide",
                sampling=None,
                seed=None,
                timing=None,
            ).result()
            now[0] += 2 * DAY_S


async def test_last_week_s_answer_is_found_and_its_code_copied_by_keyboard(
    open_app, paths, wait, copied
):
    last_week(paths.store)
    app = open_app("")
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: app.state.shown > 0)
        await pilot.press("ctrl+s", *"tides return")
        await wait(pilot, lambda: app.screen is not app.chat)
        await wait(pilot, lambda: app.screen._asked == "tides return" and "1 place" in _shown(app))
        await pilot.press("enter")
        await wait(pilot, lambda: SCRIPT in "".join(texts(app.chat.panes.active)))
        await pilot.press("f7", "end")
        await wait(pilot, lambda: app.chat.reading_message() is not None)
        await pilot.press("c")
        await wait(pilot, lambda: copied == [SCRIPT])


async def test_last_week_s_answer_is_found_and_its_code_copied_by_mouse(
    open_app, paths, wait, copied
):
    last_week(paths.store)
    app = open_app("")
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: app.chat.list.option_count >= 3)
        line = _line_of(app, "Write a function")
        await pilot.click(offset=(6, line))
        await wait(pilot, lambda: SCRIPT in "".join(texts(app.chat.panes.active)))
        await pilot.pause(0.2)
        code = _line_of(app, "def tides")
        await pilot.click(offset=(50, code))
        await wait(pilot, lambda: any("copy" in line for line in _lines(app)))
        label = _lines(app)[code].rindex("copy")
        await pilot.click(offset=(label, code))
        await wait(pilot, lambda: copied == [SCRIPT])


def _lines(app) -> list[str]:
    return ["".join(s.text for s in strip) for strip in app.screen._compositor.render_strips()]


def _line_of(app, text: str) -> int:
    return next(at for at, line in enumerate(_lines(app)) if text in line)


def _shown(app) -> str:
    return " ".join(_lines(app))
