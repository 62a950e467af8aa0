"""One of a few values on one row: ``◂ dusk ▸``, or ``● on`` and ``○ off``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.message import Message as Notice
from textual.widgets import Static

from lfm2chat.tui.widgets.foreign import foreign

SWITCH = (True, False)


class Choice(Static, can_focus=True):
    """Left and right, Enter and Space, or a click choose another of ``values``.

    Values may be foreign text; True and False are shown as a switch.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Before", show=False),
        Binding("right,enter,space", "step(1)", "Next", show=False),
    ]

    class Changed(Notice):
        """The user chose ``value``."""

        def __init__(self, value: Any) -> None:
            super().__init__()
            self.value = value

    def __init__(self, values: Sequence[Any], value: Any) -> None:
        super().__init__("", classes="choice", markup=False)
        self._values = list(values)
        self.value = value

    def on_mount(self) -> None:
        self.show(self.value)

    def show(self, value: Any) -> None:
        """Show ``value``, which need not be one of the values."""
        self.value = value
        if isinstance(value, bool):
            mark = ("● ", "$success") if value else ("○ ", "$muted")
            self.update(Content.assemble(mark, "on" if value else "off"))
        else:
            self.update(Content.assemble(("◂ ", "$muted"), foreign(str(value)), (" ▸", "$muted")))

    def action_step(self, step: int) -> None:
        """Choose the next one, or the one before; after the last comes the first."""
        index = self._values.index(self.value) + step if self.value in self._values else 0
        self.show(self._values[index % len(self._values)])
        self.post_message(self.Changed(self.value))

    def on_click(self, event: Click) -> None:
        event.stop()
        back = event.x < 2 and not isinstance(self.value, bool)
        self.action_step(-1 if back else 1)
