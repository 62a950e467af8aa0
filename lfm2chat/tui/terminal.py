"""The terminal itself: file descriptor 2, its title, the keys that it reports only on request.

Textual draws on ``sys.__stderr__`` and reads ``sys.__stdin__``. Native code (torch, the
tokenizer's Rust) writes to descriptor 2 without asking anyone, which would land on the screen:
while the app runs, descriptor 2 is the log file and ``sys.__stderr__`` a duplicate of the
terminal.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from lfm2chat.chat.text import one_line

STDERR = 2
# xterm's modifyOtherKeys, level 1: tmux ignores the kitty request that Textual sends, and
# answers this one, so that shift+enter is a key of its own.
REPORT_MODIFIED_KEYS = "\x1b[>4;1m"
FORGET_MODIFIED_KEYS = "\x1b[>4;0m"
# xterm's stack of titles; most terminals have it, and the others pass over it.
PUSH_TITLE = "\x1b[22;2t"
POP_TITLE = "\x1b[23;2t"
TITLE_LENGTH = 80
# These take what a title is set with for text.
WITHOUT_TITLE = ("linux", "dumb", "")


class TerminalStream(io.TextIOWrapper):
    """The terminal, which takes whatever is written: one that was closed under us drops it.

    Textual writes in a thread of its own. An error would end that thread, and the app would wait
    for room in the thread's queue for ever, instead of ending.
    """

    def write(self, text: str, /) -> int:
        """Write ``text``, or nothing where the terminal is gone. Any thread."""
        with suppress(OSError):
            # A program that had the terminal before may have left it so that a write is cut short.
            os.set_blocking(self.fileno(), True)
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what is buffered, if anybody is there to take it."""
        with suppress(OSError):
            super().flush()


@contextmanager
def redirect_native_stderr(log_file: Path) -> Iterator[None]:
    """Send what native code writes to descriptor 2 to ``log_file`` (0600, appended), or nowhere
    where that cannot be written.

    Everything is as before when the block ends. The folder of ``log_file`` must exist. Call it
    before ``App.run()``, on the main thread.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
    try:
        log = os.open(log_file, flags, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    if sys.stderr is not None:
        sys.stderr.flush()
    screen = TerminalStream(
        os.fdopen(os.dup(STDERR), "wb"),
        encoding="utf-8",
        errors="replace",
        line_buffering=os.isatty(STDERR),
    )
    before: TextIO | None = sys.__stderr__
    _set_original_stderr(screen)
    os.dup2(log, STDERR)
    os.close(log)
    try:
        yield
    finally:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(screen.fileno(), STDERR)
        _set_original_stderr(before)
        # A terminal that was closed under us takes no last bytes.
        with suppress(OSError):
            screen.close()


@contextmanager
def modified_keys(stream: TextIO | None = None) -> Iterator[None]:
    """Ask the terminal to report shift+enter; take the request back at the end.

    ``stream`` is the terminal; None means ``sys.__stderr__`` at the time of each write.
    """
    _write(stream, REPORT_MODIFIED_KEYS)
    try:
        yield
    finally:
        _write(stream, FORGET_MODIFIED_KEYS)


@contextmanager
def kept_title(stream: TextIO | None = None) -> Iterator[None]:
    """Give the terminal its title back at the end, or an empty one where it kept none.

    ``stream`` is as in :func:`modified_keys`.
    """
    keep_title(stream)
    try:
        yield
    finally:
        give_title_back(stream)


def keep_title(stream: TextIO | None = None) -> None:
    """Let the terminal remember its title; ``stream`` is as in :func:`modified_keys`."""
    _write(stream, PUSH_TITLE)


def give_title_back(stream: TextIO | None = None) -> None:
    """Set the title that was kept last; ``stream`` is as in :func:`modified_keys`."""
    _write(stream, set_title("") + POP_TITLE)


def set_title(title: str) -> str:
    """The sequence that sets the terminal's title; empty for a terminal without one.

    ``title`` may be foreign: what controls a terminal is taken out, and what is too long.
    """
    if os.environ.get("TERM", "") in WITHOUT_TITLE:
        return ""
    return f"\x1b]2;{one_line(title, TITLE_LENGTH)}\x1b\\"


@contextmanager
def plain_keys() -> Iterator[None]:
    """Take the request of :func:`modified_keys` back while another program has the terminal."""
    _write(None, FORGET_MODIFIED_KEYS)
    try:
        yield
    finally:
        _write(None, REPORT_MODIFIED_KEYS)


def _write(stream: TextIO | None, text: str) -> None:
    target = sys.__stderr__ if stream is None else stream
    if target is None:
        return
    # The terminal may be gone (a closed window): then there is nothing left to tell.
    with suppress(OSError):
        target.write(text)
        target.flush()


def _set_original_stderr(stream: TextIO | None) -> None:
    # typeshed calls it final; the interpreter does not, and Textual reads it when it starts.
    sys.__stderr__ = stream  # type: ignore[misc,assignment]
