"""Whether an answer goes round in a circle: it would until its last token, and help nobody.

In: the token ids of an answer while it grows. Out: yes or no. A circle is at most 64 tokens long,
and is taken for one only after eight rounds and 256 tokens: real tables, poems and lists do not go
that far. Used by the thread that writes the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LONGEST_CYCLE: Final = 64
LEAST_ROUNDS: Final = 8
LEAST_TOKENS: Final = 256


def repeats_endlessly(ids: Sequence[int]) -> bool:
    """Whether ``ids`` end with at most 64 ids said at least eight times, over at least 256 ids.

    To be asked after each new id; it looks at the last 512 alone, and mostly at 64 of them.
    """
    count = len(ids)
    if count < LEAST_TOKENS:
        return False
    # Where a cycle is, its length is the distance to where the last id stood before.
    recent = list(ids[-LONGEST_CYCLE - 1 :])
    last = recent.pop()
    recent.reverse()
    place = -1
    try:
        while True:
            place = recent.index(last, place + 1)
            if _is_cycle(ids, place + 1):
                return True
    except ValueError:
        return False


def _is_cycle(ids: Sequence[int], length: int) -> bool:
    span = max(LEAST_ROUNDS * length, LEAST_TOKENS)
    # Two looks first: what only looks like a cycle ends there, and no slices are made.
    if span > len(ids) or ids[-2] != ids[-2 - length] or ids[-span] != ids[-span + length]:
        return False
    return ids[-span + length :] == ids[-span:-length]
