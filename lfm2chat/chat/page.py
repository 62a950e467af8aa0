"""Conversations as one HTML page that needs nothing else: no script, no picture, no other file.

Every text goes through :func:`lfm2chat.chat.text.safe` and is escaped; the Markdown of answers is
rendered with HTML switched off and with links to the web and to mail only. The page's own policy
forbids whatever might get past that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

from markdown_it import MarkdownIt

from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.transcript import BETWEEN_FACTS, facts, speaker
from lfm2chat.chat.turns import Conversation, Message, Role

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_TITLE_LENGTH = 200
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)


class _Markdown(MarkdownIt):
    """CommonMark with tables; no HTML, no pictures, only links that leave for the web or mail."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False, "xhtmlOut": False})
        self.enable(["table", "strikethrough"])
        self.add_render_rule("image", _picture)
        self.add_render_rule("link_open", _link)

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the name that the parser calls
        # A list of what is good: a list of what is bad forgets something.
        return _LINK.match(url) is not None


def html_page(
    conversations: Sequence[Conversation], branches: Iterable[Sequence[Message]]
) -> Iterator[str]:
    """The page in pieces; ``branches`` are the messages of each conversation, read when needed.

    More than one conversation has a table of contents above.
    """
    title = (
        one_line(conversations[0].title, _TITLE_LENGTH)
        if len(conversations) == 1
        else "Conversations"
    )
    yield from _head(title)
    if len(conversations) != 1:
        yield from _contents(conversations)
    rendered = _Markdown()
    for conversation, branch in zip(conversations, branches, strict=True):
        yield from _conversation(conversation, branch, rendered)
    yield "</main>\n</body>\n</html>\n"


def _head(title: str) -> Iterator[str]:
    style = files("lfm2chat.chat").joinpath("page.css").read_text(encoding="utf-8")
    yield '<!DOCTYPE html>\n<html lang="">\n<head>\n<meta charset="utf-8">\n'
    # Before the style, which it lets in.
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="referrer" content="no-referrer">\n'
    yield '<meta name="color-scheme" content="light dark">\n'
    yield f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"


def _contents(conversations: Sequence[Conversation]) -> Iterator[str]:
    yield "<nav>\n<h1>Conversations</h1>\n<ol>\n"
    for one in conversations:
        title = escape(one_line(one.title, _TITLE_LENGTH))
        yield f'<li><a href="#c{one.id}">{title}</a> {_time(one.updated_at)}</li>\n'
    yield "</ol>\n</nav>\n"


def _conversation(
    conversation: Conversation, branch: Sequence[Message], rendered: MarkdownIt
) -> Iterator[str]:
    models = dict.fromkeys(speaker(message.model) for message in branch if message.model)
    about = BETWEEN_FACTS.join([*map(escape, models), _time(conversation.updated_at)])
    yield f'<article id="c{conversation.id}">\n<header>\n'
    yield f"<h1>{escape(one_line(conversation.title, _TITLE_LENGTH))}</h1>\n<p>{about}</p>\n"
    if conversation.sampling is not None:
        values = conversation.sampling.as_dict().items()
        known = (f"{name} {value}" for name, value in values if value not in (None, []))
        yield f"<p>{escape(safe(BETWEEN_FACTS.join(known)))}</p>\n"
    yield "</header>\n"
    if conversation.system_prompt:
        yield '<aside>\n<h2>System prompt</h2>\n<div class="raw">'
        yield f"{escape(safe(conversation.system_prompt))}</div>\n</aside>\n"
    for message in branch:
        yield from _message(message, rendered)
    yield "</article>\n"


def _message(message: Message, rendered: MarkdownIt) -> Iterator[str]:
    user = message.role is Role.USER
    yield f'<section class="{"user" if user else "answer"}">\n'
    yield f"<h2>{'You' if user else escape(speaker(message.model))}</h2>\n"
    text = safe(message.text)
    if user:
        # As it was typed: a person writes no Markdown, or wants to see it.
        yield f'<div class="raw">{escape(text)}</div>\n'
    else:
        yield f'<div class="text">\n{rendered.render(text)}</div>\n'
    for file in message.attachments:
        yield f"<h3>Attached: {escape(one_line(file.label, _TITLE_LENGTH))}</h3>\n"
        yield f'<div class="raw">{escape(safe(file.text))}</div>\n'
    if message.error:
        yield f'<p class="error">{escape(safe(message.error))}</p>\n'
    if known := BETWEEN_FACTS.join(facts(message)):
        yield f'<p class="facts">{escape(known)}</p>\n'
    yield "</section>\n"


def _time(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, UTC)
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%Y-%m-%d %H:%M} UTC</time>'


def _picture(_renderer: Any, tokens: Sequence[Any], index: int, *_: Any) -> str:
    """What a picture is called and where it would come from; nothing is loaded."""
    token = tokens[index]
    address = escape(str(token.attrGet("src") or ""))
    return f'<span class="picture">[picture: {escape(token.content)} {address}]</span>'


def _link(renderer: Any, tokens: Sequence[Any], index: int, options: Any, *_: Any) -> str:
    """A page that is opened from here learns nothing of this one."""
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(renderer.renderToken(tokens, index, options, {}))
