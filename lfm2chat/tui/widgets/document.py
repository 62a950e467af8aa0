"""The Markdown of one answer, read as it comes: blocks that are finished are not read again.

Knows no widgets. A block is finished when another begins below it, on a line that is whole; only
what comes after the finished ones is parsed with the next piece. A block that outgrows a window of
:data:`MOST_LINES` is cut, and goes on below as if it were another: so whatever comes, reading a
piece costs what a window costs, and the same text is cut in the same places however it came.

What is no Markdown that a screen can hold (nested too deep, a table too wide, an endless line) is
plain: to the next empty line, or to the end of its line.

What Markdown resolves from the end of a document (references) comes out different when it is read
piece by piece: :func:`needs_the_end` tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from markdown_it.token import Token

from lfm2chat.chat.text import safe
from lfm2chat.tui.widgets.blocks import (
    MOST_HIGHLIGHTED,
    MOST_HIGHLIGHTED_LINES,
    Builder,
    Continued,
    Text,
    code_lines,
    groups,
    text_lines,
)
from lfm2chat.tui.widgets.inline import Links
from lfm2chat.tui.widgets.lines import Block
from lfm2chat.tui.widgets.markdown import make_parser
from lfm2chat.tui.wording import size

# The window: what is parsed with each piece at most. A line of code costs less than one of a list.
MOST_LINES = 100
MOST_CODE_LINES = MOST_HIGHLIGHTED_LINES
MOST_CHARACTERS = MOST_HIGHLIGHTED
# A line without Markdown is drawn in pieces of this length: one endless line costs most to wrap.
LONGEST_LINE = 4_000
# What is drawn of one answer, in characters (three times what a context of 32,768 tokens holds)
# and in lines: all of them are laid out at once when it is opened, where no key is read.
LONGEST_DRAWN = 400_000
MOST_LINES_DRAWN = 6_000
# What is drawn of the end of a text that is longer.
END_DRAWN = 8_000

_REFERENCES = re.compile(r"^ {0,3}\[[^\]\n]+\]:", re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def needs_the_end(text: str) -> bool:
    """Whether ``text`` may have to be read as a whole."""
    return _REFERENCES.search(text) is not None


class _Mode(Enum):
    """How the tail is read."""

    MARKDOWN = auto()
    CODE = auto()
    """Lines of a long code block, to the fence that closes it."""
    PLAIN = auto()
    """Lines without Markdown, to an empty one."""
    LINE = auto()
    """An endless line, to its end."""


class Document:
    """``source`` is all text so far; ``finished`` and ``last`` are its blocks. One thread."""

    def __init__(self, references: dict[str, Any] | None = None) -> None:
        self.source = ""
        self.finished: list[Block] = []
        self.last: list[Block] = []
        self._parser = make_parser()
        # Of the source, and of how many lines that is; what was last when that was read.
        self._drawn_to, self._lines = LONGEST_DRAWN, 0
        self._last_read: list[Block] = []
        self._links = Links()
        self._definitions: dict[str, Any] = {} if references is None else references
        self._mode = _Mode.MARKDOWN
        self._tail_at = 0
        # Whether the next block is a part of the one above it.
        self._continues = False
        # The head of a table that was cut: it stands above each of its parts.
        self._head = ""
        # The fence that closes the code.
        self._fence = ""
        # Whether the tail begins within a line.
        self._within = False

    @classmethod
    def whole(cls, text: str) -> Document:
        """All of ``text``, which is safe already, with references to what is defined below."""
        document = cls()
        document.append(text)
        if not needs_the_end(text):
            return document
        again = cls(document._definitions)
        again.append(text)
        return again

    def append(self, piece: str) -> None:
        """Add ``piece`` at the end. Costs what a window costs for each window that it fills."""
        read = min(len(self.source), self._drawn_to)
        self.source += piece
        self._limit(len(self.source) - len(piece), piece.count("\n"))
        end = min(len(self.source), self._drawn_to)
        if read < end:
            while self._read(end):
                pass
            self._last_read = list(self.last)
        if len(self.source) > self._drawn_to:
            self.last = [*self._last_read, *_the_end(self.source, self._drawn_to)]

    def _limit(self, at: int, lines: int) -> None:
        """There are so many ``lines`` more from ``at`` on: find the last one that is drawn."""
        left = MOST_LINES_DRAWN - self._lines
        self._lines += lines
        if 0 <= left < lines:
            for _ in range(left + 1):
                at = self.source.find("\n", at) + 1
            self._drawn_to = min(self._drawn_to, at)

    def link(self, number: int) -> str:
        """The address of link ``number``; empty where there is none."""
        addresses = self._links.addresses
        return addresses[number] if 0 <= number < len(addresses) else ""

    def _read(self, end: int) -> bool:
        """Read on, to ``end`` at most; whether there is more to read."""
        return self._read_markdown(end) if self._mode is _Mode.MARKDOWN else self._read_lines(end)

    # --- Markdown -----------------------------------------------------------------------------

    def _read_markdown(self, end: int) -> bool:
        window, full = self._window(end)
        head = self._head if window.strip() and window[0] != "\n" else ""
        try:
            found = self._parse(head + window)
        except Exception:  # noqa: BLE001 - a parser of foreign text; or it cannot be laid out
            self._read_what_can_be(window)
            return True
        starts = [max(0, _line_of(group) - head.count("\n")) for group in found]
        blocks = [block for group in found for block in Builder(self._links).blocks(group)]
        # A line that is not whole yet may still turn out to belong to the block above it.
        whole = window.count("\n")
        last = max((at for at, line in enumerate(starts) if line < whole), default=0)
        if last:
            self._finish(blocks[:last], _length(window, starts[last]))
        elif full:
            self._cut(window, found, blocks)
            return True
        self.last = self._joined(blocks[last:])
        return full

    def _window(self, end: int) -> tuple[str, bool]:
        """What is parsed at once, and whether more would not be."""
        start = at = self._tail_at
        code = _FENCE.match(self.source, start) is not None
        for _ in range(MOST_CODE_LINES if code else MOST_LINES):
            found = self.source.find("\n", at, min(end, start + MOST_CHARACTERS))
            if found < 0:
                break
            at = found + 1
        else:
            return self.source[start:at], True
        if end - start < MOST_CHARACTERS:
            return self.source[start:end], False
        return self.source[start : at if at > start else start + MOST_CHARACTERS], True

    def _parse(self, text: str) -> list[Sequence[Token]]:
        return groups(self._parser.parse(text, self._definitions))

    def _read_what_can_be(self, window: str) -> None:
        """Something in ``window`` cannot be laid out: read what is above it, go on without."""
        lines = window.splitlines(keepends=True)
        good, bad = 0, len(lines)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                self._parse(self._head + "".join(lines[:middle]))
            except Exception:  # noqa: BLE001 - as above
                bad = middle
            else:
                good = middle
        above = "".join(lines[:good])
        found = self._parse(above)
        ended = good > 0 and not lines[good - 1].strip()
        kept = len(found) if ended else max(0, len(found) - 1)
        blocks = [block for group in found[:kept] for block in Builder(self._links).blocks(group)]
        length = len(above) if ended or not found else _length(above, _line_of(found[-1]))
        self._finish(blocks, length)
        self._mode, self._continues = _Mode.PLAIN, False

    def _cut(self, window: str, found: list[Sequence[Token]], blocks: list[Block]) -> None:
        """One block fills the window: finish what there is of it."""
        kind = found[0][0].type if found else ""
        if found and "\n" not in window:
            self._mode, self.last = _Mode.LINE, []
            return
        length = len(window)
        if kind == "fence" and (fence := _FENCE.match(window)) is not None:
            opened = fence[1]
            if not any(_closes(line, opened) for line in window.split("\n")[1:]):
                self._mode, self._fence = _Mode.CODE, opened
        elif kind in ("bullet_list_open", "ordered_list_open"):
            line = max((_line_of(item) for item in groups(found[0][1:-1])), default=0)
            if line:
                length = _length(window, line)
                blocks = Builder(self._links).blocks(self._parser.parse(window[:length], {}))
        head = self._head
        if kind == "table_open":
            head = head or window[: _length(window, 2)]
        self._finish(blocks, length)
        self._head = head if kind == "table_open" else ""
        self._continues = self._mode is not _Mode.CODE and not window[:length].endswith("\n\n")

    def _finish(self, blocks: list[Block], length: int) -> None:
        """``blocks``, of the next ``length`` characters, are what they are."""
        if length:
            self.finished += self._joined(blocks)
            self._tail_at += length
            self._continues, self._head = False, ""
        self.last = []

    def _joined(self, blocks: list[Block]) -> list[Block]:
        if not blocks or not self._continues or self.source.startswith("\n", self._tail_at):
            return blocks
        return [Continued(blocks[0]), *blocks[1:]]

    # --- lines --------------------------------------------------------------------------------

    def _read_lines(self, end: int) -> bool:
        """Read lines that are no Markdown; whether what comes after them is."""
        mode, read = self._mode, []
        at = self._tail_at
        while self._mode is mode:
            newline = self.source.find("\n", at, min(end, at + LONGEST_LINE + 1))
            stop = end if newline < 0 else newline
            if newline < 0 and stop - at > LONGEST_LINE:
                read.append(self.source[at : at + LONGEST_LINE])
                at += LONGEST_LINE
                self._within = True
                continue
            if newline < 0:
                break
            line = self.source[at:newline]
            if self._ends(line):
                # An empty line stays: it is what stands between.
                at = newline + (mode is not _Mode.PLAIN)
                self._mode = _Mode.MARKDOWN
            else:
                read.append(line)
                at = newline + 1
                if mode is _Mode.LINE:
                    self._mode = _Mode.MARKDOWN
            self._within = False
        more = self._mode is not mode
        self._add_lines(self.finished, read, mode)
        self._tail_at = at
        self.last = []
        if not more and at < end and not self._ends(self.source[at:end]):
            self._add_lines(self.last, [self.source[at:end]], mode)
        if more:
            self._continues = mode is _Mode.LINE
        return more

    def _ends(self, line: str) -> bool:
        if self._within:
            return False
        if self._mode is _Mode.CODE:
            return _closes(line, self._fence)
        return self._mode is _Mode.PLAIN and not line.strip()

    def _add_lines(self, blocks: list[Block], lines: list[str], mode: _Mode) -> None:
        if not lines:
            return
        text = safe("\n".join(lines)).expandtabs(8)
        block = Text(tuple(code_lines(text) if mode is _Mode.CODE else text_lines(text)))
        joined = mode is _Mode.CODE or self._continues
        self._continues = True
        blocks.append(Continued(block) if joined else block)


def _line_of(group: Sequence[Token]) -> int:
    return group[0].map[0] if group[0].map else 0


def _length(text: str, lines: int) -> int:
    """Of the first ``lines`` of ``text``, in characters."""
    at = 0
    for _ in range(lines):
        at = text.find("\n", at) + 1
    return at


def _closes(line: str, fence: str) -> bool:
    found = _FENCE.match(line)
    return found is not None and found[1].startswith(fence) and not line[found.end() :].strip()


def _the_end(source: str, drawn: int) -> list[Block]:
    """What is drawn of the end, where the first ``drawn`` characters are all that was read."""
    begin = max(drawn, len(source) - END_DRAWN)
    said = f"⋯ {size(begin - drawn)} not shown here; the message is whole ⋯"
    shown = source[begin:]
    pieces = [
        line[at : at + LONGEST_LINE]
        for line in shown.split("\n")
        for at in range(0, max(1, len(line)), LONGEST_LINE)
    ]
    return [
        Text(tuple(text_lines(said))),
        Text(tuple(text_lines(safe("\n".join(pieces)).expandtabs(8)))),
    ]
