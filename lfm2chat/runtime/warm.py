"""Live caches by token prefix: a turn reads only what no cache holds yet.

A cache belongs to (weights, token ids) and is found by its ids, never by a conversation's
number: a branch, a sibling or another conversation with the same beginning reuses it. Owned and
used by the worker's thread alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from lfm2chat.engine import CacheMark, HybridCache

DEFAULT_BUDGET_BYTES = 1 << 30
MAX_CONTEXTS = 8


@dataclass(slots=True)
class WarmContext:
    """A cache, the ids that it holds (``len(ids) == cache.length``), and its marks by length."""

    cache: HybridCache
    ids: list[int] = field(default_factory=list)
    marks: dict[int, CacheMark] = field(default_factory=dict)

    def feed(self, ids: Iterable[int]) -> None:
        """Note that the model has read ``ids`` into the cache; changed in place."""
        self.ids.extend(ids)

    def mark(self) -> None:
        """Make the current length a place to come back to."""
        self.marks[len(self.ids)] = self.cache.mark()

    def usable_prefix(self, prompt_ids: Sequence[int]) -> int:
        """The longest length that this cache can offer to ``prompt_ids``.

        One token is always left to read: the next logits come from it.
        """
        pairs = zip(self.ids, prompt_ids, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if common == len(self.ids) and common < len(prompt_ids):
            return common
        return max((at for at in self.marks if at <= common and at < len(prompt_ids)), default=0)

    def branch(self, length: int) -> WarmContext:
        """An independent context that holds the first ``length`` ids; this one is unchanged."""
        context = WarmContext(self.cache.fork(self.marks[length]), self.ids[:length])
        context.mark()
        return context


class WarmContexts:
    """The live contexts of one loaded model, least recently used first."""

    def __init__(self, *, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._contexts: list[WarmContext] = []

    def take(self, prompt_ids: Sequence[int]) -> WarmContext | None:
        """The context with the longest usable prefix of ``prompt_ids``, or None.

        Where the whole context is a prefix it leaves the pool (the turn extends it); else a
        branch is made at the mark and the original stays, so that going back never re-reads.
        Return it with :meth:`give`.
        """
        best = max(self._contexts, key=lambda c: c.usable_prefix(prompt_ids), default=None)
        length = best.usable_prefix(prompt_ids) if best is not None else 0
        if best is None or length == 0:
            return None
        self._contexts.remove(best)
        if length == len(best.ids):
            return best
        self._contexts.append(best)
        return best.branch(length)

    def give(self, context: WarmContext) -> None:
        """Put ``context`` (back) into the pool; the least recently used leave over budget."""
        if not context.ids:
            return
        self._contexts.append(context)
        while len(self._contexts) > 1 and (
            len(self._contexts) > MAX_CONTEXTS or self.nbytes > self._budget_bytes
        ):
            self._contexts.pop(0)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches in the pool hold."""
        return sum(context.cache.nbytes for context in self._contexts)

    def clear(self) -> None:
        """Drop every context."""
        self._contexts.clear()
