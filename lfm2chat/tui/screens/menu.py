"""A right click in the list: what can be done to that conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.tui.keymap import keymap_of
from lfm2chat.tui.keys import Command
from lfm2chat.tui.widgets.foreign import ForeignText


class MenuScreen(ModalScreen[str | None]):
    """Gives the id of the chosen command, or None when it was left."""

    CSS_PATH = "menu.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Close", show=False)]

    def __init__(self, title: str, commands: Sequence[Command]) -> None:
        super().__init__()
        self._title = one_line(title, 60) or "untitled"
        self._commands = list(commands)

    def compose(self) -> ComposeResult:
        keymap = keymap_of(self.app)
        with Vertical(classes="card", id="menu"):
            yield ForeignText(self._title, classes="card-title")
            yield OptionList(
                *(
                    Option(
                        Content.assemble(
                            f"{entry.label:<12}",
                            (keymap.shown_keys(entry.id), "$muted"),
                        ),
                        id=entry.id,
                    )
                    for entry in self._commands
                ),
                id="menu-list",
                markup=False,
                compact=True,
            )

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def action_leave(self) -> None:
        """Close; nothing is done."""
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_id)
