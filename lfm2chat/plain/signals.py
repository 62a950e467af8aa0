"""Signals of the plain chat: Ctrl+C stops an answer or a line, SIGTERM and SIGHUP end all."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The user pressed Ctrl+C while something was going on that can be stopped."""


class Signals:
    """What the main thread does about signals. ``ask`` must be safe inside a signal handler.

    While :meth:`stopping` holds Ctrl+C only asks, so that nothing of an answer is lost; else it
    is a KeyboardInterrupt, wherever the thread is.
    """

    def __init__(self, ask: Callable[[StopAsked], None]) -> None:
        self._ask = ask
        self._asks = False
        self._ended = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle them inside the block, as before after it. On the main thread."""
        before = {signal.SIGINT: signal.signal(signal.SIGINT, self._interrupt)}
        for name in ENDING:
            number = getattr(signal, name, None)
            if number is not None:
                before[number] = signal.signal(number, self._end)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def ignore(self) -> None:
        """From here on nothing breaks into what is going on: it is being saved."""
        self._ended = True

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Inside the block Ctrl+C puts :class:`StopAsked` where the events come from."""
        self._asks = True
        try:
            yield
        finally:
            self._asks = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._ended:
            return
        if not self._asks:
            raise KeyboardInterrupt
        self._ask(StopAsked())

    def _end(self, number: int, frame: FrameType | None) -> None:
        del frame
        # Once: the second must not break into the saving that the first one began.
        if not self._ended:
            self._ended = True
            raise SystemExit(128 + number)
