"""Every place of the screen that shows foreign text, visited one after the other.

:func:`fill` puts texts wherever the scripted service or the home has room for some; :func:`visit`
opens each screen, pastes into each field, and gives the name of each place once it is drawn. A
new screen that shows foreign text gets its lines here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.events import Paste

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.shares import ContextMap
from lfm2chat.chat.turns import MessageStatus
from lfm2chat.runtime.events import (
    DownloadFinished,
    LensToken,
    ModelFailed,
    OtherToken,
    SaveFailed,
    Scored,
    StoreNotice,
)
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.spec import SamplingParams
from lfm2chat.store.archive import Tree
from lfm2chat.tui.screens.link import LinkScreen
from lfm2chat.tui.screens.models import ModelsScreen
from lfm2chat.tui.state import Draft

MARKDOWN = (
    "{0}",
    "```python\n{0};{0}\n```",
    "`{0}` **{0}** *{0}* ~~{0}~~",
    "> {0}\n> > {0}",
    "- {0}\n  1. {0}",
    "# {0}",
    "| {0} | b |\n|---|---|\n| a | {0} |",
    "[{0}](http://e.org/{0}) ![{0}](x) <http://e.org/{0}>",
    "<div>{0}</div>\n\n<!-- {0} -->",
)

SHOWN_AT_ONCE = 20


def answers(texts: Sequence[str]) -> list[str]:
    """``texts``, some in each answer, in each form of Markdown."""
    joined = (" ".join(texts[start : start + 6]) for start in range(0, len(texts), 6))
    return ["\n\n".join(form.format(text) for form in MARKDOWN) for text in joined]


def plain_answers(texts: Sequence[str]) -> list[str]:
    """``texts``, many in each answer, as they are."""
    return ["\n\n".join(texts[start : start + 50]) for start in range(0, len(texts), 50)]


Said = Callable[[Sequence[str]], list[str]]


def fill(service: Any, themes: Path, texts: Sequence[str], *, said: Said = answers) -> None:
    """Put ``texts`` into ``service``, and into the user's ``themes``; ``said`` gives the answers
    that they stand in.
    """
    for number, text in enumerate(texts):
        service.store_conversation(text, [], updated_at=float(number))
        service.shelf.save_preset(text, system_prompt=text)
        service.shelf.save_prompt(text, f"{text} {{{{topic}}}}")
    for text in texts:
        # A space after the name: a folder of such a name may well exist on somebody's disk.
        entry = ModelEntry(text, Path("/models") / text.replace("/", "").replace("\x00", ""), 12)
        service.entries += [entry, replace(entry, name=text + " ", problem=text)]
    written = [part for text in said(texts) for part in (text, text)]
    open_one = service.store_conversation(
        " ".join(texts),
        written,
        system_prompt="\n".join(texts),
        draft="\n".join(texts),
        sampling=SamplingParams(stop=tuple(texts)),
    )
    branch = service.branches[open_one.id]
    files = tuple(Attachment(text, text) for text in texts)
    branch[0] = replace(branch[0], attachments=files)
    for number in range(1, len(branch), 2):
        branch[number] = replace(branch[number], model=texts[number // 2 % len(texts)])
    branch[-1] = replace(branch[-1], status=MessageStatus.FAILED, error=" ".join(texts))
    service.branches.siblings = lambda _: {branch[-1].id: (branch[-1].id, 99_999)}
    service.branches.tree = lambda key: Tree(service.stored[key], tuple(service.branches[key]))
    themes.mkdir(parents=True)
    good = Path(__file__).parents[1] / "themes" / "dusk.toml"
    (themes / "mine.toml").write_text(
        good.read_text().replace('label = "', 'label = "' + _escaped(texts[0]))
    )
    for number, text in enumerate(texts):
        (themes / f"bad{number}.toml").write_text(f'label = "x"\n"{_escaped(text)}" = 1\n')


def _escaped(text: str) -> str:
    return "".join(f"\\U{ord(character):08X}" for character in text)


async def visit(
    pilot: Any,
    service: Any,
    wait: Callable[..., Any],
    texts: Sequence[str],
    *,
    said: Said = answers,
) -> AsyncIterator[str]:
    """Open each place in turn and give its name while it is on the screen; ``said`` as above."""
    app = pilot.app
    joined = "\n".join(texts)
    await wait(pilot, lambda: app.state.shown > 0 and app.chat.prompt.area.text)
    yield "conversation, list, draft, theme errors"
    for _ in range(30):
        if app.chat.transcript.scroll_y <= 0:
            break
        await pilot.press("pageup")
        yield "conversation"
    async for place in _streaming(pilot, service, texts, said(texts)):
        yield place
    async for place in _notices(app, service, texts):
        await pilot.pause()
        yield place
    async for place in _listings(pilot, app, wait, texts):
        yield place
    async for place in _fields(pilot, app, wait, joined):
        yield place
    async for place in _others(pilot, app, service, wait, texts, answer=said(texts)[0]):
        yield place


async def _streaming(
    pilot: Any, service: Any, texts: Sequence[str], said: Sequence[str]
) -> AsyncIterator[str]:
    app = pilot.app
    app.chat.prompt.put(Draft(texts[0]))
    await pilot.press("enter")
    await pilot.pause()
    turn = max(service.turns)
    for text in said:
        for start in range(0, len(text), len(text) // 3):
            service.say(turn, text[start : start + len(text) // 3])
            await pilot.pause(0.06)
            yield "a streamed answer"
    app.chat.prompt.put(Draft(texts[-1]))
    await pilot.press("enter")
    await pilot.pause()
    yield "the queue"
    service.fail(turn, " ".join(texts), texts[0])
    await pilot.pause(0.1)
    yield "a failed turn"


async def _notices(app: Any, service: Any, texts: Sequence[str]) -> AsyncIterator[str]:
    # A few at a time: no more have room on the screen, and many slow each other down.
    for start in range(0, len(texts), SHOWN_AT_ONCE):
        for text in texts[start : start + SHOWN_AT_ONCE]:
            app._fail(text, text)
            service.emit(StoreNotice(text, text))
            service.emit(SaveFailed(text, text))
            service.emit(ModelFailed(text, text, text, 3))
            service.emit(DownloadFinished(text, text))
        yield "notices"
        yield "notices"
        app.clear_notifications()


async def _listings(
    pilot: Any, app: Any, wait: Callable[..., Any], texts: Sequence[str]
) -> AsyncIterator[str]:
    for command in ("presets", "prompts"):
        await app.run_action(f"screen.{command}", app.chat)
        await wait(pilot, lambda: app.screen.query("#listing"))
        for key in ("home", "end"):
            await pilot.press(key)
            yield command
        await pilot.press("escape")
    await pilot.press("f3")
    await wait(pilot, lambda: app.screen.query("#model-list"))
    await wait(pilot, lambda: app.screen.query_one("#model-list").option_count > 4)
    assert isinstance(app.screen, ModelsScreen)
    for _ in range(5):
        await pilot.press("down")
        yield "models"
    await pilot.press("x")
    await pilot.pause()
    yield "remove a model"
    await pilot.press("escape")
    await pilot.press("ctrl+p")
    await pilot.pause(0.2)
    for character in "open":
        await pilot.press(character)
    await pilot.pause(0.3)
    for key in ("end", "home"):
        await pilot.press(key)
        yield "palette"
    await pilot.press("escape")
    await pilot.press("ctrl+p")
    for character in "theme":
        await pilot.press(character)
    await pilot.pause(0.3)
    yield "palette of themes"
    await pilot.press("escape")


async def _fields(
    pilot: Any, app: Any, wait: Callable[..., Any], joined: str
) -> AsyncIterator[str]:
    async def paste(name: str) -> str:
        # As the terminal's driver gives it.
        app.post_message(Paste(joined.replace("\n", " ")))
        await pilot.pause(0.1)
        app.post_message(Paste(joined))
        await pilot.pause(0.1)
        return f"pasted into {name}"

    yield await paste("the prompt")
    await pilot.press("f2")
    await wait(pilot, lambda: app.screen.query("#ask-input"))
    yield "rename"
    await pilot.press("ctrl+a", "delete")
    yield await paste("a name")
    await pilot.press("escape")
    await app.run_action("screen.system", app.chat)
    await wait(pilot, lambda: app.screen.query("#text-area"))
    yield "the system prompt"
    yield await paste("the system prompt")
    await pilot.press("escape")
    await pilot.press("ctrl+p")
    await pilot.pause()
    yield await paste("the palette")
    await pilot.press("escape")
    await pilot.press("f4")
    yield await paste("a parameter")
    await pilot.press("f4")
    await app.run_action("screen.prompts", app.chat)
    await wait(pilot, lambda: app.screen.query("#listing"))
    await pilot.press("enter")
    await wait(pilot, lambda: app.screen.query("#variables"))
    yield "variables"
    yield await paste("a variable")
    await pilot.press("enter")
    await wait(pilot, lambda: app.screen is app.chat)
    yield "a saved prompt in the prompt"
    app.chat.prompt.clear()
    app.action_settings()
    await pilot.pause()
    for _ in range(6):
        yield await paste("a setting")
        await pilot.press("tab")
    await pilot.press("escape", "escape")


async def _others(
    pilot: Any,
    app: Any,
    service: Any,
    wait: Callable[..., Any],
    texts: Sequence[str],
    *,
    answer: str,
) -> AsyncIterator[str]:
    await wait(pilot, lambda: app.screen is app.chat)
    await pilot.press("ctrl+t")
    await wait(pilot, lambda: app.screen.query("#tree"))
    for key in ("home", "end"):
        await pilot.press(key)
        yield "tree"
    await pilot.press("escape")
    await wait(pilot, lambda: app.screen is app.chat)
    service.context = ContextMap(
        9, (), 9, 99, 9, 999, left_out=2, fits=True, summary=" ".join(texts), summary_tokens=81
    )
    await app.run_action("context", app.chat)
    await wait(pilot, lambda: app.screen.query("#context-summary"))
    for key in ("home", "end"):
        await pilot.press(key)
        yield "context"
    await pilot.press("escape")
    await wait(pilot, lambda: app.screen is app.chat)
    app.push_screen(LinkScreen(f"http://e.org/{' '.join(texts)}"))
    await pilot.pause()
    yield "link"
    await pilot.press("escape")
    await app.run_action("screen.lens", app.chat)
    request = service._next
    others = tuple(OtherToken(text, number, 0.1) for number, text in enumerate(texts))
    tokens = tuple(LensToken(text, number, 0.5, 1.0, others) for number, text in enumerate(texts))
    service.emit(Scored(request, 1, " ".join(texts), tokens))
    await wait(pilot, lambda: app.screen.query("#lens-text"))
    yield "lens"
    await pilot.press("escape")
    await wait(pilot, lambda: app.screen is app.chat)
    await pilot.press("ctrl+g")
    await pilot.pause()
    yield "jump"
    await pilot.press("escape")
    await pilot.press("f1")
    await pilot.pause()
    yield "help"
    await pilot.press("escape")
    await pilot.press("ctrl+backslash")
    await wait(pilot, lambda: len(app.chat.panes) == 2)
    with_answers = max(service.branches, key=lambda key: len(service.branches[key]))
    other = service.store_conversation(texts[0], ["q", answer])
    app.chat.open_conversation(other.id)
    await wait(pilot, lambda: app.state.shown == other.id)
    yield "panes"
    assert with_answers != other.id
    await app.run_action("screen.difference", app.chat)
    await wait(pilot, lambda: app.screen.query("#difference"))
    await pilot.pause(0.1)
    yield "difference"
    await pilot.press("escape")
