"""Reading ahead: what a prompt will hold is read while it is still typed.

A seed promises the same text, and numbers differ in their last bits with the length of the passes
that read a prompt. So only what a turn that is alone would read in the very same passes is read
ahead: whole chunks, from where it will begin; and each chunk's end is a place to come back to.
It is read into a copy of the context: live ones stay as they are, and nothing is ever saved.
Owned and used by the worker's thread alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lfm2chat.engine import CacheMark, prefill
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.saved import SavedContexts
from lfm2chat.runtime.scheduler import Priority
from lfm2chat.runtime.warm import WarmContext, WarmContexts, common_prefix
from lfm2chat.spec.free_memory import available_memory_bytes

STILL_OPEN_TOKENS = 16
"""The last tokens of a prompt may be others once it is sent: the last words, the template's end."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Primed:
    """Chunks that were read on top of a copy of a context.

    Attributes:
        context: The copy; its ids are those that were read.
        base: Tokens that it was copied with.
        start: Where reading began: ``base``, or a little before it after going back.
        places: The end of each chunk, with its mark.
    """

    context: WarmContext
    base: int
    start: int
    places: list[tuple[int, CacheMark]] = field(default_factory=list)

    def keep(self, prompt_ids: Sequence[int]) -> None:
        """Go back to the end of the last chunk that ``prompt_ids`` share, if there is one."""
        common = common_prefix(self.context.ids, prompt_ids)
        self.places = [place for place in self.places if place[0] <= common]
        if self.places:
            length, mark = self.places[-1]
            self.context.cache.restore(mark)
            del self.context.ids[length:]

    def lend(self, context: WarmContext, prompt_ids: Sequence[int]) -> None:
        """Put what was read behind what ``context`` holds, in place, as far as it serves
        ``prompt_ids``; nothing where the turn would have read it otherwise. Once.
        """
        cache = context.cache
        if (cache.position, cache.length) != (self.start, self.base):
            return
        # One token is always left to read: the next logits come from it.
        self.keep(prompt_ids[:-1])
        if not self.places:
            return
        cache.splice(self.context.cache.segment(self.base))
        context.ids = list(self.context.ids)


class PrimeSequence:
    """Reads ahead what a prompt will hold. Made, stepped and dropped on the worker's thread."""

    priority = Priority.PRIME

    def __init__(
        self,
        loaded: LoadedModel,
        contexts: WarmContexts,
        *,
        saved: SavedContexts | None,
        urgent: Callable[[], bool],
    ) -> None:
        """``urgent`` says that a turn waits: reading ahead stops before the next layer."""
        self._loaded = loaded
        self._contexts = contexts
        self._saved = saved
        self._urgent = urgent
        self._prompt_ids: tuple[int, ...] = ()
        self._primed: Primed | None = None

    @property
    def loaded(self) -> LoadedModel:
        """The model that reads."""
        return self._loaded

    def aim(self, prompt_ids: tuple[int, ...]) -> None:
        """Read ``prompt_ids`` from now on; what they share with those before is kept."""
        self._prompt_ids = prompt_ids
        if self._primed is None:
            return
        lost = self._contexts.usable_prefix(prompt_ids) > self._primed.base
        if lost or common_prefix(self._primed.context.ids, prompt_ids) < self._primed.base:
            self._primed = None
            return
        before = len(self._primed.places)
        self._primed.keep(prompt_ids)
        if before and not self._primed.places:
            self._primed = None

    def step(self) -> bool:
        """Read one chunk; False once there is no whole one left, or a turn waits."""
        if not self._prompt_ids or self._urgent():
            return False
        self._loaded.take_threads()
        try:
            if self._primed is None:
                self._primed = self._copied()
            return self._primed is not None and self._read_chunk(self._primed)
        except (Lfm2ChatError, MemoryError) as error:  # the turn will say so, if it is still true
            log.info("nothing is read ahead: %s", error)
            self.cancel()
            return False

    def cancel(self) -> None:
        """Drop everything."""
        self._prompt_ids = ()
        self._primed = None

    def fail(self, error: BaseException) -> None:
        """Drop everything: reading ahead owes nobody anything. The worker has logged it."""
        del error
        self.cancel()

    def take(self) -> Primed | None:
        """What was read so far, for the turn that comes; nothing is left here."""
        primed = self._primed
        self.cancel()
        return primed if primed is not None and primed.places else None

    def _copied(self) -> Primed | None:
        """A copy of the context that a turn would begin with, if there is a chunk to read."""
        ids = self._prompt_ids
        live = self._contexts.usable_prefix(ids)
        if not self._has_chunk(live):
            return None
        context = self._saved.load(ids, live_tokens=live) if self._saved is not None else None
        if context is None:
            context = self._contexts.twin(ids) or WarmContext(self._loaded.new_cache())
        free = available_memory_bytes()
        if free is not None and free < 2 * context.cache.held_bytes:
            return None
        return Primed(context, base=context.cache.length, start=context.cache.position)

    def _has_chunk(self, position: int) -> bool:
        size = self._loaded.pace.size(position)
        return position + size <= len(self._prompt_ids) - STILL_OPEN_TOKENS

    def _read_chunk(self, primed: Primed) -> bool:
        context, position = primed.context, primed.context.cache.position
        if not self._has_chunk(position):
            return False
        end = position + self._loaded.pace.size(position)
        chunk = self._prompt_ids[position:end]
        reading = prefill(
            self._loaded.model,
            chunk,
            context.cache,
            pace=self._loaded.pace,
            cancelled=self._urgent,
        )
        if next(reading, None) is None:  # a turn came: what is whole is kept for it
            return False
        context.feed(self._prompt_ids[len(context.ids) : end])
        primed.places.append((end, context.cache.mark()))
        return self._has_chunk(end)
