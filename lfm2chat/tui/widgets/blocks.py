"""Blocks of Markdown: markdown-it's tokens to paragraphs, lists, quotations, code and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from markdown_it.token import Token
from textual.content import Content
from textual.highlight import highlight

from lfm2chat.chat.text import safe
from lfm2chat.tui.widgets.inline import Links, inline_lines
from lfm2chat.tui.widgets.lines import BLANK, NOTHING, Block, Line
from lfm2chat.tui.widgets.table import Table

# A code block is highlighted anew with each line that is added to it.
MOST_HIGHLIGHTED_LINES = 300
MOST_HIGHLIGHTED = 16_000
HEADINGS = {"h1": "bold $accent", "h2": "bold $primary"}
BULLETS = ("• ", "◦ ", "▪ ")
EDGE = Content.styled(" ", "on $surface")
CODE_FILL = "on $surface"


@dataclass(frozen=True, slots=True)
class Text:
    """Lines that do not depend on the width."""

    fixed: tuple[Line, ...]

    def lines(self, width: int) -> Sequence[Line]:  # noqa: ARG002 - as every block has it
        """Its lines."""
        return self.fixed


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""

    def lines(self, width: int) -> Sequence[Line]:
        """The line."""
        return (Line(Content.styled("─" * max(1, width), "$rule"), code=True),)


@dataclass(frozen=True, slots=True)
class Within:
    """Blocks inside another: indented, with a mark before the first line."""

    blocks: tuple[Block, ...]
    first: Content
    rest: Content
    tight: bool = False
    style: str = ""

    def lines(self, width: int) -> Sequence[Line]:
        """The lines of all, with a blank one between two blocks unless it is ``tight``."""
        inner = stacked(self.blocks, max(1, width - self.first.cell_length), tight=self.tight)
        lines = list(inner) or [BLANK]
        # What stands before a line is mostly what stands before the one above it: put together
        # once for each, ten thousand lines of a nested quotation took seconds.
        before = _Joined()
        return [
            Line(
                line.content.stylize_before(self.style) if self.style else line.content,
                before.join(self.rest if number else self.first, line.first),
                before.join(self.rest, line.rest),
                line.fill,
                line.code,
            )
            for number, line in enumerate(lines)
        ]


class _Joined:
    """Pairs of contents put together, each pair once. Both live as long as this does."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Content] = {}

    def join(self, left: Content, right: Content) -> Content:
        """``left`` and ``right``."""
        if not right:
            return left
        pair = id(left), id(right)
        found = self._known.get(pair)
        if found is None:
            found = self._known[pair] = left + right
        return found


@dataclass(frozen=True, slots=True)
class Stack:
    """Blocks below one another: the items of a list."""

    blocks: tuple[Block, ...]
    tight: bool

    def lines(self, width: int) -> Sequence[Line]:
        """The lines of all."""
        return list(stacked(self.blocks, width, tight=self.tight))


@dataclass(frozen=True, slots=True)
class Continued:
    """A block that is the next part of the one above it: no blank line is between them."""

    block: Block

    def lines(self, width: int) -> Sequence[Line]:
        """Its lines."""
        return self.block.lines(width)


def stacked(
    blocks: Sequence[Block], width: int, *, tight: bool, below: bool = False
) -> Iterator[Line]:
    """The lines of ``blocks``, with a blank one between two unless they are ``tight``; above the
    first one too if it stands ``below`` others.
    """
    for number, block in enumerate(blocks):
        if (number or below) and not tight and not isinstance(block, Continued):
            yield BLANK
        yield from block.lines(width)


