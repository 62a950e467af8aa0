"""The Markdown of one answer, read as it comes: blocks that are finished are not read again.

Knows no widgets. A block is finished when another begins below it; only the last one, and what
was added, is parsed with the next piece. What Markdown resolves from the end of a document
(references) comes out different when it is read so: :func:`needs_the_end` tells.
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
    """``source`` is all text so far; ``finished`` and ``last`` its blocks. One thread."""

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
        found = groups(tokens)
        blocks = Builder(self._links).blocks(tokens)
        if len(found) > 1 and found[-1][0].map is not None:
            self.finished += blocks[:-1]
            blocks = blocks[-1:]
            first_line = found[-1][0].map[0]
            self._tail_at += sum(len(line) + 1 for line in tail.split("\n")[:first_line])
        self.last = blocks

    def link(self, number: int) -> str:
        """The address of link ``number``; empty where there is none."""
        addresses = self._links.addresses
        return addresses[number] if 0 <= number < len(addresses) else ""
