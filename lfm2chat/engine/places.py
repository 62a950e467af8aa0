"""Places of a cache to come back to: marks that it knows, and segments that were cut out of it.

In and out: lengths in tokens, and copies of what stood there. Knows nothing of layers or passes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from torch import Tensor

from lfm2chat.errors import CacheError


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CacheMark:
    """A place to come back to: the length in tokens, and the conv columns there.

    Made by :meth:`HybridCache.mark`, good for that cache only, until its tokens are forgotten.
    """

    length: int
    serial: int
    owner: object = field(repr=False)  # stands for the cache, without keeping it alive
    conv_columns: tuple[Tensor, ...] = field(repr=False)  # each (B, D, W - 1)

    @property
    def nbytes(self) -> int:
        """Memory that the mark holds."""
        return sum(columns.nbytes for columns in self.conv_columns)


@dataclass(frozen=True, slots=True, eq=False)
class CacheSegment:
    """A copy of the tokens from ``start`` to ``end``, to be spliced in again after others.

    Made by :meth:`HybridCache.segment`. It fits every cache of the same model, precision and
    batch size whose first ``start`` tokens are the same; who splices it knows that they are.
    """

    start: int
    end: int
    pieces: tuple[Tensor, ...] = field(repr=False)
    conv_columns: tuple[Tensor, ...] = field(repr=False)  # at ``end``, each (B, D, W - 1)

    @property
    def nbytes(self) -> int:
        """Memory that the segment holds."""
        return sum(tensor.nbytes for tensor in (*self.pieces, *self.conv_columns))

    def check(self, slices: Sequence[Tensor], conv_columns: Sequence[Tensor]) -> None:
        """Compare with a cache's own ``slices`` (B, K, any, E) and ``conv_columns``.

        Raises:
            CacheError: The cache is another model's, or of another batch or precision.
        """
        fits = len(slices) == len(self.pieces) and all(
            own.shape[:2] == piece.shape[:2]
            and own.shape[3] == piece.shape[3]
            and own.dtype == piece.dtype
            for own, piece in zip(slices, self.pieces, strict=False)
        )
        shapes = [kept.shape for kept in conv_columns]
        if not fits or shapes != [kept.shape for kept in self.conv_columns]:
            raise CacheError(
                "the segment was cut from the cache of another model, batch or precision",
                hint="read its tokens anew",
            )


class Marks:
    """The marks of one cache that are still good, as long as somebody holds them."""

    def __init__(self) -> None:
        self._good: WeakValueDictionary[int, CacheMark] = WeakValueDictionary()
        self._serials = itertools.count(1)
        self._identity = object()

    def make(self, length: int, conv_columns: Sequence[Tensor]) -> CacheMark:
        """A mark at ``length``, with copies of ``conv_columns``."""
        copies = tuple(columns.clone() for columns in conv_columns)
        mark = CacheMark(length, next(self._serials), self._identity, copies)
        self._good[mark.serial] = mark
        return mark

    def check(self, mark: CacheMark) -> None:
        """Let ``mark`` pass if it is one of these.

        Raises:
            CacheError: It is another cache's, or its tokens were forgotten.
        """
        if mark.owner is not self._identity or mark.serial not in self._good:
            raise CacheError(
                f"the mark at {mark.length} tokens is from another cache, or its tokens were"
                " forgotten by a restore to an earlier mark",
                hint="take a new mark, or read the tokens again",
            )

    def nearest(self, length: int, *, within: int) -> CacheMark | None:
        """The last mark at or before ``length``, if it is at most ``within`` tokens before."""
        before = [mark for mark in self._good.values() if mark.length <= length]
        last = max(before, key=lambda mark: mark.length, default=None)
        return last if last is not None and last.length >= length - within else None

    def forget(self, *, beyond: int) -> None:
        """Drop the marks of more than ``beyond`` tokens, in place."""
        for serial, mark in list(self._good.items()):
            if mark.length > beyond:
                self._good.pop(serial, None)
