"""The summaries of conversations, by which branch they stand for; they outlive the process.

One small private file for each stored conversation, beside the saved contexts and gone as they
are; those of temporary conversations are in memory alone. A file that is damaged is none. Imports
no torch: a front end counts with what is known here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lfm2chat.chat.summaries import Summary
from lfm2chat.chat.turns import PromptMessage
from lfm2chat.errors import ConfigError
from lfm2chat.modelfiles.strictjson import read_json
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.store import is_temporary

SUMMARY = "summary"
"""How the names of the files end."""

BUDGET_BYTES = 16 << 20
MOST_SUMMARIES = 16
"""Of one conversation: those of its branches, and the earlier ones, which an edit needs again."""

MOST_CHARACTERS = 16_000
_MOST_FILE_BYTES = 1 << 20
_FORMAT = 1

log = logging.getLogger(__name__)


def summary_files(folder: Path, wanted: Callable[[int], bool] = lambda _: True) -> SavedFiles:
    """The files in ``folder``, which is :attr:`lfm2chat.paths.Paths.summaries`."""
    return SavedFiles(folder, BUDGET_BYTES, wanted=wanted, ending=SUMMARY)


class Summaries:
    """Any thread may call anything but :meth:`keep`, which is the worker's; no method raises.

    ``files`` of None: nothing is ever written. ``making`` are the conversations of which a summary
    is being made; the worker's own.
    """

    def __init__(self, files: SavedFiles | None = None) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._in_memory: dict[int, tuple[Summary, ...]] = {}
        self.making: set[int] = set()

    def find(
        self, conversation_id: int, ids: Sequence[int], messages: Sequence[PromptMessage]
    ) -> Summary | None:
        """The one of :meth:`all_of` that stands for most of a branch."""
        return next(reversed(self.all_of(conversation_id, ids, messages)), None)

    def all_of(
        self, conversation_id: int, ids: Sequence[int], messages: Sequence[PromptMessage]
    ) -> list[Summary]:
        """The summaries that stand for the beginning of ``messages``, for the fewest first.

        They are a branch of that conversation without its system's message, ``ids`` their numbers.
        Reads the disk.
        """
        standing = [s for s in self._all(conversation_id) if s.stands_for(ids, messages)]
        return sorted(standing, key=lambda summary: summary.messages)

    def keep(self, conversation_id: int, summary: Summary) -> None:
        """Keep ``summary``; the oldest of the conversation leave."""
        if len(summary.text) > MOST_CHARACTERS:
            log.info("a summary of %d characters is not kept", len(summary.text))
            return
        kept = (*self._all(conversation_id), summary)[-MOST_SUMMARIES:]
        if is_temporary(conversation_id):
            with self._lock:
                self._in_memory[conversation_id] = kept
        elif self._files is not None:
            self._write(self._files, conversation_id, kept)

    def forget(self, conversation_id: int) -> None:
        """Remove what is kept of a conversation."""
        with self._lock:
            self._in_memory.pop(conversation_id, None)
        if self._files is not None:
            self._files.forget(conversation_id)

    def tidy(self) -> None:
        """Remove what has no conversation (any more)."""
        if self._files is not None:
            self._files.tidy()

    def _all(self, conversation_id: int) -> tuple[Summary, ...]:
        if is_temporary(conversation_id):
            with self._lock:
                return self._in_memory.get(conversation_id, ())
        if self._files is None:
            return ()
        path = self._files.path_of(conversation_id)
        if not path.exists():
            return ()
        try:
            values = read_json(path, max_bytes=_MOST_FILE_BYTES)
            return _read(values)
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            log.warning("summaries are of no use: %s: %s", path.name, type(error).__name__)
            return ()

    def _write(self, files: SavedFiles, conversation_id: int, kept: tuple[Summary, ...]) -> None:
        from lfm2chat.engine.files import new_file  # torch, which the worker has

        rows = [{**asdict(summary), "seal": summary.seal} for summary in kept]
        data = json.dumps({"format": _FORMAT, "summaries": rows}).encode()
        if not files.wanted(conversation_id) or not files.make_room(conversation_id, len(data)):
            return
        path = files.path_of(conversation_id)
        try:
            with new_file(path) as (file, name):
                file.write(data)
                file.flush()
                name.replace(path)
        except OSError as error:
            log.warning("a summary was not kept: %s", error.strerror)
        if not files.wanted(conversation_id):  # deleted while it was written
            files.forget(conversation_id)


def _read(values: dict[str, Any]) -> tuple[Summary, ...]:
    """Raises KeyError, TypeError, ValueError: Something else was expected."""
    if values["format"] != _FORMAT or len(values["summaries"]) > MOST_SUMMARIES:
        raise ValueError("another format")
    return tuple(map(_summary, values["summaries"]))


def _summary(row: dict[str, Any]) -> Summary:
    kinds = {"text": str, "messages": int, "last_id": int, "digest": str, "before": str}
    if any(type(row[name]) is not kind for name, kind in kinds.items()):
        raise TypeError("a field of another kind")
    summary = Summary(**{name: row[name] for name in kinds})
    if len(summary.text) > MOST_CHARACTERS or row["seal"] != summary.seal:
        raise ValueError("a summary that was changed")
    return summary
