"""What a reasoning model thinks before it answers: a leading ``<think>...</think>``.

Stored text is whole; whoever shows or copies an answer takes the two apart here. The parts always
join to the text that was taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Parts:
    """``head`` is what stands before the answer: the thought with its tags and white space."""

    head: str
    thought: str
    answer: str
    closed: bool = True

    @property
    def has_thought(self) -> bool:
        """Whether a thought was begun."""
        return bool(self.head)


def parts(text: str) -> Parts:
    """``text`` taken apart; a thought that was never closed goes to the end."""
    splitter = ThoughtSplitter()
    answer = splitter.feed(text)
    closed = not splitter.thinking
    answer += splitter.end()
    return Parts(splitter.head, splitter.thought, answer, closed)


def without_thought(text: str) -> str:
    """The answer alone; of one that was stopped while it thought, nothing."""
    return parts(text).answer


class _Place(Enum):
    """Where in an answer the stream is."""

    START = auto()
    """It may become a thought."""
    THOUGHT = auto()
    GAP = auto()
    """Behind a thought, before the first visible character."""
    ANSWER = auto()


class ThoughtSplitter:
    """Takes a stream apart, piece by piece. One thread.

    ``head`` is what came before the answer: empty where there is no thought.
    """

    def __init__(self) -> None:
        self.head = ""
        self._held = ""
        self._place = _Place.START

    @property
    def thinking(self) -> bool:
        """Whether a thought has begun and not ended."""
        return self._place is _Place.THOUGHT

    @property
    def thought(self) -> str:
        """What was thought so far, without the tags."""
        inside = self.head.lstrip().removeprefix(OPEN).rstrip()
        return inside.removesuffix(CLOSE).strip()

    def feed(self, piece: str) -> str:
        """Take ``piece``; gives what is known to belong to the answer now."""
        if self._place is _Place.ANSWER:
            return piece
        self._held += piece
        if self._place is _Place.START and not self._begins():
            return ""
        if self._place is _Place.THOUGHT and not self._closes():
            return ""
        answer = self._held
        if self._place is _Place.GAP:
            answer = answer.lstrip("\n")
            self.head += self._held[: len(self._held) - len(answer)]
        self._held = ""
        if answer:
            self._place = _Place.ANSWER
        return answer

    def end(self) -> str:
        """The text is over: what was held back, as far as it belongs to the answer."""
        held, self._held = self._held, ""
        if self.thinking:
            self.head += held
            return ""
        self._place = _Place.ANSWER
        return held

    def _begins(self) -> bool:
        """Whether it is known now how the text begins."""
        begin = self._held.lstrip()
        if begin.startswith(OPEN):
            self._place = _Place.THOUGHT
        elif OPEN.startswith(begin):
            return False
        else:
            self._place = _Place.ANSWER
        return True

    def _closes(self) -> bool:
        """Move what was thought into the head; whether the thought is over."""
        before, closed, after = self._held.partition(CLOSE)
        if closed:
            self.head += before + closed
            self._held, self._place = after, _Place.GAP
            return True
        # The last characters may be the beginning of the tag.
        ends = (size for size in range(len(CLOSE) - 1, 0, -1) if before.endswith(CLOSE[:size]))
        cut = len(before) - next(ends, 0)
        self.head += before[:cut]
        self._held = before[cut:]
        return False
