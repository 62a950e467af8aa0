"""Text within a block: markdown-it's inline tokens to lines with styles and links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markdown_it.token import Token
from textual.content import Content, Span
from textual.style import Style

from lfm2chat.chat.text import safe

STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
CODE = "$secondary on $surface"
LINK = "$primary underline"


@dataclass(slots=True)
class Links:
    """The addresses in one answer; a link knows its number, so that none is read as a command."""

    addresses: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def style(self, address: str) -> Style:
        """What makes text a link to ``address``."""
        number = self._numbers.setdefault(address, len(self.addresses))
        if number == len(self.addresses):
            self.addresses.append(address)
        return Style.from_meta({"@click": f"link({number})"})


def inline_lines(token: Token, links: Links) -> list[Content]:
    """The lines of an inline ``token``."""
    writer = _Writer(links)
    writer.write(token.children or ())
    return writer.lines()


class _Writer:
    def __init__(self, links: Links) -> None:
        self._links = links
        self._done: list[Content] = []
        self._text = ""
        self._spans: list[Span] = []
        self._open: list[tuple[str, tuple[str | Style, ...]]] = []

    def lines(self) -> list[Content]:
        self._end_line()
        return self._done

    def write(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            kind = token.type
            if kind in ("hardbreak", "softbreak"):
                self._end_line()
            elif kind == "code_inline":
                self._add(token.content, CODE)
            elif kind == "image":
                self._image(token)
            elif kind == "link_open":
                address = safe(str(token.attrs.get("href", "")))
                self._open.append(("link", (LINK, self._links.style(address))))
            elif token.nesting == 1:
                name = kind.removesuffix("_open")
                style = STYLES.get(name)
                self._open.append((name, () if style is None else (style,)))
            elif token.nesting == -1:
                if self._open:
                    self._open.pop()
            else:
                self._add(token.content)

    def _image(self, token: Token) -> None:
        address = safe(str(token.attrs.get("src", "")))
        described = "".join(child.content for child in token.children or ())
        self._add(f"image: {described or address}", LINK, self._links.style(address))

    def _add(self, text: str, *styles: str | Style) -> None:
        # Entities are read by the parser: what they stand for has not been made safe.
        first, *others = safe(text).expandtabs(4).split("\n")
        self._piece(first, styles)
        for line in others:
            self._end_line()
            self._piece(line, styles)

    def _piece(self, text: str, styles: Sequence[str | Style]) -> None:
        if not text:
            return
        start, self._text = len(self._text), self._text + text
        around = (style for _, group in self._open for style in group)
        self._spans += [Span(start, len(self._text), style) for style in (*around, *styles)]

    def _end_line(self) -> None:
        self._done.append(Content(self._text, self._spans))
        self._text, self._spans = "", []
