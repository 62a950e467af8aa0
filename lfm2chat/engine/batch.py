"""Several sequences in one pass over the weights, each with a cache and a length of its own.

In: the caches (of one row each) of the sequences that take part in this pass. Out: one object
that the model's layers use like a single cache of as many rows. Linear layers then run over all
rows at once, which is where the time goes: one token for each of four sequences costs little more
than one token. Attention goes row by row, since every row has another length.

Nothing is joined but for the pass: a sequence takes part or not, from one pass to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lfm2chat.engine.attention import Visibility
from lfm2chat.engine.cache import HybridCache
from lfm2chat.errors import CacheError, GenerationError

if TYPE_CHECKING:
    from lfm2chat.engine.decoding import DecodedToken, Decoding, LanguageModel


class CacheBatch:
    """The caches of one pass, as rows. One thread; each cache is changed in place.

    Raises:
        CacheError: No cache, one that is there twice, one of several rows, or caches of
            different models, precisions or places.
    """

    def __init__(self, caches: Iterable[HybridCache]) -> None:
        self.caches = tuple(caches)
        if not self.caches or len({id(cache) for cache in self.caches}) != len(self.caches):
            raise CacheError(
                "a batch needs at least one cache, and each once",
                hint="fork a cache that two sequences go on from",
            )
        kinds = {(c.batch_size, c.dtype, c.device) for c in self.caches}
        if len(kinds) > 1 or self.caches[0].batch_size != 1 or not self._one_model():
            raise CacheError(
                "the caches of a batch are of different models, precisions or places",
                hint="batch single sequences of one model",
            )
        first = self.caches[0]
        self.config, self.dtype, self.device = first.config, first.dtype, first.device

    @property
    def batch_size(self) -> int:
        """How many sequences take part."""
        return len(self.caches)

    def positions(self, new_tokens: int) -> Tensor:
        """(B, T) positions of the next ``new_tokens`` tokens of each row."""
        starts = torch.tensor([cache.position for cache in self.caches], device=self.device)
        return starts[:, None] + torch.arange(new_tokens, device=self.device)

    # --- what the model calls: as in HybridCache ---

    def begin(self, new_tokens: int) -> None:
        """Open a forward pass over ``new_tokens`` tokens of every row."""
        for cache in self.caches:
            cache.begin(new_tokens)

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, visibility: Visibility
    ) -> Tensor:
        """Row by row: append keys and values, and mix what the row may see: (B, T, H * E)."""
        return torch.cat(
            [
                cache.attend(
                    layer,
                    queries[row : row + 1],
                    keys[row : row + 1],
                    values[row : row + 1],
                    Visibility(cache.position, visibility.new_tokens),
                )
                for row, cache in enumerate(self.caches)
            ]
        )

    def extend_conv(self, layer: int, columns: Tensor) -> Tensor:
        """Put each row's kept columns before its new ones: (B, D, W - 1 + T)."""
        slot = self.caches[0].slot(layer)
        kept = torch.cat([cache.columns(slot) for cache in self.caches])  # (B, D, W - 1)
        joined = torch.cat([kept, columns], dim=-1)
        for row, cache in enumerate(self.caches):
            cache.stage(slot, joined[row : row + 1])
        return joined

    def commit(self) -> None:
        """Close the forward pass in every row."""
        for cache in self.caches:
            cache.commit()

    def _one_model(self) -> bool:
        first = self.caches[0].config
        return all(cache.config is first or cache.config == first for cache in self.caches)


@dataclass(slots=True)
class BatchDecoder:
    """Writes several answers at once: one token of each for one pass over the weights.

    A sequence joins with :meth:`join` and leaves when it ends, or with :meth:`leave`, between
    two steps; its cache then holds what it read, and all it drew but the last token. What a
    sequence gets does not depend on the others, but for rounding: each has its own cache,
    sampling and random numbers. One thread.
    """

    model: LanguageModel
    _live: list[Decoding] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._live)

    def join(self, decoding: Decoding) -> None:
        """Let ``decoding`` take part from the next step on.

        Raises:
            CacheError: Its cache takes part already, or is of another model, precision or place
                than those that do; nothing has changed then.
            GenerationError: It has ended.
        """
        if decoding.ended:
            raise GenerationError(
                "an answer that has ended cannot be written on",
                hint="start a new one on its cache, once that has read the last token",
            )
        CacheBatch([*(other.cache for other in self._live), decoding.cache])
        self._live.append(decoding)

    def leave(self, decoding: Decoding) -> None:
        """Take ``decoding`` out; it may join again later, and go on where it was."""
        self._live = [other for other in self._live if other is not decoding]

    def step(self) -> Iterator[tuple[Decoding, DecodedToken]]:
        """Draw one token for each live sequence, then read those that go on, in one pass.

        The pass is made when the last pair has been taken. A sequence that leaves, or whose last
        token this is, is not read on.

        Raises:
            GenerationError: The logits of one sequence are no numbers; that one has left, the
                others can go on.
        """
        for decoding in list(self._live):
            if not decoding.waiting:
                try:
                    token = decoding.draw()
                except BaseException:
                    self.leave(decoding)
                    raise
                if token.finish is not None:
                    self.leave(decoding)
                yield decoding, token
        self._read()

    def _read(self) -> None:
        going_on = [decoding for decoding in self._live if decoding.waiting]
        if going_on:
            read_together(self.model, going_on)


def read_together(model: LanguageModel, decodings: Sequence[Decoding]) -> None:
    """Read the token that each of ``decodings`` drew last, in one pass over the weights.

    What the pass raises leaves every one of them, and its cache, as it was.

    Raises:
        CacheError: As in :class:`CacheBatch`.
        GenerationError: One of them has drawn no token since it read the last.
    """
    caches = CacheBatch(decoding.cache for decoding in decodings)
    drawn = [[decoding.pending_id] for decoding in decodings]
    ids = torch.tensor(drawn, device=caches.device)
    for decoding, logits in zip(decodings, model.next_logits(ids, caches), strict=True):
        decoding.read(logits)
