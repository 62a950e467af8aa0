"""The terminal's title and its bell."""

import pytest
from textual.events import AppBlur, AppFocus


@pytest.fixture
def titles(app, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    written = []
    app.write_terminal = written.append
    return written


def named(text):
    return f"\x1b]2;{text}\x1b\\"


async def test_the_title_names_the_open_conversation(app, service, wait, titles):
    first = service.store_conversation("first", ["a", "b"])
    evil = service.store_conversation("e\x1b]0;t\x07vil", ["a", "b"])
    async with app.run_test() as pilot:
        await wait(pilot, lambda: titles and titles[-1] == named("lfm2chat · e␛]0;t␇vil"))
        app.chat.open_conversation(first.id)
        await wait(pilot, lambda: titles[-1] == named("lfm2chat · first"))
        service.rename(first.id, "renamed")
        await wait(pilot, lambda: titles[-1] == named("lfm2chat · renamed"))
        await pilot.press("ctrl+n")
        await wait(pilot, lambda: titles[-1] == named("lfm2chat"))
        assert evil.id != first.id
        await app.change_setting("terminal_title", False)
        assert titles[-1] == named("")


async def test_a_temporary_conversation_is_not_named(app, service, wait, titles):
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f6")
        await wait(pilot, lambda: app.state.is_temporary(app.state.shown))
        assert set(titles) == {named("lfm2chat")}


@pytest.mark.parametrize(
    "case",
    [
        ("background", True, True, 1),
        ("background", True, False, 0),
        ("background", False, True, 0),
        ("always", True, False, 1),
        ("never", True, True, 0),
    ],
)
async def test_the_bell_rings_after_a_long_answer(app, service, wait, monkeypatch, case):
    bell, long, looked_away, rings = case
    monkeypatch.setattr("lfm2chat.tui.app.LONG_ANSWER_S", -1.0 if long else 1e9)
    rung = []
    app.bell = lambda: rung.append(1)
    app.settings = app.settings.changed(bell=bell)
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: service.turns and app.state.shown > 0)
        app.post_message(AppBlur() if looked_away else AppFocus())
        await wait(pilot, lambda: app.app_focus is not looked_away)
        service.finish(max(service.turns))
        await wait(pilot, lambda: not app.state.live and not app._began)
        await pilot.pause()
        assert len(rung) == rings


async def test_the_bell_rings_for_a_conversation_that_is_not_shown(app, service, wait, monkeypatch):
    monkeypatch.setattr("lfm2chat.tui.app.LONG_ANSWER_S", -1.0)
    rung = []
    app.bell = lambda: rung.append(1)
    async with app.run_test() as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("x", "enter")
        await wait(pilot, lambda: service.turns and app.state.shown > 0)
        await pilot.press("ctrl+n")
        await wait(pilot, lambda: app.state.shown < 0)
        service.fail(max(service.turns), "it broke")
        await wait(pilot, lambda: rung)
