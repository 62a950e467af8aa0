"""F3: which model answers next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.wording import size

NAME_LENGTH = 60
MORE = "More models: lfm2chat models pull LFM2-350M"


class ModelsScreen(ModalScreen[str | None]):
    """The guide and what lies on disk. Gives the chosen name, or None when it was left.

    ``read`` lists the models; it reads folders, so it runs in a thread.
    """

    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f3", "leave", "Cancel", show=False)]

    def __init__(self, read: Callable[[], Sequence[ModelEntry]], *, current: str) -> None:
        super().__init__()
        self._read = read
        self._current = current
        self._entries: list[ModelEntry] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content("Models"), classes="card-title", markup=False)
            yield OptionList(id="model-list", markup=False, compact=True)
            yield ForeignText("looking …", id="model-note")
            yield Static(
                Content("Enter answers with it from now on · Esc leaves"),
                classes="card-hint",
                markup=False,
            )

    async def on_mount(self) -> None:
        note = self.query_one("#model-note", ForeignText)
        try:
            entries = await asyncio.to_thread(self._read)
        except Lfm2ChatError as error:
            note.show(f"{error}\n{error.hint}")
            return
        self._entries = list(entries)
        options = self.query_one(OptionList)
        options.add_options(
            Option(self._prompt(entry), disabled=bool(entry.problem)) for entry in self._entries
        )
        names = [entry.name for entry in self._entries]
        options.highlighted = names.index(self._current) if self._current in names else 0
        options.focus()
        note.show(MORE)

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def _prompt(self, entry: ModelEntry) -> Content:
        current = entry.name == self._current
        mark = ("● ", "$success") if current else ("  ", "")
        about = "built in" if entry.builtin else "on this disk"
        details = entry.problem or (
            f"{about} · {size(entry.size_bytes)}" if entry.size_bytes else about
        )
        return Content.assemble(
            mark,
            foreign(one_line(entry.name, NAME_LENGTH), "bold" if current else ""),
            "\n  ",
            foreign(one_line(details, 200), "$error" if entry.problem else "$muted"),
        )

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self._entries[event.option_index].name)
