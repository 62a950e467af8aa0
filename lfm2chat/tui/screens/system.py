"""What the model is told first, in this conversation."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from lfm2chat.chat.text import safe


class SystemPromptScreen(ModalScreen[str | None]):
    """Gives the new system prompt, which may be empty, or None where nothing was changed.

    Leaving keeps what was written: text that somebody wrote is not thrown away by Esc.
    """

    CSS_PATH = "system.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Keep", show=False, priority=True)
    ]

    def __init__(self, prompt: str) -> None:
        super().__init__()
        self._before = safe(prompt)
        self._area = TextArea(
            self._before,
            id="system-area",
            soft_wrap=True,
            compact=True,
            placeholder="Nothing yet. You are a patient teacher of physics …",
        )

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content("System prompt"), classes="card-title", markup=False)
            yield self._area
            yield Static(
                Content(
                    "The model reads it before everything else, from the next message on: the "
                    "conversation is read anew once. Esc keeps what stands here."
                ),
                classes="card-hint",
                markup=False,
            )

    def on_mount(self) -> None:
        self._area.move_cursor(self._area.document.end)
        self._area.focus()

    def action_leave(self) -> None:
        """Close and keep the text."""
        text = self._area.text.strip()
        self.dismiss(None if text == self._before.strip() else text)
