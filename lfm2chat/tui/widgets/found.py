"""What a search found, as content: the text around each place, with what matched marked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from textual.content import Content

from lfm2chat.chat.text import safe
from lfm2chat.chat.thoughts import without_thought
from lfm2chat.chat.turns import Message, Role
from lfm2chat.store.search import Hit, Piece
from lfm2chat.tui.widgets.foreign import cut_for_view, foreign

MATCH = "bold $accent"
_SPACES = re.compile(r"\s+")
# What is shown of a message in front of the first place that matched, in characters.
BEFORE = 240
# And of each of the first messages of a conversation.
BEGINNING = 2_000
SPEAKERS = {Role.USER: "you", Role.ASSISTANT: "answer", Role.SYSTEM: "system", Role.TOOL: "tool"}


def snippet(pieces: Iterable[Piece], style: str = "") -> Content:
    """The text around a match on one line. Foreign, so never markup."""
    parts = [
        foreign(_SPACES.sub(" ", safe(piece.text)), MATCH if piece.matched else style)
        for piece in pieces
    ]
    return Content.assemble(*parts)


def snippet_around(pieces: Iterable[Piece], width: int, style: str = "") -> Content:
    """As :func:`snippet`; of one that is wider than ``width`` cells that part with the first place
    that matched in its middle. The end is for whoever draws it to cut.
    """
    pieces = tuple(pieces)
    whole = snippet(pieces, style)
    places = [span for span in whole.spans if span.style == MATCH]
    if whole.cell_length <= width or not places:
        return whole
    start, end = places[0].start, places[0].end
    beside = max(0, width - whole[start:end].cell_length)
    # Of a place near the end more is seen in front of it, so that no cell stays empty.
    before = max(beside // 2, beside - whole[end:].cell_length)
    if whole[:start].cell_length <= before:
        return whole
    first = start
    while first and whole[first - 1 : start].cell_length < before:
        first -= 1
    # From the beginning of a word, if there is one.
    blank = whole.plain.find(" ", first, start)
    first = first if blank < 0 or whole.plain[first - 1] == " " else blank + 1
    return Content.assemble(("…", style), whole[first:])


def by_conversation(hits: Iterable[Hit]) -> list[tuple[Hit, ...]]:
    """The hits of each conversation together; the conversation with the best hit first."""
    groups: dict[int, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.conversation_id, []).append(hit)
    return [tuple(group) for group in groups.values()]


def beginning(messages: Iterable[Message]) -> Content:
    """The first messages of a conversation, each with who said it above, without thoughts."""
    told = []
    for message in messages:
        text = message.text
        if message.role is Role.ASSISTANT:
            text = without_thought(text)
        if len(text) > BEGINNING:
            text = text[:BEGINNING] + " …"
        speaker = SPEAKERS.get(message.role, "")
        told.append(Content.assemble((speaker, "$muted"), "\n", foreign(cut_for_view(text))))
    return Content("\n\n").join(told)


def preview(text: str, pieces: Sequence[Piece]) -> Content:
    """A message, from a little before the first place that matched, the places marked."""
    words = {safe(piece.text) for piece in pieces if piece.matched and piece.text.strip()}
    text = safe(text)
    pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))) or r"(?!)")
    first = pattern.search(text)
    start = 0 if first is None else max(0, first.start() - BEFORE)
    if start:
        # From the beginning of a line or a word.
        start = max(text.rfind("\n", 0, start), text.rfind(" ", 0, start)) + 1
    shown = cut_for_view(("… " if start else "") + text[start:])
    content = foreign(shown)
    for match in pattern.finditer(shown):
        content = content.stylize(MATCH, match.start(), match.end())
    return content
