"""Where two answers differ, word by word. Plain values, no widgets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from lfm2chat.chat.turns import Message
from lfm2chat.tui.parameters import FIELDS, shown_value

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


def telling_apart(first: Message, second: Message) -> tuple[str, str]:
    """What tells two answers apart that may be of one model, in a few words for each: the sampling
    values that differ, else their seeds, else how long they are; empty where all of it is equal.
    """
    values = [_values(answer) for answer in (first, second)]
    names = [name for name in values[0] if name in values[1] and values[0][name] != values[1][name]]
    if names:
        left, right = (" · ".join(f"{name} {known[name]}" for name in names) for known in values)
        return left, right
    if first.model != second.model:
        return "", ""
    if first.seed is not None and second.seed is not None and first.seed != second.seed:
        return f"seed {first.seed}", f"seed {second.seed}"
    left, right = (_length(answer.text) for answer in (first, second))
    return ("", "") if left == right else (left, right)


def _values(answer: Message) -> dict[str, str]:
    """The sampling values of an answer as they are shown; the seed it was written with is not
    among them.
    """
    if answer.sampling is None:
        return {}
    return {
        field.name: shown_value(getattr(answer.sampling, field.name)) or "none"
        for field in FIELDS
        if field.name != "seed"
    }


def _length(text: str) -> str:
    count = len(text.split())
    return f"{count} word{'' if count == 1 else 's'}"


def _words(text: str) -> list[str]:
    return _WORDS.findall(text)[:MOST_WORDS]
