"""The Markdown of one answer, read as it comes: blocks that are finished are not read again.

Knows no widgets. A block is finished when another begins below it, on a line that is whole; only
what comes after the finished ones is parsed with the next piece. What Markdown resolves from the
end of a document (references) comes out different when it is read so: :func:`needs_the_end` tells.
"""

from __future__ import annotations

import re

from lfm2chat.tui.widgets.blocks import Builder, groups
from lfm2chat.tui.widgets.inline import Links
from lfm2chat.tui.widgets.lines import Block
from lfm2chat.tui.widgets.markdown import make_parser

_REFERENCES = re.compile(r"^ {0,3}\[[^\]\n]+\]:", re.MULTILINE)


def needs_the_end(text: str) -> bool:
    """Whether ``text`` may have to be read as a whole."""
    return _REFERENCES.search(text) is not None


class Document:
    """``source`` is all text so far; ``finished`` and ``last`` are its blocks. One thread."""

    def __init__(self) -> None:
        self.source = ""
        self.finished: list[Block] = []
        self.last: list[Block] = []
        self._parser = make_parser()
        self._links = Links()
        self._tail_at = 0

    def append(self, piece: str) -> None:
        """Add ``piece`` at the end.

        Raises:
            TooMuchMarkdownError: What was added cannot be laid out; and whatever a parser of
                foreign text raises.
        """
        self.source += piece
        tail = self.source[self._tail_at :]
        tokens = self._parser.parse(tail)
        starts = [group[0].map[0] if group[0].map else 0 for group in groups(tokens)]
        blocks = Builder(self._links).blocks(tokens)
        # A line that is not whole yet may still turn out to belong to the block above it.
        whole = tail.count("\n")
        last = max((at for at, line in enumerate(starts) if line < whole), default=0)
        self.finished += blocks[:last]
        self.last = blocks[last:]
        if last:
            self._tail_at += sum(len(line) + 1 for line in tail.split("\n")[: starts[last]])

    def link(self, number: int) -> str:
        """The address of link ``number``; empty where there is none."""
        addresses = self._links.addresses
        return addresses[number] if 0 <= number < len(addresses) else ""