@dataclass(slots=True)
class Builder:
    """Makes blocks of tokens; ``links`` collects their addresses."""

    links: Links
    # How many quotations are around what is made now.
    _quotations: int = 0

    def blocks(self, tokens: Sequence[Token], *, depth: int = 0) -> list[Block]:
        """The blocks of ``tokens``, which are whole: each that opens is closed."""
        return [self._block(group, depth) for group in groups(tokens)]

    def _block(self, group: Sequence[Token], depth: int) -> Block:
        kind = group[0].type
        if kind in ("fence", "code_block"):
            return Text(tuple(_code(group[0])))
        if kind == "hr":
            return Rule()
        if kind == "table_open":
            return self._table(group)
        if kind in ("bullet_list_open", "ordered_list_open"):
            return self._list(group, depth)
        return self._quotation(group, depth) if kind == "blockquote_open" else self._text(group)

    def _quotation(self, group: Sequence[Token], depth: int) -> Within:
        bar = Content.styled("▌ ", "$primary")
        self._quotations += 1
        inner = tuple(self.blocks(group[1:-1], depth=depth))
        self._quotations -= 1
        # A quotation in another has its style already.
        return Within(inner, bar, bar, style="" if self._quotations else "$muted")

    def _text(self, group: Sequence[Token]) -> Text:
        heading = group[0].type == "heading_open"
        style = HEADINGS.get(group[0].tag, "bold") if heading else ""
        lines: list[Content] = []
        for token in group:
            if token.type == "inline":
                lines += inline_lines(token, self.links)
            elif token.content:
                text = safe(token.content).expandtabs(4).rstrip("\n")
                lines += [Content(line) for line in text.split("\n")]
        return Text(tuple(Line(line.stylize_before(style) if style else line) for line in lines))

    def _list(self, group: Sequence[Token], depth: int) -> Stack:
        items = groups(group[1:-1])
        tight = not any(
            token.type == "paragraph_open"
            and not token.hidden
            and token.level == group[0].level + 2
            for token in group
        )
        blocks: list[Block] = []
        for mark, item in zip(_marks(group[0], len(items), depth), items, strict=True):
            inner = tuple(self.blocks(item[1:-1], depth=depth + 1))
            indent = Content(" " * mark.cell_length)
            blocks.append(Within(inner, mark, indent, tight=tight))
        return Stack(tuple(blocks), tight)

    def _table(self, group: Sequence[Token]) -> Table:
        rows: list[list[Content]] = []
        aligned: list[str] = []
        for token in group:
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open") and len(rows) == 1:
                style = str(token.attrs.get("style", ""))
                aligned.append(style.removeprefix("text-align:") or "left")
            elif token.type == "inline":
                rows[-1].append(Content(" ").join(inline_lines(token, self.links)))
        width = len(rows[0])
        even = tuple(tuple([*row, *([NOTHING] * width)][:width]) for row in rows)
        return Table(even, tuple(aligned))


def groups(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """``tokens`` cut where a block of the outermost level begins."""
    found: list[Sequence[Token]] = []
    depth = start = 0
    for place, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            found.append(tokens[start : place + 1])
            start = place + 1
    return found


def _marks(token: Token, count: int, depth: int) -> list[Content]:
    if token.type == "bullet_list_open":
        return [Content.styled(BULLETS[depth % len(BULLETS)], "$accent")] * count
    first = int(token.attrs.get("start", 1))
    names = [f"{first + number}. " for number in range(count)]
    width = max(map(len, names), default=0)
    return [Content.styled(name.rjust(width), "$accent") for name in names]


def _code(token: Token) -> list[Line]:
    code = safe(token.content).expandtabs(8)
    language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
    whole, _, last = code.removesuffix("\n").rpartition("\n")
    ended = code.endswith("\n")
    lines = list(_highlighted(code.removesuffix("\n") if ended else whole, language))
    if not ended:
        lines = [*(lines if whole else ()), Content(last)]
    return [_code_line(line) for line in lines]


def code_lines(code: str) -> list[Line]:
    """Lines of code, safe and without tabs, in one colour."""
    return [_code_line(Content(line)) for line in code.split("\n")]


def text_lines(text: str) -> list[Line]:
    """Lines of text, safe and without tabs, with no style."""
    return [Line(Content(line)) for line in text.split("\n")]


def _code_line(content: Content) -> Line:
    return Line(content, EDGE, EDGE, CODE_FILL, code=True)


@lru_cache(maxsize=16)
def _highlighted(code: str, language: str) -> tuple[Content, ...]:
    """The lines of ``code`` in colours; beyond a length, and where a lexer fails, without."""
    plain = tuple(Content(line) for line in code.split("\n"))
    if not language or len(code) > MOST_HIGHLIGHTED or len(plain) > MOST_HIGHLIGHTED_LINES:
        return plain
    try:
        coloured = tuple(highlight(code, language=language).split("\n", allow_blank=True))
    except Exception:  # noqa: BLE001 - hundreds of third-party lexers read foreign text here
        return plain
    same = [line.plain for line in coloured] == [line.plain for line in plain]
    return coloured if same else plain
