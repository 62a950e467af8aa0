"""Lines of an answer, and the rows that they fill at a width.

A line is what is copied; it is wrapped into rows, each with what stands before it (a bullet, the
bar of a quotation). Rows are laid out from lines alone, so they are kept until either changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich._wrap import divide_line
from rich.cells import chop_cells
from rich.segment import Segment
from textual.content import Content
from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

NOTHING = Content("")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text.

    Attributes:
        content: What it says; no newline in it.
        first: What stands before its first row.
        rest: What stands before the others, as wide.
        fill: The style of the row behind the text, to the right edge; empty for none.
        code: Whether it is cut at the edge, and not between words.
    """

    content: Content
    first: Content = NOTHING
    rest: Content = NOTHING
    fill: str = ""
    code: bool = False


BLANK = Line(NOTHING)


class Block(Protocol):
    """A paragraph, a table, a list: something that gives lines."""

    def lines(self, width: int) -> Sequence[Line]:
        """Its lines, where they matter laid out for ``width`` cells."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row on the screen: ``content`` is a piece of ``line`` from character ``start`` on.

    ``number`` is that of the line in the answer.
    """

    line: Line
    number: int
    start: int
    content: Content
    before: Content

    def same(self, other: Row) -> bool:
        """Whether it looks as ``other`` does."""
        return (
            self.number == other.number
            and self.line.fill == other.line.fill
            and self.content.is_same(other.content)
            and self.before.is_same(other.before)
        )

    def strip(
        self,
        width: int,
        styles: Styles,
        selected: tuple[int, int] | None,
        highlight: Style,
        *,
        above: int = 0,
    ) -> Strip:
        """The row, ``width`` cells wide. ``selected`` are characters of the line, -1 its end;
        ``above`` are the lines above the text that it is of.
        """
        content = self.content
        if selected is not None:
            start, end = selected
            last = len(content) if end == -1 else min(len(content), end - self.start)
            content = content.stylize(highlight, max(0, start - self.start), max(0, last))
        base = styles.base
        segments = [
            Segment(text, (base + style).rich_style)
            for text, style in self.before.render(base, end="", parse_style=styles.get)
        ]
        behind = base + styles.get(self.line.fill) if self.line.fill else base
        place = self.start
        for text, style in content.render(behind, end="", parse_style=styles.get):
            segments.append(
                Segment(text, (behind + style).rich_style_with_offset(place, above + self.number))
            )
            place += len(text)
        used = self.before.cell_length + content.cell_length
        strip = Strip(segments, used)
        return strip.adjust_cell_length(width, behind.background_style.rich_style)


class Styles(Protocol):
    """What a row is drawn with: the style of the widget, and how to read the name of another."""

    @property
    def base(self) -> Style:
        """Under everything."""

    def get(self, style: str | Style) -> Style:
        """The style that ``style`` names."""


def rows_of(lines: Iterable[Line], width: int, *, number: int) -> Iterator[Row]:
    """``lines`` wrapped to ``width`` cells; the first is line ``number`` of the answer."""
    for line_number, line in enumerate(lines, number):
        room = max(1, width - line.first.cell_length)
        start = 0
        for turn, piece in enumerate(_pieces(line, room)):
            before = line.rest if turn else line.first
            # A space that a line is broken at may stand beyond the edge.
            shown = piece if line.code or piece.cell_length <= room else piece.rstrip()
            yield Row(line, line_number, start, shown, before)
            start += len(piece)


def _pieces(line: Line, room: int) -> list[Content]:
    content = line.content
    if content.cell_length <= room:
        return [content]
    if line.code:
        ends = itertools.accumulate(len(piece) for piece in chop_cells(content.plain, room))
        return content.divide(list(ends)[:-1])
    return content.divide(divide_line(content.plain, room, fold=True))


def extract(lines: list[str], selection: Selection) -> str:
    """The text between two places; lines may be empty, which ``Selection.extract`` may drop."""
    start = selection.start or Offset(0, 0)
    end = selection.end or Offset(len(lines[-1]) if lines else 0, len(lines) - 1)
    if start.y == end.y:
        return lines[start.y][start.x : end.x] if start.y < len(lines) else ""
    chosen = lines[start.y : end.y + 1]
    if not chosen:
        return ""
    chosen[0] = chosen[0][start.x :]
    if end.y < len(lines):
        chosen[-1] = chosen[-1][: end.x]
    return "\n".join(chosen)
