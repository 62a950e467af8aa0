"""Input: lines from a terminal or a pipe, joined to what the user meant as one entry.

A backslash at the end of a line goes on in the next; three quotes open a block and close it. A
block is always a message, whatever it begins with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import ModuleType
from typing import BinaryIO

from lfm2chat.errors import UsageError
from lfm2chat.tui.slash import as_typed

PROMPT = "> "
MORE = "... "
BLOCK = '"""'
MAX_LINE_BYTES = 4 << 20


class Lines(ABC):
    """Where lines come from. ``interactive``: somebody types them."""

    interactive = False

    @abstractmethod
    def read(self, prompt: str) -> str:
        """The next line, without its end.

        Raises:
            EOFError: There is none.
            UsageError: It is too long; the next line can be read.
        """

    def offer(self, text: str) -> bool:
        """Let the next line begin with ``text``; whether that can be done here."""
        del text
        return False

    def remember(self, texts: Iterable[str]) -> None:
        """Offer ``texts`` as earlier entries, the last one first, in this process only."""
        del texts

    def unfinished(self) -> str:
        """What stands in a line that was interrupted."""
        return ""


class PipedLines(Lines):
    """Lines of a pipe or a file, in UTF-8. No prompt is written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, prompt: str) -> str:
        """The next line, whatever bytes it has; what is no UTF-8 becomes U+FFFD."""
        del prompt
        data = self._stream.readline(MAX_LINE_BYTES + 1)
        if not data:
            raise EOFError
        if len(data) > MAX_LINE_BYTES and not data.endswith(b"\n"):
            while data and not data.endswith(b"\n"):
                data = self._stream.readline(MAX_LINE_BYTES)
            raise UsageError(
                f"a line is longer than {MAX_LINE_BYTES >> 20} MiB",
                hint="put it into a file and say /attach with its path",
            )
        return data.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r")


class TypedLines(Lines):
    """Lines typed at a terminal, edited and recalled with readline where Python has it.

    ``edited`` is False where output goes elsewhere: readline would write its own into it.
    """

    interactive = True

    def __init__(self, *, edited: bool) -> None:
        self._readline = _readline() if edited else None
        self._offered = ""

    def read(self, prompt: str) -> str:
        """The next line, after ``prompt``."""
        offered, self._offered = self._offered, ""
        if self._readline is not None:
            insert = self._readline.insert_text
            self._readline.set_startup_hook((lambda: insert(offered)) if offered else None)
        return input(prompt)

    def offer(self, text: str) -> bool:
        """Put ``text`` into the next line, where readline can."""
        if self._readline is None:
            return False
        self._offered = text
        return True

    def remember(self, texts: Iterable[str]) -> None:
        """Put ``texts`` into readline's history, which no disk sees."""
        if self._readline is not None:
            for text in texts:
                self._readline.add_history(text)

    def unfinished(self) -> str:
        """What readline holds."""
        return "" if self._readline is None else str(self._readline.get_line_buffer())


class EntryReader:
    """Joins the lines of one entry. ``left`` is what an interrupted one had, else empty."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.left = ""

    def read(self) -> str:
        """The next entry: a command, or a message as :func:`lfm2chat.tui.slash.parse` takes it.

        Raises:
            EOFError: There is none.
            UsageError: A line is too long.
            KeyboardInterrupt, SystemExit: From a signal; ``left`` holds what was typed.
        """
        self.left = ""
        parts: list[str] = []
        try:
            return self._entry(parts)
        except (KeyboardInterrupt, SystemExit):
            self.left = "\n".join([*parts, self._lines.unfinished()]).strip("\n")
            raise

    def _entry(self, parts: list[str]) -> str:
        first = self._lines.read(PROMPT)
        if first.lstrip().startswith(BLOCK):
            return self._block(first.lstrip().removeprefix(BLOCK), parts)
        parts.append(first)
        while _goes_on(parts[-1]):
            parts[-1] = parts[-1][:-1]
            try:
                parts.append(self._lines.read(MORE))
            except EOFError:
                break
        return "\n".join(parts)

    def _block(self, first: str, parts: list[str]) -> str:
        line = first
        while not line.rstrip().endswith(BLOCK):
            parts.append(line)
            try:
                line = self._lines.read(MORE)
            except EOFError:
                # What was given is not lost for want of its last quotes.
                return as_typed("\n".join(parts).strip("\n"))
        parts.append(line.rstrip().removesuffix(BLOCK))
        return as_typed("\n".join(parts).strip("\n"))


def _goes_on(line: str) -> bool:
    """Whether a line ends in a backslash that is not one half of two."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _readline() -> ModuleType | None:
    """readline, where this Python has it. Imported here: its import may write to the terminal."""
    try:
        import readline
    except ImportError:
        return None
    readline.set_auto_history(True)
    return readline
