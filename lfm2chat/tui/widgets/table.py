"""Tables of an answer: columns as wide as they need where there is room, else cells are wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from textual.content import Content

from lfm2chat.tui.widgets.lines import NOTHING, Line

GAP = "  "
NARROWEST = 3
"""Cells: a column is not made narrower than that, unless it is itself."""


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` of cells, the headings first; ``aligned`` says "left", "right" or "center"."""

    rows: tuple[tuple[Content, ...], ...]
    aligned: tuple[str, ...]

    def lines(self, width: int) -> list[Line]:
        """Its lines: the headings, a rule, and the rows."""
        widths = self._widths(width)
        lines: list[Line] = []
        for number, row in enumerate(self.rows):
            style = "bold $accent" if number == 0 else ""
            lines += self._row(row, widths, style)
            if number == 0:
                rule = GAP.join("─" * one for one in widths)
                lines.append(Line(Content.styled(rule, "$rule"), code=True))
        return lines

    def _widths(self, width: int) -> list[int]:
        columns = list(zip(*self.rows, strict=True))
        wanted = [max(1, *(cell.cell_length for cell in column)) for column in columns]
        room = max(len(wanted), width - len(GAP) * (len(wanted) - 1))
        # The widest ones give way, and those that are narrow stay whole.
        while sum(wanted) > room and max(wanted) > NARROWEST:
            widest = max(wanted)
            others = [one for one in wanted if one < widest]
            many = len(wanted) - len(others)
            fair = max(NARROWEST, (room - sum(others)) // many)
            lower = max(fair, max(others, default=NARROWEST), NARROWEST)
            wanted = [min(one, lower if lower < widest else widest - 1) for one in wanted]
        return wanted

    def _row(self, row: Sequence[Content], widths: Sequence[int], style: str) -> list[Line]:
        cells = [
            cell.wrap(width) if cell else [NOTHING] for cell, width in zip(row, widths, strict=True)
        ]
        lines = []
        for pieces in zip_longest(*cells, fillvalue=NOTHING):
            padded = [
                _pad(piece.stylize(style) if style else piece, width, how)
                for piece, width, how in zip(pieces, widths, self.aligned, strict=True)
            ]
            lines.append(Line(Content(GAP).join(padded).rstrip(), code=True))
        return lines


def _pad(cell: Content, width: int, how: str) -> Content:
    cell = cell.rstrip()
    spare = max(0, width - cell.cell_length)
    left = spare if how == "right" else spare // 2 if how == "center" else 0
    return cell.pad(left, spare - left)
