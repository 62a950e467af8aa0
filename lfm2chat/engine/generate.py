"""Reading: a prompt into the cache, or a given text for what the model thinks of it.

In: a model, a cache, token ids. Out: progress and logits, or log-probabilities. Knows no text, no
files and no product. Whoever drives a generator may leave it after any step; the cache is whole
then, and holds exactly ``cache.length`` of the tokens read. Writing is in
:mod:`lfm2chat.engine.decoding`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.decoding import LanguageModel, TokenChoice, check_room, likeliest
from lfm2chat.errors import UsageError

CHUNK_LADDER = (256, 128, 64)
"""Tokens read in one pass: the first is enough for full speed, few enough to show progress."""

SHORT_LADDER = (256, 128, 64, 32, 16, 8)
"""Tokens read in one pass while somebody waits for its end; all are multiples of the last."""

FIRST_SHORT = 16
"""Tokens of the first such pass, before anything was measured."""

LONGEST_WORK_S = 0.1
"""The most that may pass between two looks for a stop."""

SCORED_TOKENS = 128
"""Tokens scored in one pass: their logits are 33 MB with a vocabulary of 65,536."""

_LEAST_SCORED = 8


class _CancelledError(Exception):
    """Raised between two layers to leave a forward pass; never seen outside this module."""


@dataclass(slots=True)
class ChunkPace:
    """How many tokens to read in one pass on this machine, by what was measured.

    A stop is looked for before each layer. Where the work between two looks takes longer than
    ``LONGEST_WORK_S``, pass after pass, those at that depth of context become half as large, down
    to the ladder's end; where twice as much would take much less, again and again, they grow
    back. One thread; keep one object for each loaded model.
    """

    ladder: tuple[int, ...] = CHUNK_LADDER
    limit_s: float = LONGEST_WORK_S
    _rungs: dict[int, int] = field(default_factory=dict)  # by the doublings of the context
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    _noted: int = 0  # tokens of the latest pass of a usual size, and what such passes took
    _taken: deque[float] = field(default_factory=lambda: deque(maxlen=4))

    def size(self, past: int, limit_s: float | None = None) -> int:
        """Tokens for a pass on top of ``past`` cached ones, to take no longer than ``limit_s``.

        None sets no limit. Where nothing was measured yet, one is begun with that takes 0.1 s on a
        slow machine; the ladder's end may take longer than the limit.
        """
        usual = self.ladder[self._rung(past.bit_length())]
        if limit_s is None:
            return usual
        fitting = (size for size in SHORT_LADDER if size <= usual)
        return next(
            (size for size in fitting if self._expected_s(size) <= limit_s),
            min(usual, SHORT_LADDER[-1]),
        )

    def note(self, tokens: int, seconds: float) -> None:
        """A pass over ``tokens`` tokens took ``seconds``."""
        if tokens not in SHORT_LADDER:
            return
        if tokens != self._noted:
            self._noted = tokens
            self._taken.clear()
        self._taken.append(seconds)

    def _expected_s(self, size: int) -> float:
        """What a pass over ``size`` tokens may take, by what those of the latest size took.

        Each token counts alike, so a longer pass is rather quicker and a shorter one slower: the
        next one tells.
        """
        if not self._noted:
            return 0.0 if size <= FIRST_SHORT else math.inf
        return statistics.median(self._taken) * size / self._noted

    def observe(self, past: int, longest_s: float) -> None:
        """Note the longest work between two looks in a full pass on top of ``past`` tokens."""
        depth = past.bit_length()
        rung = self._rung(depth)
        self._recent.append(longest_s)
        # The quickest of four: a neighbour on the same core makes single passes slow.
        slow = len(self._recent) >= 4 and min(list(self._recent)[-4:]) > self.limit_s
        quick = len(self._recent) == 8 and 2.5 * max(self._recent) < self.limit_s
        if slow and rung + 1 < len(self.ladder):
            self._move(depth, rung + 1)
        elif quick and rung > 0:
            self._move(depth, rung - 1)

    def _move(self, depth: int, rung: int) -> None:
        self._rungs[depth] = rung
        self._recent.clear()

    def _rung(self, depth: int) -> int:
        """The rung at ``depth``; where nothing is known, that of the next shallower depth."""
        known = [at for at in self._rungs if at <= depth]
        return self._rungs[max(known)] if known else 0


def prefill(
    model: LanguageModel,
    token_ids: Sequence[int],
    cache: HybridCache,
    *,
    pace: ChunkPace | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    limit_s: Callable[[], float | None] = lambda: None,
) -> Generator[int, None, Tensor | None]:
    """Read ``token_ids`` into ``cache``; yields how many are done after each chunk.

    The first of them stands at ``cache.position``: after a rewind that is a little before the
    cache's end. ``pace`` says how large a chunk is; None starts with the ladder's first.
    ``cancelled`` is asked before each layer, ``limit_s`` before each chunk: how long it may take,
    where somebody waits for its end.

    Returns:
        The logits (V,) after the last id, float32; None if it was cancelled: the cache then
        holds whole chunks.

    Raises:
        UsageError: No ids, too few to get beyond what was rewound, or an id that the model does
            not have.
        ContextFullError: More tokens than the model has positions.
    """
    if cache.position + len(token_ids) <= cache.length or not token_ids:
        raise UsageError(
            f"{len(token_ids)} tokens from {cache.position} on are nothing new to a cache of"
            f" {cache.length}",
            hint="leave at least one token to read after a restore or a rewind",
        )
    check_room(cache.position + len(token_ids), model.config.max_position_embeddings)
    pace = pace or ChunkPace()
    watch = _Watch(cancelled)
    logits: Tensor | None = None
    done = 0
    while done < len(token_ids):
        past = cache.position
        size = pace.size(past, limit_s())
        chunk = torch.tensor([token_ids[done : done + size]], device=cache.device)
        try:
            started = time.perf_counter()
            watch.begin()
            logits = model.next_logits(chunk, cache, before_layer=watch.look)[0]
        except _CancelledError:
            return None
        done += chunk.shape[1]
        pace.note(chunk.shape[1], time.perf_counter() - started)
        if chunk.shape[1] == pace.size(past):
            pace.observe(past, watch.longest_s)
        yield done
    return logits


def score(
    model: LanguageModel,
    token_ids: Sequence[int],
    cache: HybridCache,
    *,
    logits: Tensor | None = None,
    alternatives: int = 0,
    vocab_limit: int | None = None,
    longest_s: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[int, None, list[ScoredToken]]:
    """What the model thinks of ``token_ids``, read on top of ``cache`` in one go.

    Yields how many are done after each chunk. ``logits`` (V,) are those after the last token in
    the cache; without them nothing is known of the first id, and its log-probability is None.
    The ids are in the cache afterwards. ``vocab_limit`` as for writing: ids from there on are
    padding and count for nothing. ``longest_s`` makes chunks so small that one takes about that
    long; None takes the largest. ``cancelled`` is asked before each chunk.

    Returns:
        One :class:`ScoredToken` for each id that was read.

    Raises:
        UsageError: No ids, an id that the model does not have, or a cache that was rewound.
        ContextFullError: More tokens than the model has positions.
    """
    if not token_ids or cache.position != cache.length:
        raise UsageError(
            "there is nothing to score, or the cache was rewound",
            hint="give ids, and read on up to the cache's end first",
        )
    check_room(cache.length + len(token_ids), model.config.max_position_embeddings)
    scored: list[ScoredToken] = []
    before = logits
    size = SCORED_TOKENS if longest_s is None else _LEAST_SCORED
    while len(scored) < len(token_ids) and not cancelled():
        started = time.perf_counter()
        ids = token_ids[len(scored) : len(scored) + size]
        rows = model.all_logits(torch.tensor([ids], device=cache.device), cache)[0]  # (T, V)
        for token, after in zip(ids, rows, strict=True):
            scored.append(_scored(token, before, alternatives, vocab_limit))
            before = after
        if longest_s is not None:
            took_s = time.perf_counter() - started
            if took_s > longest_s:
                size = max(size // 2, _LEAST_SCORED)
            elif took_s < longest_s / 2:
                size = min(2 * size, SCORED_TOKENS)
        yield len(scored)
    return scored


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token of a given text: its log-probability in nats, and what would be likelier.

    ``entropy``, in nats, is how undecided the model was before the token, 0 for certain. Where
    nothing was known then, it and ``logprob`` are None, and ``alternatives`` empty.
    """

    id: int
    logprob: float | None
    alternatives: tuple[TokenChoice, ...] = ()
    entropy: float | None = None


def _scored(
    token: int, logits: Tensor | None, alternatives: int, vocab_limit: int | None
) -> ScoredToken:
    if logits is None:
        return ScoredToken(token, None)
    scores = logits[:vocab_limit].to(torch.float32)
    logprobs = scores - scores.logsumexp(dim=-1)
    # Where a probability is 0 its logarithm is minus infinity, and their product would be NaN.
    entropy = -float((logprobs.exp() * logprobs.clamp(min=-1e4)).sum())
    others = likeliest(scores, alternatives, limit=scores.shape[-1])
    return ScoredToken(token, float(logprobs[token]), others, max(0.0, entropy))


class _Watch:
    """Looks for a stop before each layer, and at the clock."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self._last = 0.0
        self.longest_s = 0.0

    def begin(self) -> None:
        self.longest_s = 0.0
        self._last = time.perf_counter()

    def look(self) -> None:
        now = time.perf_counter()
        self.longest_s = max(self.longest_s, now - self._last)
        self._last = now
        if self._cancelled():
            raise _CancelledError
