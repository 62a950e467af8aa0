"""The source of each block of an answer: what copying, quoting and saving one take.

Read from the text when it is asked for, by the parser that drew it: the blocks on the screen know
their lines, not where they came from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markdown_it.token import Token

from lfm2chat.tui.widgets.blocks import Continued, Text, groups
from lfm2chat.tui.widgets.lines import Block, Row
from lfm2chat.tui.widgets.markdown import make_parser

CODE = ("fence", "code_block")


@dataclass(frozen=True, slots=True)
class Passage:
    """One block: its Markdown ``source``, and the ``code`` in it where it is a code block."""

    source: str
    code: str | None = None
    language: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a block stands in what is drawn: lines from ``first`` to before ``end``."""

    first: int
    end: int
    code: bool = False


def passages(source: str) -> list[Passage]:
    """The blocks of ``source``, which is safe. Costs what parsing costs: long ones in a thread.

    Raises:
        Exception: What a parser of foreign text raises.
    """
    lines = source.split("\n")
    return [_passage(group[0], lines) for group in groups(make_parser().parse(source))]


def passage_at(source: str, number: int, count: int, drawn: str) -> Passage:
    """Block ``number`` of the ``count`` that are drawn; ``drawn`` is its text on the screen.

    Where the text cannot be read as it was drawn (too long, cut) the block is what is drawn.
    """
    try:
        found = passages(source)
    except Exception:  # noqa: BLE001 - a parser of foreign text runs in there
        found = []
    if len(found) != count:
        return Passage(drawn)
    return found[number]


def code_blocks(source: str) -> list[Passage]:
    """The code blocks of ``source``, none where it cannot be read."""
    try:
        return [passage for passage in passages(source) if passage.code is not None]
    except Exception:  # noqa: BLE001 - as above
        return []


def stretches(blocks: Sequence[Block], width: int) -> list[Stretch]:
    """Where each of ``blocks`` stands, when they are laid out for ``width`` cells."""
    found: list[Stretch] = []
    at = 0
    for block in blocks:
        lines = block.lines(width)
        if isinstance(block, Continued) and found:
            at += len(lines)
            found[-1] = replace(found[-1], end=at)
            continue
        first = at + 1 if found else 0
        code = isinstance(block, Text) and all(line.fill for line in block.fixed)
        at = first + len(lines)
        found.append(Stretch(first, at, code))
    return found


def rows_between(rows: Sequence[Row], stretch: Stretch) -> tuple[int, int]:
    """The rows that the lines of ``stretch`` fill: the first, and the one after the last."""
    first = bisect_left(rows, stretch.first, key=lambda row: row.number)
    return first, bisect_left(rows, stretch.end, lo=first, key=lambda row: row.number)


def _passage(token: Token, lines: Sequence[str]) -> Passage:
    first, end = token.map or (0, 0)
    source = "\n".join(lines[first:end]).rstrip("\n")
    if token.type not in CODE:
        return Passage(source)
    words = token.info.split(maxsplit=1)
    return Passage(source, token.content.removesuffix("\n"), words[0] if words else "")
