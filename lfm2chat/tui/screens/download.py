"""Before a download: what it is, what it takes, under which licence; nothing without a yes."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.runtime.recommend import Prospect
from lfm2chat.tui import wording
from lfm2chat.tui.widgets.foreign import ForeignText


class DownloadScreen(ModalScreen[bool]):
    """Gives whether the model may be downloaded."""

    CSS_PATH = "download.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Download", show=False),
        Binding("escape,f3", "leave", "Cancel", show=False),
    ]

    def __init__(self, prospect: Prospect) -> None:
        super().__init__()
        self._prospect = prospect

    def compose(self) -> ComposeResult:
        card = self._prospect.card
        with Vertical(classes="card"):
            yield Static(Content(f"Download {card.name}?"), classes="card-title", markup=False)
            yield ForeignText(card.good_for, classes="download-line")
            yield ForeignText(wording.prospect(self._prospect), classes="download-line")
            yield ForeignText(
                f"{card.licence.name}, {card.licence.url}\n{card.licence.condition}",
                classes="download-note",
            )
            yield ForeignText(
                "It comes from the hub and answers as soon as it is here. You can go on writing "
                "meanwhile; nothing that you write is sent.",
                classes="download-note",
            )
            yield Static(
                Content("Enter downloads it · Esc leaves"), classes="card-hint", markup=False
            )

    def action_accept(self) -> None:
        """Download it."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Download nothing."""
        self.dismiss(False)
