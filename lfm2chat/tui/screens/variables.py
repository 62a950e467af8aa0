"""The variables of a saved prompt, one field for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input

from lfm2chat.chat.text import safe
from lfm2chat.tui.widgets.foreign import ForeignText
from lfm2chat.tui.widgets.phrases import Hint


class VariablesScreen(ModalScreen[dict[str, str] | None]):
    """Gives a value for each of ``names``, or None when it was left."""

    CSS_PATH = "variables.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", show=False)]

    def __init__(self, title: str, names: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._inputs = {name: Input(compact=True) for name in names}

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield ForeignText(self._title, classes="card-title")
            with VerticalScroll(id="variables", can_focus=False):
                for name, field in self._inputs.items():
                    with Horizontal(classes="variable"):
                        yield ForeignText(name, classes="variable-name")
                        yield field
            yield Hint("Enter goes on, at the last one it inserts the prompt · Esc leaves")

    def action_leave(self) -> None:
        """Close and insert nothing."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _go_on(self, event: Input.Submitted) -> None:
        event.stop()
        fields = list(self._inputs.values())
        following = fields.index(event.input) + 1
        if following < len(fields):
            fields[following].focus()
        else:
            self.dismiss({name: safe(field.value) for name, field in self._inputs.items()})
