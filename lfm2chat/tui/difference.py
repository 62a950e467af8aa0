"""Where two answers differ, word by word. Plain values, no widgets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# Beyond this many words a comparison is felt; the rest is left as it is.
MOST_WORDS = 6_000
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one text; ``own`` where the other text does not have it."""

    text: str
    own: bool


def difference(first: str, second: str) -> tuple[list[Part], list[Part]]:
    """Both texts in parts, joined they are the whole texts (of at most :data:`MOST_WORDS`)."""
    one, other = _words(first), _words(second)
    left: list[Part] = []
    right: list[Part] = []
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for kind, low, high, other_low, other_high in matcher.get_opcodes():
        own = kind != "equal"
        for parts, words in ((left, one[low:high]), (right, other[other_low:other_high])):
            if words:
                parts.append(Part("".join(words), own))
    return left, right


def _words(text: str) -> list[str]:
    return _WORDS.findall(text)[:MOST_WORDS]
