"""Parts of a message: its heading, a text, a note. Rows, and no widget of their own.

A widget for each of them was measured: laying a screen out, mounting a message and matching its
styles cost by the widget, five to seven times as much.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content
from textual.geometry import Offset, Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

from lfm2chat.tui.widgets.lines import NOTHING, Line, Row, rows_of

if TYPE_CHECKING:
    from lfm2chat.tui.widgets.column import Column


class Part:
    """Some rows of a :class:`Column`, which lays them out and draws them. ``below`` are the blank
    rows under it.
    """

    def __init__(self, *, name: str, below: int = 0) -> None:
        self.name = name
        self.below = below
        self.display = True
        # In the column: its first row, and how many there are.
        self.top = self.height = 0
        self._column: Column | None = None

    @property
    def column(self) -> Column:
        """What it is a part of."""
        assert self._column is not None
        return self._column

    def put_into(self, column: Column) -> None:
        """It is drawn there from now on."""
        self._column = column

    @property
    def lines(self) -> Sequence[str]:
        """What is copied of it."""
        raise NotImplementedError

    def lay_out(self, width: int) -> int:
        """How many rows it fills at ``width`` cells."""
        raise NotImplementedError

    def row(self, y: int) -> Row | None:
        """Row ``y`` of it, None for one with no text."""
        raise NotImplementedError

    def draw(self, y: int) -> Strip:
        """Row ``y``, as wide as the text of the column."""
        row = self.row(y)
        column = self.column
        if row is None:
            return Strip.blank(column.text_width, self.styles.base.background_style.rich_style)
        above = column.lines_above(self)
        span = self.selected(row.number + above)
        return row.strip(column.text_width, self.styles, span, column.highlight, above=above)

    def selected(self, line: int) -> tuple[int, int] | None:
        """The characters of a line of the column that are selected."""
        selection: Selection | None = self.column.text_selection
        return None if selection is None else selection.get_span(line)

    @property
    def styles(self) -> PartStyles:
        """What its rows are drawn with."""
        return PartStyles(self.column, self.column.base)

    @property
    def size(self) -> Size:
        """Of the text, in cells; nothing before it was laid out."""
        column = self.column
        if not self.display or not column.size:
            return Size(0, 0)
        return Size(column.text_width, self.height)

    @property
    def region(self) -> Region:
        """Where it is on the screen."""
        column = self.column
        x, y = column.content_region.offset
        return Region(x + column.text_left, y + self.top, *self.size)

    def at(self, x: int, y: int) -> Offset:
        """Where that cell of it is on the screen."""
        return self.region.offset + Offset(x, y)

    def refresh(self, *, layout: bool = False) -> None:
        """Draw it anew."""
        if self._column is not None:
            self._column.refresh(layout=layout)


class TextPart(Part):
    """A plain text, wrapped; or, where it does not ``wrap``, each line cut at the edge."""

    def __init__(
        self,
        content: Content = NOTHING,
        *,
        name: str,
        style: str = "",
        wrap: bool = True,
        below: int = 0,
    ) -> None:
        super().__init__(name=name, below=below)
        self.content = content
        self.style = style
        self.wrap = wrap
        self._lines: list[str] | None = None
        self._rows: list[Row] = []
        self._laid_out_for = 0

    def update(self, content: Content, *, layout: bool = True) -> None:
        """Show another text. Without ``layout`` it has as many rows as the one before."""
        self.content, self._lines = content, None
        width, self._laid_out_for = self._laid_out_for, 0
        if not layout and width:
            self.lay_out(width)
        self.refresh(layout=layout)

    @property
    def lines(self) -> Sequence[str]:
        if self._lines is None:
            self._lines = self.content.plain.split("\n")
        return self._lines

    def lay_out(self, width: int) -> int:
        if width != self._laid_out_for:
            self._laid_out_for = width
            self._rows = list(self._new_rows(width))
        return len(self._rows)

    def _new_rows(self, width: int) -> list[Row]:
        lines = [line.expand_tabs(8) for line in self.content.split(allow_blank=True)]
        if self.wrap:
            return list(rows_of(map(Line, lines), width, number=0))
        cut = [Line(line.truncate(width, ellipsis=True)) for line in lines]
        return [Row(line, number, 0, line.content, NOTHING) for number, line in enumerate(cut)]

    def row(self, y: int) -> Row | None:
        return self._rows[y] if y < len(self._rows) else None

    @property
    def styles(self) -> PartStyles:
        styles = super().styles
        return PartStyles(styles.column, styles.base + styles.get(self.style))


@dataclass(frozen=True, slots=True)
class PartStyles:
    """The styles that rows of ``column`` are drawn with."""

    column: Column
    base: Style

    def get(self, style: str | Style) -> Style:
        """The style that ``style`` names."""
        return self.column._get_style(style)  # noqa: SLF001 - what its own content is drawn with


def lines_of(parts: Sequence[Part]) -> list[str]:
    """The lines of all."""
    return list(itertools.chain.from_iterable(part.lines for part in parts))
