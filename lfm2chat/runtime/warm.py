"""Live caches by token prefix: a turn reads only what no cache holds yet.

A cache belongs to (weights, token ids) and is found by its ids, never by a conversation's
number: a branch, a sibling or another conversation with the same beginning reuses it. Owned and
used by the worker's thread alone.

Going back keeps what it leaves: the tokens after the place are cut off as a branch, so coming
forward again, or to a sibling, is a copy of that branch and no reading. The engine goes back to
any token, not only to marks, at the price of a few tokens read again (20 with 16 layers), in the
same pass as the new ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lfm2chat.engine import CacheMark, CacheSegment, HybridCache

DEFAULT_BUDGET_BYTES = 1 << 30
MAX_CONTEXTS = 8
MIN_SHARED_TOKENS = 32
"""A beginning that is shorter is read again rather than waited for."""


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Tokens that were cut off: those of ``ids`` from ``segment.start`` on, which is all of it.

    ``used`` says when, in turns; the smallest is the oldest. ``conversation_id`` is that of the
    stored conversation they come from.
    """

    ids: tuple[int, ...]
    segment: CacheSegment
    used: int
    conversation_id: int | None = None


@dataclass(slots=True)
class WarmContext:
    """A cache and the ids that it holds (``len(ids) == cache.length``), its marks and branches.

    ``marks`` are by length; ``branches`` the oldest first. ``used`` as in :class:`Branch`;
    ``conversation_id`` is that of the stored conversation that used it last.
    """

    cache: HybridCache
    ids: list[int] = field(default_factory=list)
    marks: dict[int, CacheMark] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    used: int = 0
    conversation_id: int | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the cache, its marks and its branches take, forgotten tokens included."""
        parts: Iterator[CacheMark | CacheSegment] = itertools.chain(
            self.marks.values(), (branch.segment for branch in self.branches)
        )
        return self.cache.held_bytes + sum(part.nbytes for part in parts)

    def feed(self, ids: Iterable[int]) -> None:
        """Note that the model has read ``ids`` into the cache; changed in place."""
        self.ids.extend(ids)

    def mark(self) -> None:
        """Make the current length a place that costs nothing to come back to, where it can be."""
        if self.cache.position == self.cache.length:
            self.marks[len(self.ids)] = self.cache.mark()

    def usable_prefix(self, prompt_ids: Sequence[int]) -> int:
        """The longest length that cache and branches can offer to ``prompt_ids``.

        One token is always left to read: the next logits come from it.
        """
        return self._way_to(prompt_ids)[0]

    def go_to(self, prompt_ids: Sequence[int]) -> None:
        """Move to the longest usable prefix of ``prompt_ids``, in place.

        What the cache held beyond it is cut off as a branch. Reading goes on at
        ``cache.position``.
        """
        length, way = self._way_to(prompt_ids)
        base = min(length, common_prefix(self.ids, prompt_ids))
        self._cut(base)
        for branch in way:
            end = min(length, common_prefix(branch.ids, prompt_ids))
            self._keep_marks(min(branch.segment.start, len(self.ids)))
            self.cache.splice(branch.segment, end)
            self.ids = list(branch.ids[:end])
            if end == len(branch.ids):
                self.branches.remove(branch)
                self.mark()

    def fork(self, prompt_ids: Sequence[int]) -> WarmContext:
        """An independent context at the longest usable prefix; this one is unchanged."""
        base = min(self.usable_prefix(prompt_ids), common_prefix(self.ids, prompt_ids))
        twin = WarmContext(self.cache.fork(base), self.ids[:base], branches=list(self.branches))
        twin.go_to(prompt_ids)
        # The branches stay with the original: they are its memory.
        twin.branches = []
        return twin

    def _way_to(self, prompt_ids: Sequence[int]) -> tuple[int, list[Branch]]:
        """The longest usable length, and the branches to splice for it, in order."""
        length = common_prefix(self.ids, prompt_ids)
        way: list[Branch] = []
        while True:
            fitting = [b for b in self.branches if b.segment.start <= length]
            best = max(fitting, key=lambda b: common_prefix(b.ids, prompt_ids), default=None)
            reached = 0 if best is None else common_prefix(best.ids, prompt_ids)
            if best is None or reached <= length:
                return min(length, len(prompt_ids) - 1), way
            way.append(best)
            length = reached

    def _cut(self, length: int) -> None:
        if length < len(self.ids) and self.cache.position == self.cache.length:
            ids = tuple(self.ids)
            segment = self.cache.segment(length)
            self.branches.append(Branch(ids, segment, self.used, self.conversation_id))
        self.cache.rewind(length)
        del self.ids[length:]
        self._keep_marks(length)

    def _keep_marks(self, length: int) -> None:
        self.marks = {at: mark for at, mark in self.marks.items() if at <= length}


@dataclass(frozen=True, slots=True, eq=False)
class _Lent:
    """A context that a turn reads ``prompt_ids`` into, and then writes on."""

    context: WarmContext
    prompt_ids: Sequence[int]


class WarmContexts:
    """The live contexts of one loaded model, least recently used first.

    Those that turns use at the moment are lent: others may copy what they have read, and no more.
    """

    def __init__(self, *, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._contexts: list[WarmContext] = []
        self._lent: list[_Lent] = []
        self._turns = itertools.count(1)

    def usable_prefix(self, prompt_ids: Sequence[int]) -> int:
        """The longest length that :meth:`take` can offer to ``prompt_ids``, 0 for none."""
        return max((c.usable_prefix(prompt_ids) for c in self._all()), default=0)

    def is_coming(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a turn is reading a clearly longer beginning of ``prompt_ids`` at the moment."""
        most = len(prompt_ids) - 1
        coming = (min(most, common_prefix(lent.prompt_ids, prompt_ids)) for lent in self._lent)
        longest = max(coming, default=0)
        # What is read again after a copy must be little beside what it saves.
        return longest > MIN_SHARED_TOKENS and longest > self.usable_prefix(prompt_ids)

    def lend(self, context: WarmContext, prompt_ids: Sequence[int]) -> None:
        """Note that a turn reads ``prompt_ids`` into ``context``, until it is given back."""
        self._lent.append(_Lent(context, prompt_ids))

    def take(self, prompt_ids: Sequence[int]) -> WarmContext | None:
        """A context at the longest usable prefix of ``prompt_ids``, or None.

        It leaves the pool until it is returned with :meth:`give`. Where the context holds much
        more than the prefix, another conversation mostly, a copy of the prefix is given and the
        original stays.
        """
        best = max(self._all(), key=lambda c: c.usable_prefix(prompt_ids), default=None)
        length = best.usable_prefix(prompt_ids) if best is not None else 0
        if best is None or length == 0:
            return None
        if 2 * length < len(best.ids) or all(best is not context for context in self._contexts):
            return best.fork(prompt_ids)
        self._contexts.remove(best)
        best.go_to(prompt_ids)
        return best

    def twin(self, prompt_ids: Sequence[int]) -> WarmContext | None:
        """A copy of what :meth:`take` would give, or None; nothing in the pool changes."""
        best = max(self._all(), key=lambda c: c.usable_prefix(prompt_ids), default=None)
        if best is None or best.usable_prefix(prompt_ids) == 0:
            return None
        return best.fork(prompt_ids)

    def give(self, context: WarmContext) -> None:
        """Put ``context`` (back) into the pool; the least recently used leave over budget."""
        self._lent = [lent for lent in self._lent if lent.context is not context]
        if not context.ids:
            return
        context.used = next(self._turns)
        self._contexts.append(context)
        while len(self._contexts) > MAX_CONTEXTS or self.nbytes > self._budget_bytes:
            if not self._drop_oldest():
                return

    @property
    def nbytes(self) -> int:
        """Bytes that the contexts in the pool take."""
        return sum(context.nbytes for context in self._contexts)

    def forget(self, conversation_id: int) -> None:
        """Drop what belongs to a stored conversation, branches in other contexts too."""
        self._contexts = [c for c in self._contexts if c.conversation_id != conversation_id]
        for context in self._contexts:
            context.branches = [b for b in context.branches if b.conversation_id != conversation_id]

    def clear(self) -> None:
        """Drop every context."""
        self._contexts.clear()

    def _all(self) -> list[WarmContext]:
        """First those that are free: where both hold as much, nothing need be copied."""
        return [*self._contexts, *(lent.context for lent in self._lent)]

    def _drop_oldest(self) -> bool:
        """Drop the branch or the context that was not used for longest; never the newest one."""
        newest = self._contexts[-1]
        owners = [c for c in self._contexts if c.branches]
        owner = min(owners, key=lambda c: c.branches[0].used, default=None)
        context = self._contexts[0]
        too_many = len(self._contexts) > MAX_CONTEXTS
        if owner is not None and owner.branches[0].used <= context.used and not too_many:
            owner.branches.pop(0)
            return True
        if context is not newest:
            self._contexts.remove(context)
            return True
        return False


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids from the beginning are the same in both."""
    low, high = 0, min(len(first), len(second))
    if type(first) is not type(second):  # slices of two types are never equal
        first, second = list(first), list(second)
    # By halves: slices compare a hundred times as fast as a loop.
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
