"""Draw the screenshots from the real app: real guide, real store, a clock that stands still.

``python screenshots/make.py`` writes the SVG files beside it; twice gives the same bytes. The
answers are the guide's own, and no speed is shown, since none is measured here.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lfm2chat
from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.paths import Paths
from lfm2chat.runtime import ChatService, Event
from lfm2chat.runtime.recommend import prospects
from lfm2chat.settings import Settings
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store
from lfm2chat.tui import wording
from lfm2chat.tui.app import Lfm2ChatApp

HERE = Path(__file__).parent
NOON = 1_795_608_000.0
CONVERSATIONS = (
    ("What does the seed do?",),
    ("Where are my conversations stored?", "Is anything sent over the network?"),
    ("How do I download a larger model?",),
    ("What is lfm2chat?", "How do I switch to another model?", "And how do I stop an answer?"),
)
EDITED = "Which key stops an answer?"
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: its name, size in cells, theme, and what is done before it is taken: keys,
    commands (``:lens``), or waiting for what a selector finds (``?#lens-text``).
    """

    name: str
    columns: int
    rows: int
    theme: str = "dusk"
    keys: Keys = ()


SHOTS = (
    Shot("chat", 112, 34),
    Shot("sampling", 132, 36, keys=("f4",)),
    Shot("models", 100, 30, keys=("f3",)),
    Shot("temporary", 100, 30, keys=("f6",)),
    Shot("help", 100, 40, keys=("f1",)),
    Shot("panes", 140, 36, keys=("ctrl+backslash", "ctrl+down", "ctrl+down")),
    Shot("lens", 112, 34, keys=(":lens", "?#lens-text", "n", "n")),
    Shot("versions", 112, 34, keys=("ctrl+up", "ctrl+up", "ctrl+up", "ctrl+t", "?#tree")),
    Shot("context", 100, 30, keys=(":context", "?#context")),
    Shot("presets", 112, 34, keys=(":presets", "?#listing")),
    Shot("settings", 100, 36, keys=(":app.settings", "?#settings")),
    Shot("dawn", 112, 34, theme="dawn"),
    Shot("contrast", 112, 34, theme="high-contrast"),
    Shot("narrow", 80, 24),
    Shot("small", 60, 20),
)


def clock() -> Iterator[float]:
    """A second later at each look."""
    now = NOON - 7200
    while True:
        now += 60
        yield now


def fill(store: Store) -> None:
    """Ask the guide, and keep what it says."""
    model = lfm2chat.load("guide")
    for questions in CONVERSATIONS:
        conversation = None
        messages: list[dict[str, str]] = []
        for question in questions:
            messages.append({"role": "user", "content": question})
            if conversation is None:
                begun = store.begin_conversation(question, title=question, model="guide")
            else:
                begun = store.begin_turn(conversation.id, question, model="guide")
            conversation, asked, answer = begun.result()
            text = "".join(model.chat(messages))
            messages.append({"role": "assistant", "content": text})
            keep(store, answer, text)
    # The last one has a second version of its last question.
    edited = store.edit_question(conversation.id, asked.id, EDITED, model="guide").result()
    messages[-2:] = [{"role": "user", "content": EDITED}]
    keep(store, edited.answers[0], "".join(model.chat(messages)))


def keep(store: Store, answer: Message, text: str) -> None:
    """Finish ``answer`` as the guide's."""
    store.finish_message(
        answer.id,
        text=text,
        status=MessageStatus.DONE,
        finish_reason=FinishReason.STOP,
        token_ids=(),
        tokenizer_hash="",
        model="guide",
        sampling=None,
        seed=None,
        timing=None,
    ).result()


async def take(shot: Shot, paths: Paths) -> None:
    """Open the app, press the keys, write the picture."""
    settings = Settings(animations=False, theme=shot.theme)
    store = Store.open(paths.store)

    def serve(emit: Callable[[Event], None]) -> ChatService:
        service = ChatService(paths=paths, settings=settings, store=store, emit=emit)
        # Of a machine that is always the same; no speed, since none is measured here.
        service.downloads.prospects = lambda: prospects(  # type: ignore[method-assign]
            free_memory_bytes=8 * 10**9, free_disk_bytes=90 * 10**9, machine=None
        )
        return service

    app = Lfm2ChatApp(
        serve,
        paths=paths,
        settings=settings,
    )
    async with app.run_test(size=(shot.columns, shot.rows)) as pilot:
        await until(pilot.pause, lambda: app.state.model.phase == "ready" and app.state.shown > 0)
        app.chat.prompt.area.cursor_blink = False
        await pilot.pause(0.3)
        for key in shot.keys:
            if key.startswith(":"):
                await app.run_action(key[1:], app.chat)
            elif key.startswith("?"):
                await until(pilot.pause, lambda wanted=key[1:]: bool(app.screen.query(wanted)))
            else:
                await pilot.press(key)
            await pilot.pause(0.3)
        picture = app.export_screenshot(title="lfm2chat")
    (HERE / f"{shot.name}.svg").write_text(picture, encoding="utf-8")


async def until(pause: Callable[[float], Awaitable[None]], condition: Callable[[], bool]) -> None:
    """Let the app run until ``condition`` holds."""
    while not condition():
        await pause(0.02)


def main() -> None:
    """Draw all of them."""
    wording.clock_seconds = lambda: NOON
    with tempfile.TemporaryDirectory() as home:
        os.environ["HF_HUB_CACHE"] = home  # nor the models that other programs have here
        paths = Paths.under(Path(home))
        paths.create()
        with Store.open(paths.store, clock=clock().__next__) as store:
            fill(store)
        for shot in SHOTS:
            asyncio.run(take(shot, paths))
            print(shot.name)


if __name__ == "__main__":
    main()
