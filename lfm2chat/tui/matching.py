"""Finding words in the messages of a conversation. Plain functions of plain texts; no Textual."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from re import escape as literally

from lfm2chat.chat.text import safe

# More are not counted: nobody walks through them, and each takes memory.
MOST_HITS = 9_999


@dataclass(frozen=True, slots=True)
class Hit:
    """One place: the message it is in, by its place in the branch, and which hit in it it is."""

    message: int
    number: int


def pattern_of(query: str) -> re.Pattern[str] | None:
    """What finds ``query``, None for an empty one; letters of any case unless one is a capital."""
    wanted = safe(query)
    if not wanted.strip():
        return None
    exact = any(letter.isupper() for letter in wanted)
    return re.compile(literally(wanted), 0 if exact else re.IGNORECASE)


def find(texts: Iterable[str], pattern: re.Pattern[str]) -> list[Hit]:
    """Every hit in ``texts``, which are made safe here; :data:`MOST_HITS` at most. Any thread."""
    hits: list[Hit] = []
    for message, text in enumerate(texts):
        for number, _ in enumerate(pattern.finditer(safe(text))):
            hits.append(Hit(message, number))
            if len(hits) == MOST_HITS:
                return hits
    return hits


def spans(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Where the hits in ``text`` begin and end."""
    return (found.span() for found in pattern.finditer(text))


def place_of(lines: Sequence[str], pattern: re.Pattern[str], number: int) -> tuple[int, int] | None:
    """In which of ``lines``, as they are drawn, hit ``number`` is, and where it begins; None where
    there is none.

    Of an answer that is being written more or less may be drawn than when it was searched. Then
    the last one before it is as near as can be told.
    """
    seen, last = 0, None
    for at, line in enumerate(lines):
        for start, _ in spans(line, pattern):
            last = (at, start)
            if seen == number:
                return last
            seen += 1
    return last
