"""One line of text, asked for: a title, a name, a path."""

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
from lfm2chat.tui.widgets.foreign import ForeignText

LONGEST = 60


class AskScreen(ModalScreen[str | None]):
    """Gives the line, safe and stripped, or None when it was left or stayed as it was.

    ``before`` stands in the field at first, ``longest`` is in characters; ``hint`` says what Enter
    does.
    """

    CSS_PATH = "ask.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", show=False)]

    def __init__(
        self, question: str, *, before: str = "", hint: str = "keeps it", longest: int = LONGEST
    ) -> None:
        super().__init__()
        self._question = question
        self._before = one_line(before, longest)
        self._hint = hint
        self._longest = longest

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield ForeignText(self._question, classes="card-title")
            yield Input(self._before, id="ask-input", max_length=self._longest, compact=True)
            hint = f"Enter {self._hint} · Esc leaves"
            yield Static(Content(hint), classes="card-hint", markup=False)

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        line = one_line(event.value, self._longest)
        self.dismiss(line if line and line != self._before else None)
