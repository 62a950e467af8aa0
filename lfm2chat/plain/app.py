"""The way into the plain chat: it makes the service and ends it in good order."""

from __future__ import annotations

import io
import os
import queue
import sys
from collections.abc import Callable

from lfm2chat.paths import Paths
from lfm2chat.plain.base import Heard
from lfm2chat.plain.chat import INTERRUPTED, PlainChat
from lfm2chat.plain.lines import Lines, PipedLines, TypedLines
from lfm2chat.plain.signals import Signals
from lfm2chat.plain.voice import Voice
from lfm2chat.runtime.ending import end_now
from lfm2chat.runtime.service import ChatService
from lfm2chat.settings import read_settings
from lfm2chat.store import Store

CLOSE_S = 5.0
# A terminated process has two seconds in all.
CLOSE_ON_SIGNAL_S = 1.0
SIGNALLED = 128


def run_plain(paths: Paths, *, model: str = "", precision: str = "") -> int:
    """Chat on stdin and stdout, terminals or not, until the input ends; gives the exit code.

    ``model`` of an empty name means the one that was used last, ``precision`` that of the
    settings. The folders of ``paths`` must exist. On the main thread.

    Raises:
        SettingsError: config.toml has a mistake.
        StoreError: The store cannot be opened.
    """
    settings = read_settings(paths.config_file).with_precision(precision)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Whatever its encoding cannot say: a message is no reason to end.
        sys.stdout.reconfigure(errors="replace")
    heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
    signals = Signals(heard.put)
    code, ended = 0, True
    with Store.open(paths.store) as store, signals.installed():
        service = ChatService(paths=paths, settings=settings, store=store, emit=heard.put)
        chat = PlainChat(
            service,
            heard,
            settings=settings,
            paths=paths,
            lines=_lines(),
            voice=Voice(sys.stdout),
            signals=signals,
            write_terminal=_terminal(),
        )
        try:
            code = chat.run(model)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            signals.ignore()
            ended = service.close(CLOSE_S if code < SIGNALLED else CLOSE_ON_SIGNAL_S)
    if not ended:
        end_now(code)
    return code


def _lines() -> Lines:
    if sys.stdin.isatty():
        return TypedLines(edited=sys.stdout.isatty())
    return PipedLines(sys.stdin.buffer)


def _terminal() -> Callable[[str], None] | None:
    """What hands a sequence to the terminal, where there is one that knows any."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
        return None

    def write(sequence: str) -> None:
        sys.stdout.write(sequence)
        sys.stdout.flush()

    return write
