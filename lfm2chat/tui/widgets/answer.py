"""The text of one answer: streamed as Markdown.

One widget draws all of it, row by row (Textual's line API). It is fed pieces, which are joined and
drawn at the pace that a frame's cost allows (:mod:`lfm2chat.tui.pace`), and settles on the stored
text. A frame parses and lays out the block that is being written, no other, and repaints the rows
that differ. While the reader is further up pieces are kept, and drawn when the reader comes back or
the answer ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from textual.cache import LRUCache
from textual.events import MouseMove
from textual.geometry import Region, Size
from textual.message import Message as Notice
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.timer import Timer
from textual.widget import Widget

from lfm2chat.chat.text import safe
from lfm2chat.tui.pace import SHORTEST_S, Pace
from lfm2chat.tui.widgets.blocks import stacked
from lfm2chat.tui.widgets.document import Document, needs_the_end
from lfm2chat.tui.widgets.hits import Hits
from lfm2chat.tui.widgets.label import labelled
from lfm2chat.tui.widgets.lines import Block, Row, extract, rows_of
from lfm2chat.tui.widgets.passages import Stretch, rows_between, stretches
from lfm2chat.tui.widgets.placed import PlacedOnce

# A text longer than this is read in a thread when it is shown at once.
READ_AT_ONCE = 4_000
# Rows that are kept as they were drawn, those drawn last.
MOST_STRIPS = 500
# By how much an answer grows while it is written, in rows and as a share of the screen's height:
# each time the whole screen is laid out.
ROOM_SHARE, LEAST_ROOM, MOST_ROOM = 5, 3, 8


class Answer(PlacedOnce, Widget):
    """One answer. ``source`` is the text that is drawn, after ``safe``."""

    class LinkClicked(Notice):
        """A link to ``href`` was clicked; nothing is opened."""

        def __init__(self, href: str) -> None:
            super().__init__()
            self.href = href

    class CodeAsked(Notice):
        """The label of a code block was clicked: block ``number`` of ``answer``."""

        def __init__(self, answer: Answer, number: int) -> None:
            super().__init__()
            self.answer = answer
            self.number = number

    class Unseen(Notice):
        """``lines`` more have come that are not drawn, because the reader is further up."""

        def __init__(self, lines: int) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, text: str = "", *, streaming: bool = False) -> None:
        super().__init__()
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

    async def on_mount(self) -> None:
        if self._streaming:
            self._timer = self.set_interval(SHORTEST_S, self._tick)
        if len(self._pending) > READ_AT_ONCE:
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

    def on_mouse_move(self, event: MouseMove) -> None:
        number = self.block_at(event.y)
        self.label("mouse", number if number is not None and self.blocks()[number].code else None)

    def on_leave(self) -> None:
        self.label("mouse", None)

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
        self.call_after_refresh(self._pace.end)

    def _tell_unseen(self) -> None:
        """Tell how many lines wait to be drawn, where that has changed."""
        if not self._held or self._told == len(self._pending):
            return
        new = self._pending[self._told :]
        self._told = len(self._pending)
        # As it was laid out: what is not shown has no size.
        width = self._laid_out_for or self.app.size.width or 1
        self.post_message(self.Unseen(sum(1 + len(line) // width for line in new.split("\n")) - 1))

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

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        self._lay_out(width)
        rows = len(self._rows)
        # While it grows there is room for more: a row within it is painted, and nothing else moves.
        room = min(MOST_ROOM, max(LEAST_ROOM, self.app.size.height // ROOM_SHARE))
        return -(-rows // room) * room if self._streaming and rows > room else rows

    def _changed(self) -> None:
        """Lay out what is new, and repaint the rows that differ."""
        width = self.outer_size.width
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
        # Relative to the widget: it has neither border nor padding.
        changed = Region(0, first + same, width, rows)
        grows = len(self._rows) > self.outer_size.height
        shrinks = not self._streaming and len(before) != len(after)
        self.refresh(changed, layout=grows or shrinks)

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

    def render_line(self, y: int) -> Strip:
        """Row ``y`` of the text."""
        # It has neither border nor padding; for the size of its content Textual lays out all.
        width = self.outer_size.width
        if y >= len(self._rows):
            return Strip.blank(width, self.visual_style.rich_style)
        row, selection = self._rows[y], self.text_selection
        if self._hits is not None:
            row = self._hits.on(row)
        if selection is not None and (span := selection.get_span(row.number)) is not None:
            highlight = self.screen.get_visual_style("screen--selection")
            return row.strip(width, _Styles(self), span, highlight)
        strip = self._strips.get(y)
        if strip is None or strip.cell_length != width:
            strip = self._strips[y] = row.strip(width, _Styles(self), None, Style())
        for number in self._labels.values():
            blocks = self.blocks()
            if number < len(blocks) and self.rows(blocks[number])[0] == y:
                return labelled(strip, number, _Styles(self))
        return strip

    def notify_style_update(self) -> None:
        """Another theme: the same rows in other colours."""
        self._strips.clear()
        super().notify_style_update()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What is selected, as it was written: wrapped lines are whole."""
        return extract(self._lines, selection), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        self.refresh()

    def action_copy_code(self, number: int) -> None:
        """A click on the label of block ``number``."""
        self.post_message(self.CodeAsked(self, number))

    def action_link(self, number: int) -> None:
        """A click on link ``number``."""
        address = self._document.link(number)
        if address:
            self.post_message(self.LinkClicked(address))


@dataclass(frozen=True, slots=True)
class _Styles:
    """The styles that rows of ``widget`` are drawn with."""

    widget: Answer

    @property
    def base(self) -> Style:
        return self.widget.visual_style

    def get(self, style: str | Style) -> Style:
        return self.widget._get_style(style)  # noqa: SLF001 - what its own content is drawn with
