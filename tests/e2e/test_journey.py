"""From an empty home: choose, download, verify, quantize, chat, remove. A real hub on loopback."""

import os
import shutil
import subprocess
import sys

import pytest

from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import Settings
from lfm2chat.store import Store
from lfm2chat.tui.app import Lfm2ChatApp
from lfm2chat.tui.chat import ChatScreen
from lfm2chat.tui.screens.confirm import DownloadScreen, RemoveScreen
from lfm2chat.tui.screens.models import Fetch

NAME = "LFM2-350M"
PATIENCE_S = 60.0


@pytest.fixture
def hub(fake_hub_module, make_model):
    """Serves a real model folder under a name of the catalogue; the home is empty again."""
    folder = make_model("served")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["LICENSE"] = b"LFM Open License v1.0\n"
    shutil.rmtree(folder.parents[2])
    hub = fake_hub_module.FakeHub(
        files, repository=f"LiquidAI/{NAME}", lfs={"model.safetensors", "tokenizer.json"}
    )
    yield hub
    hub.close()


def test_through_the_command_line(hub, home):
    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "lfm2chat", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LFM2CHAT_HOME": str(home), "HF_ENDPOINT": hub.url},
        )
        assert done.returncode == code, done.stderr
        return done

    folder = home / "data" / "models" / NAME
    assert NAME in run("models", "recommend").stdout
    assert hub.asked() == []
    assert "LFM Open License" in run("models", "pull", NAME).stderr
    assert (folder / "LICENSE").exists()
    verified = run("models", "verify", NAME).stdout.splitlines()
    assert len(verified) == len(hub.files)
    assert all(line.startswith("as promised") for line in verified)
    asked = len(hub.asked())
    question = ("ask", "--save", "--model", NAME, "--precision", "int8", "--max-new-tokens", "8")
    run(*question, "hello")
    assert [path.name for path in folder.glob("*.packed")]
    run(*question, "hello again")
    assert NAME in run("conversations", "show", "1").stdout
    run("models", "remove", NAME, "--yes")
    assert not folder.exists()
    assert "not here" in run("models", "show", NAME).stdout
    assert run("conversations", "show", "1").stdout
    run("ask", "--model", NAME, "hello", code=3)
    assert len(hub.asked()) == asked


@pytest.fixture
def app(hub, paths):
    settings = Settings(animations=False, precision="int8", mirror=hub.url)
    store = Store.open(paths.store)
    return Lfm2ChatApp(
        lambda emit: ChatService(paths=paths, settings=settings, store=store, emit=emit),
        paths=paths,
        settings=settings,
        model="guide",
    )


async def test_through_the_app(app, hub, paths):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.state.model.phase == "ready")
        assert hub.asked() == []
        await pilot.press("f3")
        await until(pilot, lambda: app.screen.query("#model-list"))
        options = app.screen.query_one("#model-list")
        await until(pilot, lambda: options.option_count > 3)
        names = [
            choice.prospect.card.name if isinstance(choice, Fetch) else choice.name
            for choice in app.screen.choices
        ]
        for _ in range(names.index(NAME)):
            await pilot.press("down")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DownloadScreen))
        assert hub.asked() == []
        await pilot.press("enter")
        await until(pilot, lambda: app.state.model.name == NAME and idle(app))
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: idle(app) and len(app.chat.transcript.shown) == 2)
        assert app.chat.transcript.shown[1].message.model == NAME
        folder = paths.models / NAME
        assert list(folder.glob("*.packed"))
        assert (folder / "lfm2chat.json").exists()
        asked = len(hub.asked())
        await pilot.press("f3")
        await until(pilot, lambda: app.screen.query("#model-list"))
        options = app.screen.query_one("#model-list")
        await until(pilot, lambda: options.highlighted == 1)
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, RemoveScreen))
        assert folder.exists()
        await pilot.press("enter")
        await until(pilot, lambda: not folder.exists())
        await until(pilot, lambda: app.state.model.name == "guide" and idle(app))
        assert len(app.chat.transcript.shown) == 2
        assert len(hub.asked()) == asked


async def test_through_the_app_by_mouse(app, hub, paths):
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.state.model.phase == "ready")
        await open_models(pilot)
        await click(pilot, f"{NAME}  ", until_on=DownloadScreen)
        assert hub.asked() == []
        await click(pilot, "Enter downloads it", until_on=ChatScreen)
        await until(pilot, lambda: app.state.model.name == NAME and idle(app))
        # Nobody writes with a mouse.
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: idle(app) and len(app.chat.transcript.shown) == 2)
        assert app.chat.transcript.shown[1].message.model == NAME
        asked = len(hub.asked())
        for name in ("guide", NAME):
            await open_models(pilot)
            await click(pilot, name, until_on=ChatScreen)
            await until(pilot, lambda n=name: app.state.model.name == n and idle(app))
        folder = paths.models / NAME
        await open_models(pilot)
        await click(pilot, "x removes", until_on=RemoveScreen)
        await click(pilot, "Esc leaves", until_on=ChatScreen)
        assert folder.exists()
        await open_models(pilot)
        await click(pilot, "x removes", until_on=RemoveScreen)
        await click(pilot, "Enter removes it", until_on=ChatScreen)
        await until(pilot, lambda: not folder.exists())
        await until(pilot, lambda: app.state.model.name == "guide" and idle(app))
        assert len(app.chat.transcript.shown) == 2
        assert len(hub.asked()) == asked


async def open_models(pilot):
    """Click on the model in the status line."""
    app = pilot.app
    await pilot.click(app.chat.status)
    await until(pilot, lambda: app.screen.query("#model-list"))
    await until(pilot, lambda: app.screen.query_one("#model-list").option_count > 3)


async def click(pilot, text, *, until_on):
    """Click on ``text`` on the card that is open, until a screen of that kind is."""
    card = pilot.app.screen.query_one(".card").region
    await pilot.pause()
    for row, strip in enumerate(pilot.app.screen._compositor.render_strips()):
        line = strip.text
        if card.y <= row < card.bottom and text in line:
            await pilot.click(offset=(line.index(text, card.x), row))
            break
    await until(pilot, lambda: isinstance(pilot.app.screen, until_on))


def idle(app):
    return app.state.model.phase == "ready" and not app.state.live


async def until(pilot, condition):
    for _ in range(int(PATIENCE_S / 0.05)):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it never came to that")
