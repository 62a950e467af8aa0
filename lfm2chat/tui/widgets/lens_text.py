"""The text of an answer, each token in its tone, with a cursor on one of them."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from textual.content import Content
from textual.events import Click
from textual.geometry import Region
from textual.message import Message as Notice
from textual.style import Style
from textual.widgets import Static

from lfm2chat.chat.text import safe
from lfm2chat.runtime.events import LensToken
from lfm2chat.tui.lens import Measure, tone_of
from lfm2chat.tui.widgets.lines import Line, rows_of

_TOKEN = "lens_token"  # noqa: S105 - the name of a mark in the style of a cell


class LensText(Static):
    """Rows of text; what is clicked becomes the token under the cursor."""

    class Moved(Notice):
        """The cursor stands on token ``at`` now."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    def __init__(self, tokens: tuple[LensToken, ...]) -> None:
        super().__init__("", id="lens-text", markup=False)
        self._tokens = tokens
        self._pieces = [safe(token.text) for token in tokens]
        self._ends = list(accumulate(len(piece) for piece in self._pieces))
        self._measure = Measure.PROBABILITY
        self._rows: list[tuple[int, int]] = []
        self.at = 0

    def on_resize(self) -> None:
        self.draw()

    def show(self, measure: Measure) -> None:
        """Colour by ``measure``."""
        self._measure = measure
        self.draw()

    def move_to(self, at: int) -> None:
        """Put the cursor on token ``at``, or the nearest there is."""
        at = max(0, min(at, len(self._tokens) - 1))
        if at != self.at:
            self.at = at
            self.draw()
            self.post_message(self.Moved(at))

    def move_row(self, step: int) -> None:
        """Put the cursor a row further down (up for negative), at about the same column."""
        start = self._start(self.at)
        row = self._row_of(start)
        if not self._rows or not 0 <= row + step < len(self._rows):
            return
        low, high = self._rows[row + step]
        self.move_to(self.at_character(min(high - 1, low + start - self._rows[row][0])))

    def at_character(self, character: int) -> int:
        """The token that holds a character of the text."""
        return min(bisect_right(self._ends, max(0, character)), len(self._tokens) - 1)

    @property
    def cursor_region(self) -> Region:
        """The row of the cursor, to be scrolled into view."""
        return Region(0, self._row_of(self._start(self.at)), self.size.width, 1)

    def draw(self) -> None:
        """Draw everything anew, at the width of now."""
        width = self.content_size.width
        if width <= 0:
            return
        lines = [Line(line) for line in self._coloured().split("\n", allow_blank=True)]
        rows = list(rows_of(lines, width, number=0))
        self._rows, start, number = [], 0, 0
        for row in rows:
            if row.number != number:  # the line end is a character too
                start, number = start + 1, row.number
            length = len(row.content)
            self._rows.append((start, start + max(1, length)))
            start += length
        self.update(Content("\n").join(row.content for row in rows))

    def on_click(self, event: Click) -> None:
        event.stop()
        at = event.style.meta.get(_TOKEN)
        if isinstance(at, int):
            self.move_to(at)

    def _coloured(self) -> Content:
        parts: list[Content] = []
        for place, (token, piece) in enumerate(zip(self._tokens, self._pieces, strict=True)):
            part = Content(piece).stylize(Style.from_meta({_TOKEN: place}))
            style = tone_of(token, self._measure).style
            if style:
                part = part.stylize(style)
            if place == self.at:
                part = part.stylize("reverse")
            parts.append(part)
        return Content("").join(parts)

    def _start(self, at: int) -> int:
        return self._ends[at - 1] if at else 0

    def _row_of(self, character: int) -> int:
        starts = [start for start, _ in self._rows]
        return max(0, bisect_right(starts, character) - 1)
