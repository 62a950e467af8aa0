"""A text of several lines, to be changed: the system prompt, a saved prompt."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from lfm2chat.chat.text import safe
from lfm2chat.tui.widgets.editor import EDITOR_HOLDS, CappedArea
from lfm2chat.tui.widgets.foreign import ForeignText


class TextScreen(ModalScreen[str | None]):
    """Gives the new text, which may be empty, or None where nothing was changed.

    Leaving keeps what was written: text that somebody wrote is not thrown away by Esc. ``text``
    must not be too large for an editor (:data:`~lfm2chat.tui.widgets.editor.OPENED`); ``title`` may
    be foreign.
    """

    CSS_PATH = "text.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Keep", show=False, priority=True)
    ]

    def __init__(self, title: str, text: str, *, hint: str, placeholder: str = "") -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._before = safe(text)
        self._area = CappedArea(
            self._before, id="text-area", soft_wrap=True, compact=True, placeholder=placeholder
        )
        self._note = ForeignText("", id="text-note")
        self._note.display = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield ForeignText(self._title, classes="card-title")
            yield self._area
            yield self._note
            yield Static(Content(self._hint), classes="card-hint", markup=False)

    def on_mount(self) -> None:
        self._area.move_cursor(self._area.document.end)
        self._area.focus()

    @on(CappedArea.TooLarge)
    def _refuse(self, event: CappedArea.TooLarge) -> None:
        event.stop()
        self._note.show(
            f"A paste of {len(event.text):,} characters is too long here: {EDITOR_HOLDS}. "
            "Nothing was changed."
        )
        self._note.display = True

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._note.display = False

    def action_leave(self) -> None:
        """Close and keep the text."""
        text = self._area.text.strip()
        self.dismiss(None if text == self._before.strip() else text)
