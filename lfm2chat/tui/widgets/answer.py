"""The text of one answer: streamed as Markdown.

Rows of the message that it is a part of. It is fed pieces, which are joined and drawn at the pace
that a frame's cost allows (:mod:`lfm2chat.tui.pace`), and settles on the stored text. A frame
parses and lays out the block that is being written, no other, and repaints the rows that differ.
While the reader is further up pieces are kept, and drawn when the reader comes back or the answer
ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.cache import LRUCache
from textual.geometry import Region
from textual.message import Message as Notice
from textual.strip import Strip
from textual.style import Style
from textual.timer import Timer

from lfm2chat.chat.text import safe
from lfm2chat.tui.pace import SHORTEST_S, Pace
from lfm2chat.tui.widgets.blocks import stacked
from lfm2chat.tui.widgets.document import Document, needs_the_end
from lfm2chat.tui.widgets.hits import Hits
from lfm2chat.tui.widgets.label import labelled
from lfm2chat.tui.widgets.lines import Block, Row, rows_of
from lfm2chat.tui.widgets.part import Part
from lfm2chat.tui.widgets.passages import Stretch, rows_between, stretches

if TYPE_CHECKING:
    from lfm2chat.tui.widgets.column import Column

# A text longer than this is read in a thread when it is shown at once.
READ_AT_ONCE = 4_000
# Rows that are kept as they were drawn, those drawn last.
MOST_STRIPS = 500
# By how much an answer grows while it is written, in rows and as a share of the screen's height:
# each time the whole screen is laid out.
ROOM_SHARE, LEAST_ROOM, MOST_ROOM = 5, 3, 8


class Answer(Part):
    """One answer. ``source`` is the text that is drawn, after ``safe``."""

    class LinkClicked(Notice):
        """A link to ``href`` was clicked; nothing is opened."""

        def __init__(self, href: str) -> None:
            super().__init__()
            self.href = href

    class CodeAsked(Notice):
        """The label of a code block was clicked: block ``number`` of the answer in ``column``."""

        def __init__(self, column: Column, number: int) -> None:
            super().__init__()
            self.column = column
            self.number = number

    class Unseen(Notice):
        """``lines`` more have come that are not drawn, because the reader is further up."""

        def __init__(self, lines: int) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, text: str = "", *, streaming: bool = False) -> None:
        super().__init__(name="answer", below=1)
        self._hits: Hits | None = None
        self._stretches: tuple[int, int, list[Stretch]] | None = None
        # Blocks of code whose label is shown: where the cursor is, and where the mouse is.
        self._labels: dict[str, int] = {}
        self._document = Document()
        self._pending = safe(text)
        self._streaming = streaming
        self._held = False
        # Of what is pending, how much was told of.
        self._told = 0
        self._pace = Pace()
        self._timer: Timer | None = None
        self._lock = asyncio.Lock()
        self._rows: list[Row] = []
        self._lines: list[str] = []
        # Rows and lines of the finished blocks, which stay; and of how many blocks that is.
        self._kept = (0, 0, 0)
        self._laid_out_for = 0
        self._strips: LRUCache[int, Strip] = LRUCache(MOST_STRIPS)
        # The style under them, and the lines above, when they were drawn.
        self._drawn_for: tuple[Style, int] | None = None

    async def begin(self) -> None:
        """Read what there is, and draw what comes; when its message is mounted."""
        if self._streaming:
            self._timer = self.column.set_interval(SHORTEST_S, self._tick)
        if len(self._pending) > READ_AT_ONCE or needs_the_end(self._pending):
            async with self._lock:
                whole, self._pending = self._pending, ""
                self._document = await asyncio.to_thread(Document.whole, whole)
                self._changed()
        else:
            self._draw()

    # --- what it says -------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """What is drawn now, as Markdown source."""
        return self._document.source

    @property
    def text_lines(self) -> list[str]:
        """The lines as they are copied, without bullets and bars."""
        self._lay_out(self._laid_out_for or 80)
        return list(self._lines)

    @property
    def lines(self) -> Sequence[str]:
        return self._lines

    def blocks(self) -> list[Stretch]:
        """Where its blocks stand, in lines; counted anew when the text or the width changes."""
        width = self._laid_out_for or 80
        state = (width, len(self.source))
        if self._stretches is None or self._stretches[:2] != state:
            drawn = [*self._document.finished, *self._document.last]
            self._stretches = (*state, stretches(drawn, width))
        return self._stretches[2]

    def rows(self, stretch: Stretch) -> tuple[int, int]:
        """The rows that a block fills: the first, and the one after the last."""
        self._lay_out(self._laid_out_for or 80)
        return rows_between(self._rows, stretch)

    def row_of(self, line: int) -> int:
        """The first row of a line."""
        return self.rows(Stretch(line, line + 1))[0]

    def block_at(self, row: int) -> int | None:
        """Which block row ``row`` belongs to."""
        for number, stretch in enumerate(self.blocks()):
            first, end = self.rows(stretch)
            if first <= row < end:
                return number
        return None

    def find(self, hits: Hits | None) -> None:
        """Mark what was looked for, in the rows that are drawn."""
        if hits != self._hits:
            self._hits = hits
            self._strips.clear()
            self.refresh()

    def label(self, who: str, number: int | None) -> None:
        """Show the label of code block ``number`` for ``who``: the cursor or the mouse."""
        before = set(self._labels.values())
        self._labels.pop(who, None)
        if number is not None:
            self._labels[who] = number
        if before != set(self._labels.values()):
            self.refresh()

    def point(self, row: int | None) -> None:
        """The mouse is on that row of it, or, for None, elsewhere."""
        number = None if row is None else self.block_at(row)
        self.label("mouse", number if number is not None and self.blocks()[number].code else None)

    def feed(self, text: str) -> None:
        """Add raw text at the end; it is drawn with the next frame."""
        self._pending += safe(text)

    def hold(self, held: bool) -> None:
        """Draw nothing more for a while (the reader is further up), or go on drawing."""
        # What is whole is drawn, wherever the reader is.
        self._held = held and self._streaming
        self._told = 0

    async def settle(self, text: str) -> None:
        """End the stream on ``text``, the stored answer: what is shown equals ``safe(text)``."""
        self._tell_unseen()
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._streaming = self._held = False
        final = safe(text)
        async with self._lock:
            if len(self._pending) <= READ_AT_ONCE:
                self._draw()
            self.refresh(layout=True)
            self._pending = ""
            if self.source != final or needs_the_end(final):
                self._document = await asyncio.to_thread(Document.whole, final)
                self._laid_out_for = 0
                self._changed()

    async def _tick(self) -> None:
        """Draw a frame, if there is something to draw and its time has come."""
        if self._held:
            self._tell_unseen()
            return
        if not self._pending or self._lock.locked() or not self._pace.due():
            return
        if len(self._pending) > READ_AT_ONCE:
            # Held for long: no key waits until all of it is read.
            await self._read_in_a_thread()
            return
        self._pace.begin()
        self._draw()
        self.column.call_after_refresh(self._pace.end)

    def _tell_unseen(self) -> None:
        """Tell how many lines wait to be drawn, where that has changed."""
        if not self._held or self._told == len(self._pending):
            return
        new = self._pending[self._told :]
        self._told = len(self._pending)
        # As it was laid out: what is not shown has no size.
        width = self._laid_out_for or self.column.app.size.width or 1
        self.column.post_message(
            self.Unseen(sum(1 + len(line) // width for line in new.split("\n")) - 1)
        )

    def _draw(self) -> None:
        """Draw what was fed since the last frame."""
        if self._held or not self._pending:
            return
        piece, self._pending = self._pending, ""
        self._document.append(piece)
        self._changed()

    async def _read_in_a_thread(self) -> None:
        """As :meth:`_draw`, for much text. What is laid out meanwhile may lack its last block."""
        async with self._lock:
            piece, self._pending = self._pending, ""
            await asyncio.to_thread(self._document.append, piece)
            self._changed()

    # --- rows ---------------------------------------------------------------------------------

    def lay_out(self, width: int) -> int:
        self._lay_out(width)
        rows = len(self._rows)
        # While it grows there is room for more: a row within it is painted, and nothing else moves.
        room = min(MOST_ROOM, max(LEAST_ROOM, self.column.app.size.height // ROOM_SHARE))
        return -(-rows // room) * room if self._streaming and rows > room else rows

    def _changed(self) -> None:
        """Lay out what is new, and repaint the rows that differ."""
        width = self.size.width
        if not width or width != self._laid_out_for:
            self.refresh(layout=True)
            return
        before = self._rows[self._kept[0] :]
        first = self._kept[0]
        self._lay_out(width, anew=True)
        after = self._rows[first:]
        same = 0
        for old, new in zip(before, after, strict=False):
            if not old.same(new):
                break
            same += 1
        for row in range(first + same, first + max(len(before), len(after))):
            self._strips.discard(row)
        rows = max(len(before), len(after)) - same
        if not rows:
            return
        column = self.column
        changed = Region(0, self.top + first + same, column.content_width, rows)
        grows = len(self._rows) > self.height
        shrinks = not self._streaming and len(before) != len(after)
        column.refresh(changed, layout=grows or shrinks)

    def _lay_out(self, width: int, *, anew: bool = False) -> None:
        """Rows for ``width``; those of finished blocks stay where nothing else changed."""
        if width == self._laid_out_for and not anew:
            return
        if width != self._laid_out_for:
            self._kept = (0, 0, 0)
            self._strips.clear()
            self._laid_out_for = width
        rows, lines, blocks = self._kept
        del self._rows[rows:]
        del self._lines[lines:]
        finished = self._document.finished[blocks:]
        self._add(finished, width)
        self._kept = (len(self._rows), len(self._lines), blocks + len(finished))
        self._add(self._document.last, width)

    def _add(self, blocks: list[Block], width: int) -> None:
        lines = list(stacked(blocks, width, tight=False, below=bool(self._lines)))
        self._rows += rows_of(lines, width, number=len(self._lines))
        self._lines += [line.content.plain for line in lines]

    # --- drawing ------------------------------------------------------------------------------

    def row(self, y: int) -> Row | None:
        if not 0 <= y < len(self._rows):
            return None
        row = self._rows[y]
        return row if self._hits is None else self._hits.on(row)

    def draw(self, y: int) -> Strip:
        """Row ``y``, as it was drawn before where nothing changed, with the label of its code."""
        width, above = self.column.text_width, self.column.lines_above(self)
        drawn_for = (self.column.base, above)
        if drawn_for != self._drawn_for:
            self._drawn_for = drawn_for
            self._strips.clear()
        row = self.row(y)
        if row is None or self.selected(above + row.number) is not None:
            return super().draw(y)
        strip = self._strips.get(y)
        if strip is None or strip.cell_length != width:
            strip = self._strips[y] = row.strip(width, self.styles, None, Style(), above=above)
        for number in self._labels.values():
            blocks = self.blocks()
            if number < len(blocks) and self.rows(blocks[number])[0] == y:
                return labelled(strip, number, self.styles)
        return strip

    def forget_styles(self) -> None:
        """Another theme: the same rows in other colours."""
        self._strips.clear()

    def link(self, number: int) -> str:
        """The address of link ``number``; empty where there is none."""
        return self._document.link(number)
