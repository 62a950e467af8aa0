"""Contexts that outlive the process: saved when nothing else is to be done, found by token ids.

After a turn of a stored conversation its context is noted; once the worker has had nothing to do
for a moment it is written. A turn that no live context serves well loads the file with the longest
usable beginning, of whichever conversation, and reads only what is new. Owned and used by the
worker's thread alone. A file that cannot be used is a miss, one that cannot be written a line in
the log.
"""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.engine import CacheHeader, load_cache, read_cache_header, save_cache
from lfm2chat.errors import CacheError
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.saved_files import SavedFiles, remove
from lfm2chat.runtime.warm import WarmContext, WarmContexts, common_prefix

QUIET_S = 2.0
"""How long nothing must have happened: who writes one message after the other is not held up."""

MIN_GAIN_TOKENS = 64
_GAIN_SHARE = 16
"""Loading a token costs about a hundredth of reading it on a CPU, a tenth on a GPU."""

_FIRST_GUESS_BYTES_PER_S = 100e6

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Unsaved:
    context: WarmContext
    used: int  # another number in the context by now means that it has gone elsewhere


class SavedContexts:
    """The saved contexts that one loaded model can use, and those of it that are still to save."""

    def __init__(self, files: SavedFiles, loaded: LoadedModel) -> None:
        self._files = files
        self._loaded = loaded
        self._unsaved: dict[int, _Unsaved] = {}  # by conversation, the newest last
        self._noted_at = 0.0
        self._bytes_per_s = _FIRST_GUESS_BYTES_PER_S
        self._headers: dict[Path, tuple[tuple[int, int, int], CacheHeader]] = {}

    def note(self, conversation_id: int, context: WarmContext) -> None:
        """Let ``context``, as it is now, be saved as that of a conversation."""
        self._unsaved.pop(conversation_id, None)
        if self._files.budget_bytes and len(context.ids) > MIN_GAIN_TOKENS:
            self._unsaved[conversation_id] = _Unsaved(context, context.used)
        self._noted_at = time.monotonic()

    def drop(self, conversation_id: int) -> None:
        """Forget what was noted of a conversation, and what its file held."""
        self._unsaved.pop(conversation_id, None)
        self._headers.pop(self._files.path_of(conversation_id), None)

    def load(self, prompt_ids: Sequence[int], *, live_tokens: int) -> WarmContext | None:
        """A saved context at the longest usable prefix of ``prompt_ids``, or None.

        None also where it holds too little more than the ``live_tokens`` that memory offers.
        """
        if not self._files.budget_bytes or len(prompt_ids) - live_tokens <= MIN_GAIN_TOKENS:
            return None
        while (path := self._best(array("I", prompt_ids), live_tokens)) is not None:
            model = self._loaded.model
            try:
                cache, ids = load_cache(
                    path,
                    model.config,
                    dtype=model.dtype,
                    device=model.device,
                    fingerprint=self._loaded.fingerprint,
                )
            except (MemoryError, RuntimeError) as error:  # what torch raises where memory is full
                log.warning("no memory for a saved context: %s", type(error).__name__)
                return None
            except CacheError as error:
                log.warning("a saved context is of no use: %s", error)
                remove(path)
                continue
            context = WarmContext(cache, ids, conversation_id=_conversation_of(path))
            context.mark()
            context.go_to(prompt_ids)
            return context
        return None

    def usable_prefix(self, prompt_ids: Sequence[int]) -> int:
        """The longest length that a file can offer to ``prompt_ids``, 0 for none."""
        prompt = array("I", prompt_ids)
        lengths = (common_prefix(header.token_ids, prompt) for _, header in self._usable())
        return min(max(lengths, default=0), len(prompt) - 1)

    # --- saving -------------------------------------------------------------------------------

    @property
    def due_in_s(self) -> float | None:
        """When :meth:`save_next` may be called, if nothing comes between; None: nothing to save."""
        if not self._unsaved:
            return None
        return max(0.0, self._noted_at + QUIET_S - time.monotonic())

    def save_next(self, stopped: Callable[[], bool]) -> None:
        """Save the context that was noted last; where ``stopped`` ends it, it is still noted."""
        conversation_id, unsaved = self._unsaved.popitem()
        if not self._save(conversation_id, unsaved, stopped):
            self._unsaved[conversation_id] = unsaved
            self._noted_at = time.monotonic()

    def finish(self, limit_s: float) -> None:
        """Save what is noted, as far as that takes no longer than ``limit_s``; drop the rest."""
        end = time.monotonic() + limit_s
        while self._unsaved:
            conversation_id, unsaved = self._unsaved.popitem()
            expected_s = unsaved.context.cache.nbytes / self._bytes_per_s
            if time.monotonic() + expected_s < end:
                self._save(conversation_id, unsaved, lambda: time.monotonic() > end)

    def _save(self, conversation_id: int, unsaved: _Unsaved, stopped: Callable[[], bool]) -> bool:
        """False where ``stopped`` ended it; whatever else happens, it was tried."""
        context, files = unsaved.context, self._files
        if context.used != unsaved.used or context.cache.position != context.cache.length:
            return True
        size = context.cache.nbytes
        if not files.wanted(conversation_id) or not files.make_room(conversation_id, size):
            return True
        path = files.path_of(conversation_id)
        started = time.monotonic()
        try:
            whole = save_cache(
                context.cache,
                path,
                token_ids=context.ids,
                fingerprint=self._loaded.fingerprint,
                stopped=stopped,
            )
        except (CacheError, MemoryError) as error:
            log.warning("a context was not saved: %s", error)
            return True
        if not whole:
            return False
        self._bytes_per_s = size / max(1e-6, time.monotonic() - started)
        if not files.wanted(conversation_id):  # deleted while it was written
            files.forget(conversation_id)
        return True

    # --- finding ------------------------------------------------------------------------------

    def _best(self, prompt: array[int], live_tokens: int) -> Path | None:
        """The file whose use saves most, if it saves clearly more than loading costs."""
        best, most = None, 0
        for path, header in self._usable():
            usable = min(common_prefix(header.token_ids, prompt), len(prompt) - 1)
            gain = usable - live_tokens
            if gain > max(most, MIN_GAIN_TOKENS, len(header.token_ids) // _GAIN_SHARE):
                best, most = path, gain
        return best

    def _usable(self) -> Iterator[tuple[Path, CacheHeader]]:
        """Every file of this model; a header is read again only when its file has changed."""
        known, self._headers = self._headers, {}
        for file in self._files.files():
            state, header = known.get(file.path, (None, None))
            if header is None or state != file.state:
                try:
                    header = read_cache_header(file.path)
                except CacheError as error:
                    log.warning("a saved context is of no use: %s", error)
                    remove(file.path)
                    continue
            self._headers[file.path] = (file.state, header)
            if header.fingerprint == self._loaded.fingerprint:
                yield file.path, header


def _conversation_of(path: Path) -> int:
    return int(path.stem)


def find_context(
    loaded: LoadedModel,
    contexts: WarmContexts,
    saved: SavedContexts | None,
    prompt_ids: Sequence[int],
) -> WarmContext:
    """The context that holds most of the prompt: from the disk, from memory, or an empty one."""
    if saved is not None:
        context = saved.load(prompt_ids, live_tokens=contexts.usable_prefix(prompt_ids))
        if context is not None:
            return context
    return contexts.take(prompt_ids) or WarmContext(loaded.new_cache())
