"""What is known of one message: a table to read, and to copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.tui.details import Detail, as_text
from lfm2chat.tui.widgets.foreign import ForeignText


class DetailsScreen(ModalScreen[None]):
    """Names and values."""

    CSS_PATH = "details.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,d,enter", "dismiss", "Close", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]

    def __init__(self, details: Sequence[Detail]) -> None:
        super().__init__()
        self._details = details

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="details"):
            yield Static(Content("Details"), classes="card-title", markup=False)
            with VerticalScroll(id="details-list"):
                for name, value in self._details:
                    with Horizontal(classes="details-row"):
                        yield ForeignText(name, classes="details-name")
                        yield ForeignText(value, classes="details-value")
            yield Static(Content("y copies · Esc closes"), classes="card-hint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#details-list", VerticalScroll).focus()

    def action_copy(self) -> None:
        """Copy the table."""
        self.app.copy_to_clipboard(as_text(self._details))
