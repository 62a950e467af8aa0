"""The app over the real service, store and engine, with small random models."""

import contextlib
import sqlite3
import subprocess
import sys

from lfm2chat.chat.text import safe
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store

FIRST_PAINT = """
import asyncio, sys
from lfm2chat.paths import Paths
from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import Settings
from lfm2chat.store import Store
from lfm2chat.tui.app import Lfm2ChatApp

paths = Paths.from_environment()
paths.create()
seen = []

def make(emit):
    painted = app.chat.prompt.area.region.height == 1 and "Esc Stop" in str(
        app.chat.keybar.render()
    )
    seen.append((painted, "torch" in sys.modules))
    return ChatService(
        paths=paths, settings=Settings(), store=Store.open(paths.store), emit=emit
    )

app = Lfm2ChatApp(make, paths=paths, settings=Settings())

async def main():
    async with app.run_test() as pilot:
        while app.state.model.phase == "loading":
            await pilot.press("x")
            await pilot.pause(0.01)
    assert app.chat.prompt.draft.text.startswith("x"), app.chat.prompt.draft

asyncio.run(main())
print(seen)
"""


def views(app):
    return app.chat.transcript.shown


def notices(app):
    return "\n".join(notice.message for notice in app._notifications)


def branch(app):
    """The messages of the conversation, mounted or not: long answers fill the window alone."""
    return app.chat.transcript.messages


def idle(app, count):
    return app.state.model.phase == "ready" and not app.state.live and len(branch(app)) == count


async def test_a_turn_a_follow_up_a_switch_and_a_restart(open_app, make_model, wait):
    make_model("one")
    make_model("two")
    app = open_app("one")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"hello", "enter")
        await wait(pilot, lambda: idle(app, 2))
        await pilot.press(*"go on", "enter")
        await wait(pilot, lambda: idle(app, 4))
        timing = branch(app)[3].timing
        assert timing.cached_tokens > 0
        assert app.chat.status.status.reuse == (
            f"reused {timing.cached_tokens} · read {timing.prefilled_tokens}"
        )
        await pilot.press("f3")
        await wait(pilot, lambda: app.screen.query("#model-list"))
        options = app.screen.query_one("#model-list")
        await wait(pilot, lambda: options.option_count > 3)
        await pilot.press("down", "enter")
        await wait(pilot, lambda: app.state.model.name == "two")
        await pilot.press(*"and you", "enter")
        await wait(pilot, lambda: idle(app, 6))
        assert [message.model for message in branch(app)[1::2]] == ["one", "one", "two"]
        before = [(message.role, message.text) for message in branch(app)]
        for view in views(app):
            assert view.source == safe(view.message.text)
    app = open_app("one")
    async with app.run_test(size=(100, 30)) as pilot:
        await wait(pilot, lambda: len(branch(app)) == 6)
        assert [(message.role, message.text) for message in branch(app)] == before
        for index, message in enumerate(branch(app)):
            view = await app.chat.transcript.bring(index)
            await wait(pilot, lambda v=view, m=message: v.source == safe(m.text))


async def test_escape_ends_a_real_answer_and_what_is_shown_is_what_is_stored(
    open_app, make_model, wait, paths
):
    make_model("one")
    app = open_app("one")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        app.chat.panel.post_message(
            app.chat.panel.Changed(app.chat.panel.params.changed(max_new_tokens=4000))
        )
        await pilot.press("x", "enter")
        # Random weights may write an end token at any moment: then there is nothing to stop.
        await wait(
            pilot, lambda: app.state.finished or any(t.text for t in app.state.live.values())
        )
        await pilot.press("escape")
        await wait(pilot, lambda: idle(app, 2))
        shown = views(app)[1]
        assert shown.message.finish_reason in set(FinishReason)
        key = app.state.shown
        source = shown.source
    with Store.open(paths.store) as store:
        stored = store.branch(key)[-1]
    assert stored.status is MessageStatus.DONE
    assert source == safe(stored.text)


async def test_a_model_that_is_not_there_is_said_and_nothing_is_lost(open_app, wait, paths):
    app = open_app("no-such-model")
    async with app.run_test(notifications=True) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "failed")
        await pilot.press(*"kept", "enter")
        await wait(pilot, lambda: app.state.finished)
        assert "F3" in app.chat.status.status.phase
        key = app.state.shown
    with Store.open(paths.store) as store:
        assert store.branch(key)[0].text == "kept"


async def test_a_store_of_a_newer_version_is_shown_and_said_to_be_read_only(open_app, wait, paths):
    with Store.open(paths.store) as store:
        store.begin_conversation("old words", title="Old", model="guide").result()
    with contextlib.closing(sqlite3.connect(paths.store)) as connection:
        connection.execute("PRAGMA user_version=99")
    content = paths.store.read_bytes()
    app = open_app("guide")
    async with app.run_test(notifications=True) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready" and len(views(app)) == 2)
        await wait(pilot, lambda: "reading only" in notices(app))
        assert "upgrade" in notices(app)
        await pilot.press(*"new", "enter")
        # What cannot be kept goes back to where it can be copied.
        await wait(pilot, lambda: not app.state.live and app.chat.prompt.draft.text == "new")
        assert views(app)[0].message.text == "old words"
    assert paths.store.read_bytes() == content


def test_the_first_paint_and_the_first_keys_come_before_torch(home):
    done = subprocess.run(
        [sys.executable, "-c", FIRST_PAINT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(True, False)]"


async def test_a_temporary_conversation_goes_on_and_leaves_nothing_on_the_disk(
    open_app, make_model, wait, paths
):
    canary = "canarysecret"
    make_model("one")
    app = open_app("one")
    async with app.run_test(size=(110, 30)) as pilot:
        await wait(pilot, lambda: app.state.model.phase == "ready")
        await pilot.press("f6")
        await wait(pilot, lambda: app.state.is_temporary(app.state.shown))
        note = app.screen.query_one("#welcome-note")
        await wait(pilot, lambda: "gone when" in str(note.render()))
        await pilot.press(*canary)
        await pilot.pause(0.5)
        await pilot.press("enter")
        await wait(pilot, lambda: idle(app, 2))
        await pilot.press(*f"again{canary}", "enter")
        await wait(pilot, lambda: idle(app, 4))
        assert branch(app)[3].timing.cached_tokens > 0
        assert app.chat.status.status.phase == "ready · temporary"
        (listed,) = app.chat.list.conversations
        assert "temporary" in str(app.chat.list.get_option_at_index(0).prompt)
        await pilot.press("ctrl+n", *"kept", "enter")
        await wait(pilot, lambda: app.state.shown > 0 and idle(app, 2))
        app.chat.open_conversation(listed.id)
        await wait(pilot, lambda: len(branch(app)) == 4)
    files = [path.read_bytes() for path in paths.data.parent.rglob("*") if path.is_file()]
    assert not any(canary.encode() in content for content in files)
    app = open_app("one")
    async with app.run_test(size=(110, 30)) as pilot:
        await wait(pilot, lambda: len(views(app)) == 2)
        assert len(app.chat.list.conversations) == 1
