"""Output: whole lines, and an answer in whole words while it is written. Append only."""

from __future__ import annotations

from typing import TextIO

from lfm2chat.chat.text import safe

# A screen reader reads what arrives at once: pieces shorter than this are a stutter.
PIECE_LENGTH = 60


class Voice:
    """Says text on ``stream``, all of it through :func:`~lfm2chat.chat.text.safe`. One thread.

    :meth:`begin`, :meth:`go_on` and :meth:`end` are for text that comes bit by bit.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._speaker = ""
        self._waiting = ""
        self._open = False

    def say(self, text: str = "") -> None:
        """One or more whole lines; after a line that is open, on a new one."""
        if self._open:
            self._end_line()
        self._write(f"{text}\n")

    def begin(self, speaker: str) -> None:
        """Who speaks: named in front of the first piece that :meth:`go_on` gets."""
        self._speaker = speaker

    def go_on(self, text: str) -> None:
        """The next piece; said once its line or enough of its words are complete."""
        if not text:
            return
        self._name()
        self._waiting += text
        border = self._waiting.rfind("\n") + 1
        if len(self._waiting) - border >= PIECE_LENGTH:
            # A word that is still being written waits: nobody hears half of it.
            border = max(border, self._waiting.rfind(" ") + 1)
        if border:
            self._write(self._waiting[:border])
            self._waiting = self._waiting[border:]

    def end(self) -> None:
        """Say what waits and end the line; nothing where nobody speaks."""
        self._name()
        if self._open:
            self._end_line()

    def _name(self) -> None:
        if self._speaker:
            self._write(f"{self._speaker}: ")
            self._speaker, self._open = "", True

    def _end_line(self) -> None:
        rest, self._waiting, self._open = self._waiting.rstrip("\n"), "", False
        self._write(f"{rest}\n")

    def _write(self, text: str) -> None:
        self._stream.write(safe(text))
        self._stream.flush()
