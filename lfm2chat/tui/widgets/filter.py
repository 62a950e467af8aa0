"""The line above the conversation list: what is typed into it narrows the list at once."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message as Notice
from textual.widgets import Input

LONGEST = 200


class ListFilter(Input):
    """Typing filters; Down or Enter goes on in the list, Esc clears."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Clear", show=False),
        Binding("down", "down", "List", show=False),
    ]

    class Left(Notice):
        """The user goes on in the list; ``cleared`` when the filter was taken away."""

        def __init__(self, *, cleared: bool) -> None:
            super().__init__()
            self.cleared = cleared

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            placeholder="/ to filter", id=id, max_length=LONGEST, compact=True,
            select_on_focus=False,
        )  # fmt: skip

    def begin(self, text: str) -> None:
        """Take the focus, with ``text`` behind what stands here."""
        self.focus()
        self.value += text
        self.cursor_position = len(self.value)

    def action_leave(self) -> None:
        """Clear the filter and go back to the list."""
        self.value = ""
        self.post_message(self.Left(cleared=True))

    def action_down(self) -> None:
        """Go on in the list."""
        self.post_message(self.Left(cleared=False))
