"""The room of messages that are not mounted: empty rows, about as many as the messages take."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static

from lfm2chat.chat.turns import Message
from lfm2chat.tui.widgets.placed import DrawnRows, PlacedOnce

# Rows of a message beside its text: who wrote it, and the space below.
ROWS_AROUND = 3


class Gap(PlacedOnce, Static):
    """Stands for ``count`` messages; ``rows`` high, 0 and not shown where there are none."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._styles_cache = DrawnRows()
        self.rows = self._count = 0
        self.display = False

    def show(self, count: int, rows: int, said: str) -> None:
        """Stand for ``count`` messages of about ``rows`` rows in all."""
        if (count, rows) == (self._count, self.rows):
            return
        self._count = count
        self.rows = max(1, rows) if count else 0
        self.display = count > 0
        self.update(Content(said))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return self.rows


def expected_rows(message: Message, width: int) -> int:
    """How many rows ``message`` takes, roughly, without reading it."""
    return message.text.count("\n") + len(message.text) // max(1, width) + ROWS_AROUND
