"""Markdown that a model wrote, drawn so that it can neither end the app nor lose text.

Differences from Textual's own ``Markdown``: HTML is text (there it vanishes), a single newline
stays a newline, links are never opened, tables have no tooltips (they would be parsed as
markup), long code is not highlighted, and what is too deep, too wide or too much to lay out is
refused with :class:`TooMuchMarkdownError`, so that the caller can show it as plain text.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, cast

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownOrderedList,
    MarkdownTable,
    MarkdownTableContent,
)

LONGEST_MARKDOWN = 50_000
LONGEST_PARAGRAPH = 20_000
# Lists and quotes nest widgets, and each level of widgets nests Python calls.
DEEPEST_NESTING = 16
MOST_COLUMNS = 24
# One block is one widget: a thousand take about a second to mount.
MOST_BLOCKS = 1_000
# A code block is highlighted anew with each piece that is added to it.
MOST_HIGHLIGHTED_LINES = 300
MOST_HIGHLIGHTED = 16_000


class TooMuchMarkdownError(Exception):
    """The text is Markdown that would take too long to lay out, or nest too deep."""


class _Parser(MarkdownIt):
    """A parser that refuses what the screen cannot hold."""

    def parse(self, src: str, env: MutableMapping[str, Any] | None = None) -> list[Token]:
        tokens = super().parse(src, env)
        _check(tokens)
        return tokens


def make_parser() -> MarkdownIt:
    """A parser for one document: GFM without HTML, newlines kept."""
    parser = _Parser("gfm-like", {"html": False})
    parser.core.ruler.push("newlines", _keep_newlines)
    return parser


def too_much(text: str) -> bool:
    """Whether ``text`` is known to be too long before anything parses it."""
    return len(text) > LONGEST_MARKDOWN or any(
        len(line) > LONGEST_PARAGRAPH for line in text.split("\n")
    )


def _keep_newlines(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


def _check(tokens: Sequence[Token]) -> None:
    if len(tokens) > 4 * MOST_BLOCKS or sum(token.nesting == 1 for token in tokens) > MOST_BLOCKS:
        raise TooMuchMarkdownError("too many blocks")
    columns = 0
    for token in tokens:
        if token.level > DEEPEST_NESTING:
            raise TooMuchMarkdownError("nested too deep")
        if token.type == "tr_open":
            columns = 0
        elif token.type == "th_open":
            columns += 1
            if columns > MOST_COLUMNS:
                raise TooMuchMarkdownError("too many columns")


class _Fence(MarkdownFence):
    """A code block; beyond a length it is plain text, and a lexer that fails costs colour only."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        if (
            not language.strip()
            or len(code) > MOST_HIGHLIGHTED
            or code.count("\n") > MOST_HIGHLIGHTED_LINES
        ):
            return Content(code)
        try:
            return super().highlight(code, language.split(maxsplit=1)[0], ansi=ansi, dark=dark)
        except Exception:  # noqa: BLE001 - hundreds of third-party lexers read foreign text here
            return Content(code)


class _TableContent(MarkdownTableContent):
    """The cells of a table, without tooltips."""

    def compose(self) -> ComposeResult:
        for cell in super().compose():
            cell.tooltip = None
            yield cell


class _Table(MarkdownTable):
    """A table that is drawn anew when rows are added, so that no row is lost or doubled."""

    def compose(self) -> ComposeResult:
        headers, rows = self._get_headers_and_rows()
        self._headers, self._rows = headers, rows
        yield _TableContent(headers, rows)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        # Not MarkdownTable's own: it adds rows, and fails where none was added.
        await MarkdownBlock._update_from_block(self, block)  # noqa: SLF001


class _GrowingList:
    """Lists that keep their finished items when text is added; Textual's own are made anew, so
    that a long list costs more with each item.
    """

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        mine = cast("MarkdownBulletList | MarkdownOrderedList", self)
        rows = [child for child in mine.children if isinstance(child, Horizontal)]
        fresh = list(block.compose()) if type(block) is type(mine) else []
        if not rows or len(fresh) < len(rows):
            if fresh:
                # Its items are in rows already, and compose() gives them once only.
                await mine.remove_children()
                await mine.mount_all(fresh)
                mine._copy_context(block)  # noqa: SLF001
                return
            await MarkdownBlock._update_from_block(mine, block)  # noqa: SLF001
            return
        # Only the last item can have changed, and the width of the numbers.
        for row, new in zip(rows, fresh, strict=False):
            _number(row, _symbol(new))
        await rows[-1].remove()
        await mine.mount_all(fresh[len(rows) - 1 :])
        mine._copy_context(block)  # noqa: SLF001


class _BulletList(_GrowingList, MarkdownBulletList):
    pass


class _OrderedList(_GrowingList, MarkdownOrderedList):
    pass


def _symbol(row: Widget) -> str:
    """The bullet of a row that is not mounted yet."""
    return next(
        child.symbol
        for child in row._pending_children  # noqa: SLF001
        if isinstance(child, MarkdownBullet)
    )


def _number(row: Widget, symbol: str) -> None:
    bullet = row.query_one(MarkdownBullet)
    if bullet.symbol != symbol:
        bullet.symbol = symbol


class ForeignMarkdown(Markdown):
    """Markdown from outside. Give it text that went through ``safe`` and is not too long.

    ``update()`` and ``append()`` raise :class:`TooMuchMarkdownError`, and may raise anything
    that a parser or a lexer of foreign text raises: callers fall back to plain text.
    """

    BLOCKS = {  # noqa: RUF012 - as Textual declares it
        **Markdown.BLOCKS,
        "fence": _Fence,
        "code_block": _Fence,
        "table_open": _Table,
        "bullet_list_open": _BulletList,
        "ordered_list_open": _OrderedList,
    }

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, parser_factory=make_parser, open_links=False)
