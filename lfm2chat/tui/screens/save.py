"""Where to save a text: asks for the path, and before anything is replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui.saving import save, target_of
from lfm2chat.tui.widgets.foreign import ForeignText

LONGEST_PATH = 1_000
HINT = "Enter saves it · Esc leaves"
REPLACES = "Enter replaces it · Esc leaves"


class SaveScreen(ModalScreen[Path | None]):
    """Saves ``text`` and gives the path, or None when it was left. ``name`` is what the file is
    called in a folder.
    """

    CSS_PATH = "save.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", show=False)]

    def __init__(self, text: str, *, what: str, name: str) -> None:
        super().__init__()
        self._text = text
        self._what = what
        self._file_name = name
        # The file that is there already, and may be replaced with the next Enter.
        self._asked: Path | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content(f"Save {self._what}"), classes="card-title", markup=False)
            yield Input(self._file_name, id="save-path", max_length=LONGEST_PATH, compact=True)
            yield ForeignText("", id="save-note")
            yield Static(Content(HINT), id="save-hint", classes="card-hint", markup=False)

    def action_leave(self) -> None:
        """Close; nothing is written."""
        self.dismiss(None)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._asked = None
        self._say("", HINT)

    @on(Input.Submitted)
    def _enter(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip():
            self._save(event.value)

    @work(exclusive=True, exit_on_error=False)
    async def _save(self, line: str) -> None:
        try:
            path = await asyncio.to_thread(target_of, line, self._file_name)
            there = await asyncio.to_thread(path.exists)
            if there and path != self._asked:
                self._asked = path
                self._say(f"{one_line(str(path), LONGEST_PATH)} is there already", REPLACES)
                return
            await asyncio.to_thread(save, self._text, path, replace=there)
        except Lfm2ChatError as error:
            self._say(f"{error}: {error.hint}", HINT)
        except OSError as error:  # a name that no file may have
            self._say(error.strerror or str(error), HINT)
        else:
            self.dismiss(path)

    def _say(self, note: str, hint: str) -> None:
        self.query_one("#save-note", ForeignText).show(note)
        self.query_one("#save-hint", Static).update(Content(hint))
