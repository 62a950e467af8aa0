"""What a person sees, held against a text file: the rows of the screen, and the style of each cell.

Beside this file lies one ``<name>-<columns>x<rows>.txt`` for each state of the screen. Written anew
with ``LFM2CHAT_SNAPSHOTS=write pytest tests/tui/snapshots -n 0``; then look at what ``git diff``
says. A file that is missing fails the test.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual._context import visible_screen_stack
from textual.widgets import Input, TextArea

from lfm2chat.paths import Paths
from lfm2chat.tui.app import Lfm2ChatApp

# Not the SVG that Textual exports: one has some 60 kB, differs with every version of the libraries,
# and nobody reads what changed in it.
FOLDER = Path(__file__).parent
WRITING = os.environ.get("LFM2CHAT_SNAPSHOTS") == "write"
PATIENCE_S = 20.0
# Longer than what any search, count or list waits for the next key.
STILL_S = 0.8
ATTRIBUTES = ("bold", "dim", "italic", "underline", "strike")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True)
class Cell:
    """One column of a row."""

    blank: bool
    ground: str
    style: str


class Stage:
    """An app that runs at one size."""

    def __init__(self, app: Lfm2ChatApp, pilot: Any, size: tuple[int, int]) -> None:
        self.app = app
        self.pilot = pilot
        self.size = size

    async def press(self, *keys: str) -> None:
        """Press keys, and let the app do what they say."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def run(self, command: str) -> None:
        """Carry out a command that has no key of its own."""
        await self.app.run_action(command, self.app.chat)
        await self.pilot.pause()

    async def until_it_says(self, words: str) -> None:
        """Let the app run until ``words`` stand in one row of the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(words in row for row in self.rows()):
            assert time.monotonic() < deadline, f"{words!r} is never seen"
            await self.pilot.pause(0.01)

    def rows(self) -> list[str]:
        """The rows of the screen, as they read."""
        return [strip.text for strip in self._strips()]

    async def looks_like(self, name: str) -> None:
        """Fail unless the screen comes to be what the file of that name says."""
        columns, rows = self.size
        path = FOLDER / f"{name}-{columns}x{rows}.txt"
        if WRITING:
            path.write_text(await self._still(), encoding="utf-8")
        assert path.exists(), f"{path.name} is missing: {(__doc__ or '').strip()}"
        wanted = path.read_text(encoding="utf-8")
        deadline = time.monotonic() + PATIENCE_S
        while (seen := self._seen()) != wanted and time.monotonic() < deadline:
            await self.pilot.pause(0.02)
        lines = (wanted.split("\n"), seen.split("\n"))
        told = unified_diff(*lines, path.name, "seen", n=1, lineterm="")
        assert seen == wanted, "\n" + "\n".join(told)

    async def _still(self) -> str:
        """What is seen once nothing moves any more."""
        seen, since = "", time.monotonic()
        while time.monotonic() - since < STILL_S:
            await self.pilot.pause(0.05)
            if (now := self._seen()) != seen:
                seen, since = now, time.monotonic()
        return seen

    def _strips(self) -> list[Any]:
        screen = self.app.screen
        for field in screen.query("*").results(Input | TextArea):  # type: ignore[arg-type]
            field.cursor_blink = False
        # As a screenshot is taken: with the screens that lie below a card.
        visible_screen_stack.set(self.app._background_screens)
        return screen._compositor.render_strips()

    def _seen(self) -> str:
        strips = self._strips()
        cells = [[cell for part in strip for cell in _cells(part)] for strip in strips]
        return described([strip.text for strip in strips], cells)


def _cells(segment: Segment) -> list[Cell]:
    """A segment's style once for each of its columns, and whether a character is seen there."""
    style = segment.style or Style()
    color, ground = (one.name if one else "-" for one in (style.color, style.bgcolor))
    if style.reverse:
        color, ground = ground, color
    marks = [name for name in ATTRIBUTES if getattr(style, name)]
    lined = style.underline or style.strike
    return [
        Cell(character == " " and not lined, ground, " ".join([color, "on", ground, *marks]))
        for character in segment.text
        for _ in range(cell_len(character))
    ]


def described(texts: list[str], cells: list[list[Cell]]) -> str:
    """Rows of text; below them, by row, the columns that are not in the commonest style."""
    rows = [_styles(row) for row in cells]
    every = [style for row in rows for style in row]
    base = max(sorted(set(every)), key=every.count)
    letters = dict(zip([s for s in dict.fromkeys(every) if s != base], LETTERS, strict=False))
    lines = [f"{number:2}|{text}".rstrip() for number, text in enumerate(texts)]
    lines += ["", f"all else: {base}"]
    for number, row in enumerate(rows):
        runs, at = [], 0
        for style, run in groupby(row):
            end = at + len(list(run)) - 1
            if style != base:
                runs.append(f"{at}-{end} {letters[style]}")
            at = end + 1
        if runs:
            lines.append(f"{number:2}: {'  '.join(runs)}")
    lines += [f"{letter} = {style}" for style, letter in letters.items()]
    return "\n".join(lines) + "\n"


def _styles(row: list[Cell]) -> list[str]:
    """The style of each column. Of a blank only the ground is seen: it goes with the words that it
    stands between, or has no colour of its own.
    """
    styles: list[str] = []
    parts = [(key, list(run)) for key, run in groupby(row, lambda c: (c.blank, c.ground))]
    for at, ((blank, ground), run) in enumerate(parts):
        if not blank:
            styles += [cell.style for cell in run]
            continue
        before = styles[-1] if styles else ""
        after = parts[at + 1][1][0].style if at + 1 < len(parts) else ""
        between = before == after and f" on {ground}" in before
        styles += [before if between else f"blank on {ground}"] * len(run)
    return styles


@pytest.fixture
def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One time zone, one terminal, and an empty folder whose name is not seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def stage(
    still: None, app: Lfm2ChatApp
) -> Callable[[tuple[int, int]], AbstractAsyncContextManager[Stage]]:
    """Opens the app at a size, with its model there."""
    app.paths = Paths.under(Path("home"))
    app.paths.create()

    @asynccontextmanager
    async def opened(size: tuple[int, int]) -> AsyncIterator[Stage]:
        async with app.run_test(size=size) as pilot:
            on = Stage(app, pilot, size)
            await on.until_it_says("ready")
            yield on

    return opened
