"""Which live sequence the one thread steps next: by priority, then in turn.

A sequence is anything with a priority and a :meth:`Sequence.step` of a few milliseconds: a turn of
the user, a look through the lens, prefill while typing, a title made in idle time.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Protocol


class Priority(IntEnum):
    """Who goes first: the smaller number."""

    USER = 0
    LENS = 1
    PRIME = 2
    TITLE = 3


class Sequence(Protocol):
    """One thing being generated."""

    priority: Priority

    def step(self) -> bool:
        """Do one chunk or one token; False once there is nothing left."""
        ...

    def cancel(self) -> None:
        """Ask it to end with its next step."""
        ...

    def fail(self, error: BaseException) -> None:
        """End because ``error`` came out of :meth:`step`."""
        ...


class Scheduler:
    """The live sequences. Owned and used by the worker's thread alone."""

    def __init__(self) -> None:
        self._live: deque[Sequence] = deque()

    def __len__(self) -> int:
        return len(self._live)

    def add(self, sequence: Sequence) -> None:
        """Let ``sequence`` take part from the next step on."""
        self._live.append(sequence)

    def add_once(self, sequence: Sequence) -> None:
        """As :meth:`add`; nothing where it takes part already."""
        if sequence not in self._live:
            self._live.append(sequence)

    def take(self) -> Sequence | None:
        """The sequence whose turn it is, taken out; :meth:`add` it again if it has more."""
        if not self._live:
            return None
        best = min(sequence.priority for sequence in self._live)
        chosen = next(sequence for sequence in self._live if sequence.priority == best)
        self._live.remove(chosen)
        return chosen

    def cancel_beside(self, *, least: Priority = Priority.LENS) -> None:
        """Ask every sequence to end whose priority is ``least`` or goes after it."""
        for sequence in self._live:
            if sequence.priority >= least:
                sequence.cancel()

    def cancel_all(self) -> None:
        """Ask every live sequence to end."""
        for sequence in self._live:
            sequence.cancel()
