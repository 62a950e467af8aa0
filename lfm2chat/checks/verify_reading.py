"""Every way in which our engine can read the same tokens, beside the logits that are right.

In: a model, token ids, and the logits of one pass without a cache. Out: how far the logits of
each way are from them, in units of the largest logit. Knows no text and no `transformers`.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lfm2chat.engine import CacheBatch, HybridCache, Lfm2ForCausalLM, load_cache, save_cache

LONGEST_CHUNK = 200
AFTER = 24
"""Tokens that are read, and compared, after a cache went back to some place."""
SINGLE = 32
"""Tokens that are read one by one."""
_FINGERPRINT = "verify"


@dataclass(frozen=True, slots=True)
class Reading:
    """A model, ids (1, T) and the ``truth`` (T, V), the right logits after each of them.

    ``places`` are lengths in tokens that a cache goes back to; ``quantized`` keeps its keys and
    values in 8 bits. Used by one thread.
    """

    model: Lfm2ForCausalLM
    ids: Tensor
    truth: Tensor
    places: tuple[int, ...]
    quantized: bool = False

    @property
    def tokens(self) -> int:
        """T, the number of ids."""
        return self.ids.shape[1]

    def off(self, logits: Tensor, first: int) -> float:
        """The largest difference of ``logits`` (N, V) from the truth after tokens ``first``..."""
        return distance(logits, self.truth[first : first + logits.shape[0]], scale=self.scale)

    @property
    def scale(self) -> float:
        """The largest logit."""
        return float(self.truth.abs().max())

    def cache(self) -> HybridCache:
        """An empty cache for one sequence of this model."""
        model = self.model
        return HybridCache(
            model.config, dtype=model.dtype, device=model.device, quantized=self.quantized
        )

    def read(self, cache: HybridCache, end: int, seed: int) -> Tensor:
        """Read on up to token ``end`` in chunks of random sizes; their logits (N, V)."""
        sizes = random.Random(seed)  # noqa: S311 - no secret
        pieces = [self.truth.new_zeros(0, self.truth.shape[1])]
        while cache.position < end:
            last = min(end, cache.position + sizes.randint(1, LONGEST_CHUNK))
            chunk = self.ids[:, cache.position : last]
            pieces.append(self.model.all_logits(chunk, cache)[0].to(self.truth.device))
        return torch.cat(pieces)

    def mislead(self, cache: HybridCache) -> None:
        """Read tokens that do not belong there: who goes back must forget them."""
        self.model.next_logits(self.ids[:, :AFTER].flip(1), cache)

    def after(self, cache: HybridCache, length: int) -> float:
        """Read from where the cache says up to ``AFTER`` tokens behind ``length``, and compare."""
        first = cache.position
        logits = self.read(cache, min(self.tokens, length + AFTER), length)
        # What was read again before it is there for the columns of the convolutions only.
        return self.off(logits[length - first :], length)


def whole(reading: Reading) -> float:
    """One pass over all tokens."""
    return reading.off(reading.model.all_logits(reading.ids, reading.cache())[0], 0)


def chunks(reading: Reading) -> float:
    """Chunks of random sizes."""
    return reading.off(reading.read(reading.cache(), reading.tokens, 1), 0)


def singly(reading: Reading) -> float:
    """The last tokens one by one."""
    cache, first = reading.cache(), max(0, reading.tokens - SINGLE)
    reading.read(cache, first, 2)
    logits = [
        reading.model.next_logits(one, cache)
        for one in torch.split(reading.ids[:, first:], 1, dim=1)
    ]
    return reading.off(torch.cat(logits), first)


def restored(reading: Reading) -> float:
    """Back to a mark."""
    cache, worst = reading.cache(), 0.0
    for place in sorted(reading.places):
        reading.read(cache, place, 3)
        mark = cache.mark()
        reading.mislead(cache)
        cache.restore(mark)
        worst = max(worst, reading.after(cache, place))
        cache.restore(mark)
    return worst


def rewound(reading: Reading) -> float:
    """Back to places without a mark, read on from where the cache says."""
    cache, worst = reading.cache(), 0.0
    reading.read(cache, reading.tokens, 4)
    for place in sorted(reading.places, reverse=True):
        cache.rewind(place)
        worst = max(worst, reading.after(cache, place))
        reading.mislead(cache)
    return worst


def forked(reading: Reading) -> float:
    """Twins of a cache, from a mark and from places without one."""
    cache = reading.cache()
    reading.read(cache, reading.tokens, 5)
    mark = cache.mark()
    twins = [(place, cache.fork(place)) for place in reading.places]
    reading.mislead(cache)
    twins.append((reading.tokens, cache.fork(mark)))
    reading.mislead(cache)
    return max(reading.after(twin, place) for place, twin in twins if place < reading.tokens)


def spliced(reading: Reading) -> float:
    """Parts of another context's cache."""
    cache, other, worst = reading.cache(), reading.cache(), 0.0
    reading.read(cache, reading.tokens, 6)
    segment = cache.segment(min(reading.places) // 2)
    reading.read(other, segment.start, 7)
    for place in reading.places:
        reading.mislead(other)
        other.splice(segment, place)
        worst = max(worst, reading.after(other, place))
    return worst


def saved(reading: Reading) -> float:
    """A cache that was in a file."""
    cache, place, model = reading.cache(), reading.places[0], reading.model
    reading.read(cache, place, 8)
    ids = reading.ids[0, :place].tolist()
    with tempfile.TemporaryDirectory(prefix="lfm2chat-") as folder:
        path = Path(folder) / "cache"
        save_cache(cache, path, token_ids=ids, fingerprint=_FINGERPRINT)
        loaded, _ = load_cache(
            path, model.config, dtype=model.dtype, device=model.device, fingerprint=_FINGERPRINT
        )
    return reading.after(loaded, place)


WAYS: dict[str, Callable[[Reading], float]] = {
    "whole": whole,
    "in chunks": chunks,
    "one by one": singly,
    "back to a mark": restored,
    "back, no mark": rewound,
    "forked": forked,
    "spliced": spliced,
    "from a file": saved,
}
"""Each way of reading, by its name."""


def batched(readings: Sequence[Reading]) -> float:
    """All sequences side by side, each from a place of its own, one token a step.

    A sequence leaves at its end; the largest difference of any of them.
    """
    model = readings[0].model
    rows = [(reading, reading.cache()) for reading in readings]
    for reading, cache in rows:
        reading.read(cache, min(reading.places), 9)
    worst = 0.0
    for _ in range(SINGLE):
        rows = [(reading, cache) for reading, cache in rows if cache.position < reading.tokens]
        if not rows:
            break
        firsts = [cache.position for _, cache in rows]
        ids = torch.cat(
            [
                reading.ids[:, first : first + 1]
                for (reading, _), first in zip(rows, firsts, strict=True)
            ]
        )
        logits = model.next_logits(ids, CacheBatch(cache for _, cache in rows))
        for (reading, _), first, row in zip(rows, firsts, logits, strict=True):
            worst = max(worst, reading.off(row[None].to(reading.truth.device), first))
    return worst


def draw_places(tokens: int, count: int, seed: int) -> tuple[int, ...]:
    """``count`` lengths from 1 to a few tokens before the end of ``tokens``."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    return tuple(draw.randint(1, max(1, tokens - AFTER)) for _ in range(count))


def distance(logits: Tensor, truth: Tensor, *, scale: float) -> float:
    """The largest difference of two (N, V), in units of ``scale``; infinite for a NaN.

    ``logits`` may be on another device. A ``scale`` of 0 is taken for 1: nothing is large there.
    """
    largest = float((logits.to(truth.device).float() - truth).abs().max())
    return math.inf if math.isnan(largest) else largest / (scale or 1.0)
