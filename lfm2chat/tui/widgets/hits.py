"""Marking what was looked for in the text that is drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from textual.content import Content

from lfm2chat.tui.matching import place_of, spans
from lfm2chat.tui.widgets.lines import Row

# An underline and the reverse are seen where there are no colours.
FOUND = "bold underline $warning"
CURRENT = "bold reverse $accent"


@dataclass(frozen=True, slots=True)
class Hits:
    """What is marked; ``current`` is the line of the hit that the reader is at, and its start."""

    pattern: re.Pattern[str]
    current: tuple[int, int] | None = None

    def on(self, row: Row) -> Row:
        """``row`` with its hits marked."""
        content = row.content
        for start, end in spans(row.line.content.plain, self.pattern):
            first, last = max(0, start - row.start), min(len(content), end - row.start)
            if first < last:
                style = CURRENT if (row.number, start) == self.current else FOUND
                content = content.stylize(style, first, last)
        return row if content is row.content else replace(row, content=content)


def marked(content: Content, pattern: re.Pattern[str], number: int | None) -> Content:
    """``content`` with its hits marked; the reader is at hit ``number``."""
    for at, (start, end) in enumerate(spans(content.plain, pattern)):
        content = content.stylize(CURRENT if at == number else FOUND, start, end)
    return content


def row_of(text: str, pattern: re.Pattern[str], number: int, width: int) -> int:
    """In which row hit ``number`` is, when ``text`` is wrapped to ``width`` cells."""
    lines = text.split("\n")
    place = place_of(lines, pattern, number)
    if place is None:
        return 0
    line, start = place
    above = sum(_rows(one, width) for one in lines[:line])
    return above + _rows(lines[line][: start + 1], width) - 1


def _rows(line: str, width: int) -> int:
    return max(1, len(Content(line).wrap(max(1, width)))) if line else 1
