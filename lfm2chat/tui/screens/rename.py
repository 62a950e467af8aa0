"""F2: another title for the conversation."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from lfm2chat.chat.text import one_line

LONGEST_TITLE = 60


class RenameScreen(ModalScreen[str | None]):
    """Gives the new title, or None when it was left."""

    CSS_PATH = "rename.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", show=False)]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._before = one_line(title, LONGEST_TITLE)

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content("Rename the conversation"), classes="card-title", markup=False)
            yield Input(self._before, id="rename-input", max_length=LONGEST_TITLE, compact=True)
            yield Static(Content("Enter keeps it · Esc leaves"), classes="card-hint", markup=False)

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        title = one_line(event.value, LONGEST_TITLE)
        self.dismiss(title if title and title != self._before else None)
