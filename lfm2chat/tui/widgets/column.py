"""The readable column of a message, and the bar on its left where the reader's cursor stands.

One widget draws all of a message, row by row (Textual's line API): the parts of it below one
another, in a column in the middle of a wide screen.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.events import MouseDown
from textual.geometry import Offset, Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from lfm2chat.tui.widgets.lines import extract
from lfm2chat.tui.widgets.part import Part, lines_of
from lfm2chat.tui.widgets.placed import DrawnRows, PlacedOnce

BAR = "█"
EDGE = "▌"
# The column is not wider than that, and its text not than it without what stands around it.
WIDEST = 94
BEFORE, BEHIND = 2, 1
AROUND = BEFORE + BEHIND


@dataclass(frozen=True, slots=True)
class Tone:
    """How a column looks: ``behind`` its text, and its left ``edge``; empty for nothing."""

    behind: str = ""
    edge: str = ""


class Column(PlacedOnce, Widget):
    """Parts below one another. The first cell is free: the bar is drawn there, over the edge."""

    def __init__(self, *, classes: str = "") -> None:
        super().__init__(classes=classes)
        self._styles_cache = DrawnRows()
        self.parts: list[Part] = []
        self._marked = (0, 0)
        # How wide the text was when its rows were counted.
        self._laid_out_for = 0
        # The part that the mouse was pressed on.
        self._pointed: Part | None = None

    def show_parts(self, *parts: Part) -> None:
        """Draw these, from above."""
        self.parts = list(parts)
        for part in parts:
            part.put_into(self)
        self.refresh(layout=True)

    @property
    def tone(self) -> Tone:
        """How it looks now."""
        return Tone()

    # --- where the parts are ------------------------------------------------------------------

    @property
    def column_width(self) -> int:
        """In cells."""
        return min(self.content_width, WIDEST)

    @property
    def content_width(self) -> int:
        """Of the widget without what is around it, in cells. Textual lays all out for its own."""
        # It has no scroll bars, and each row asks: :attr:`gutter` counts them first.
        return max(1 + AROUND, self._size.width - self.styles.gutter.width)

    @property
    def text_width(self) -> int:
        """In cells."""
        return self.column_width - AROUND

    @property
    def text_left(self) -> int:
        """The first cell of the text."""
        return (self.content_width - self.column_width) // 2 + BEFORE

    @property
    def rows_high(self) -> int:
        """Of all parts, and what is blank below them."""
        shown = self._drawn_parts
        return shown[-1].top + shown[-1].height + shown[-1].below if shown else 0

    @property
    def _drawn_parts(self) -> list[Part]:
        return [part for part in self.parts if part.display]

    def lines_above(self, part: Part) -> int:
        """How many lines, as they are copied, the parts above have."""
        lines = 0
        for other in self._drawn_parts:
            if other is part:
                break
            lines += len(other.lines)
        return lines

    def part_at(self, row: int) -> Part | None:
        """What row ``row`` belongs to; what is blank belongs to nothing."""
        for part in self._drawn_parts:
            if part.top <= row < part.top + part.height:
                return part
        return None

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        rows, moved = self._lay_out(max(1, min(width, WIDEST) - AROUND))
        if moved:
            # A row drawn since the text grew and before it was laid out was drawn without it.
            self.refresh()
        return rows

    def _lay_out(self, text_width: int) -> tuple[int, bool]:
        """Put the parts below one another: how many rows they fill, and whether one moved."""
        self._laid_out_for = text_width
        y, moved = 0, False
        for part in self._drawn_parts:
            place = y, part.lay_out(text_width)
            moved = moved or place != (part.top, part.height)
            part.top, part.height = place
            y += part.height + part.below
        return y, moved

    def _fit(self) -> None:
        """Lay out for the width that it has: Textual knows the heights of an arrangement that it
        had before, and does not ask for them when it comes back to that from another.
        """
        if self._laid_out_for != self.text_width:
            self._lay_out(self.text_width)

    def on_resize(self) -> None:
        self._fit()

    # --- the bar ------------------------------------------------------------------------------

    @property
    def marked(self) -> tuple[int, int]:
        """The rows beside which the bar stands: the first, and the one after the last."""
        return self._marked

    def mark(self, first: int = 0, end: int = 0) -> None:
        """Draw the bar from row ``first`` to before ``end``; without them, none."""
        before, self._marked = self._marked, (first, end)
        if before != self._marked:
            for start, stop in (before, self._marked):
                if stop > start:
                    self.refresh(Region(self.text_left - BEFORE, start, 1, stop - start))

    # --- drawing ------------------------------------------------------------------------------

    @property
    def base(self) -> Style:
        """Under all of the column."""
        behind = self.tone.behind
        return self.visual_style + self._get_style(behind) if behind else self.visual_style

    @property
    def highlight(self) -> Style:
        """Of what is selected."""
        if self.text_selection is None:
            return Style()
        return self.screen.get_visual_style("screen--selection")

    def render_lines(self, crop: Region) -> list[Strip]:
        self._fit()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Row ``y``: what is beside the column, its edge, its text."""
        blank = self.base.background_style.rich_style
        part = self.part_at(y)
        text = Strip.blank(self.text_width, blank) if part is None else part.draw(y - part.top)
        line, character = self._place_of(y, part)
        beside = self._beside(y, blank, line, character)
        return Strip.join([*beside, text, Strip.blank(BEHIND, blank), *self._right()])

    def _beside(self, y: int, blank: RichStyle, line: int, character: int) -> list[Strip]:
        """What is left of the text. A selection that begins there begins with the row."""
        here = RichStyle.from_meta({"offset": (character, line)})
        first, end = self._marked
        edge = self.tone.edge
        mark = Segment(" ", blank + here)
        if first <= y < end:
            mark = Segment(BAR, (self.base + self._get_style("$accent")).rich_style + here)
        elif edge:
            mark = Segment(EDGE, (self.base + self._get_style(edge)).rich_style + here)
        column = Strip([mark, Segment(" ", blank + here)], BEFORE)
        left = self.text_left - BEFORE
        if not left:
            return [column]
        outside = self.visual_style.background_style.rich_style
        # A character further left for each cell: all are before the row's first.
        far = RichStyle.from_meta({"offset": (character - left, line)})
        return [Strip([Segment(" " * left, outside + far)], left), column]

    def _right(self) -> list[Strip]:
        width = self.content_width - self.column_width - (self.text_left - BEFORE)
        if width <= 0:
            return []
        return [Strip.blank(width, self.visual_style.background_style.rich_style)]

    def _place_of(self, y: int, part: Part | None) -> tuple[int, int]:
        """The line that row ``y`` belongs to, of all lines, and its first character there; of a
        blank row the end of what is above it.
        """
        row = None if part is None else part.row(y - part.top)
        if part is not None and row is not None:
            return self.lines_above(part) + row.number, row.start
        above = [other for other in self._drawn_parts if other.top <= y and other.lines]
        if not above:
            return 0, 0
        last = above[-1].lines
        return self.lines_above(above[-1]) + len(last) - 1, len(last[-1])

    # --- selecting ----------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What is selected, as it was written: wrapped lines are whole."""
        start, end = (
            None if place is None else Offset(max(0, place.x), place.y) for place in selection
        )
        return extract(lines_of(self._drawn_parts), Selection(start, end)), "\n"

    def on_mouse_down(self, event: MouseDown) -> None:
        self._pointed = self.part_at(event.y - self.gutter.top)

    def text_select_all(self) -> None:
        """Select the part that the mouse is on."""
        part = self._pointed
        if part is None or not part.lines:
            super().text_select_all()
            return
        first, lines = self.lines_above(part), part.lines
        end = Offset(len(lines[-1]), first + len(lines) - 1)
        self.screen.selections = {self: Selection(Offset(0, first), end)}

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        self.refresh()
