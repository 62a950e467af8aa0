"""What the token lens shows: tones, places, words. Plain values of plain values, no widgets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from lfm2chat.chat.text import one_line
from lfm2chat.runtime.events import LensToken, OtherToken

TOKEN_LENGTH = 24
REPLACED = "\N{REPLACEMENT CHARACTER}"


class Measure(Enum):
    """What colours the text."""

    PROBABILITY = "probability"
    ENTROPY = "entropy"


@dataclass(frozen=True, slots=True)
class Tone:
    """How a token is drawn; ``style`` of an empty text is the plain one."""

    style: str
    meaning: str


# Underlined as well where it matters most: colours may be few, or none.
TONES = (
    Tone("", "sure"),
    Tone("on $success 25%", "quite sure"),
    Tone("on $warning 30%", "one of some"),
    Tone("underline on $error 30%", "a guess"),
    Tone("bold underline on $error 55%", "a long shot"),
)
_LEAST_PROBABLE = (0.9, 0.6, 0.3, 0.1)
# As undecided as between 1.5, 3, 8 and 20 tokens of equal chance.
_MOST_UNDECIDED = tuple(math.log(count) for count in (1.5, 3, 8, 20))


def tone_of(token: LensToken, measure: Measure) -> Tone:
    """How ``token`` is drawn."""
    if measure is Measure.PROBABILITY:
        place = sum(token.probability < least for least in _LEAST_PROBABLE)
    else:
        place = sum(token.entropy > most for most in _MOST_UNDECIDED)
    return TONES[place]


def next_doubt(tokens: tuple[LensToken, ...], at: int, step: int) -> int:
    """The place of the next token that was less than even, from ``at`` on; ``at`` if none is."""
    places = range(at + step, len(tokens) if step > 0 else -1, step)
    return next((place for place in places if tokens[place].probability < 0.5), at)


def shown_token(text: str) -> str:
    """A token's text so that spaces and line ends are seen."""
    visible = text.replace("\n", "↵").replace(" ", "·") or "nothing"
    return one_line(visible, TOKEN_LENGTH)


def percent(probability: float) -> str:
    """``97 %``, ``0.3 %``, ``< 0.1 %``."""
    share = 100 * probability
    if share >= 1:
        return f"{share:.0f} %"
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"


def can_branch(other: OtherToken) -> bool:
    """Whether an answer can go on from this token: it is text, and whole characters."""
    return bool(other.text) and REPLACED not in other.text


def beginning(tokens: tuple[LensToken, ...], at: int, other: OtherToken) -> str:
    """The answer up to token ``at``, and ``other`` in its place."""
    return "".join(token.text for token in tokens[:at]) + other.text


def summary(tokens: tuple[LensToken, ...]) -> str:
    """What to say of the whole: how many tokens, how sure they were on the whole."""
    if not tokens:
        return "no tokens"
    logs = [math.log(max(token.probability, 1e-12)) for token in tokens]
    typical = math.exp(sum(logs) / len(logs))
    doubts = sum(token.probability < 0.5 for token in tokens)
    return f"{len(tokens)} tokens · typically {percent(typical)} · {doubts} below even"
