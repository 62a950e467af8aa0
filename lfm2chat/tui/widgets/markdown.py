"""Markdown that a model wrote, parsed so that it can neither end the app nor lose text.

HTML is text, a single newline stays a newline, and what is too deep or too wide to lay out is
refused with :class:`TooMuchMarkdownError`, so that the caller can show it as plain text.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

# Each level of lists and quotes nests Python calls, and takes columns.
DEEPEST_NESTING = 16
MOST_COLUMNS = 24
MOST_BLOCKS = 1_000


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
