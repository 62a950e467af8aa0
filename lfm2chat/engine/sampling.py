"""From logits to one token: the processors, in ``transformers``' order, and the draw.

In: the logits (V,) after the last token, and the ids of the context. Out: an id and its
log-probability. Knows no text and no model. Formulas: ``transformers`` 5.23,
``generation/logits_process.py``; the order is repetition penalty, temperature, top_k, top_p,
min_p, softmax in float32, draw. A processor whose value says "off" is skipped, which is most of
the time saved: each one is a pass over 65,536 numbers, ``top_p`` a sort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lfm2chat.errors import GenerationError, UsageError
from lfm2chat.spec import SamplingParams

SORTED_TOKENS = 1024
"""Likeliest tokens that :func:`keep_nucleus` looks at first: all take five times as long."""


def penalise_repetition(scores: Tensor, seen_ids: Tensor, penalty: float) -> Tensor:
    """Divide the positive and multiply the negative scores (V,) of ``seen_ids``, once each.

    ``seen_ids`` (N,) are distinct. Gives a new tensor.
    """
    seen = scores[seen_ids]
    seen = torch.where(seen < 0, seen * penalty, seen / penalty)
    return scores.index_put((seen_ids,), seen)


def keep_top_k(scores: Tensor, k: int) -> Tensor:
    """Only the ``k`` highest scores, and what equals the last of them; the rest is -inf."""
    lowest = torch.topk(scores, min(k, scores.shape[-1])).values[-1]
    return scores.masked_fill(scores < lowest, -math.inf)


def keep_top_p(scores: Tensor, p: float) -> Tensor:
    """The fewest likeliest tokens whose probabilities reach ``p``; the rest is -inf."""
    ascending, order = torch.sort(scores)
    removed = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    removed[-1] = False
    return scores.masked_fill(removed.scatter(0, order, removed), -math.inf)


def keep_nucleus(scores: Tensor, p: float) -> Tensor:
    """As :func:`keep_top_p`, but for rounding, in a fifth of the time with a large vocabulary."""
    if scores.numel() > 2 * SORTED_TOKENS:
        best = torch.topk(scores.softmax(dim=-1), SORTED_TOKENS)
        before = best.values.cumsum(dim=-1) - best.values
        if float(before[-1]) >= p:  # nothing beyond the best ones can be among the fewest
            wanted = before < p
            wanted[0] = True  # p may be 0, or be rounded to it
            kept = best.indices[wanted]
            return torch.full_like(scores, -math.inf).index_copy(0, kept, scores[kept])
    return keep_top_p(scores, p)


def keep_min_p(scores: Tensor, min_p: float) -> Tensor:
    """Only tokens at least ``min_p`` times as likely as the likeliest; the rest is -inf."""
    probabilities = scores.softmax(dim=-1)
    removed = probabilities < min_p * probabilities.max()
    removed[probabilities.argmax()] = False
    return scores.masked_fill(removed, -math.inf)


def process(scores: Tensor, params: SamplingParams, seen_ids: Tensor) -> Tensor:
    """Scores (V,) float32 after all processors of ``params``, in order; greedy: the first only."""
    if params.repetition_penalty != 1.0 and seen_ids.numel():
        scores = penalise_repetition(scores, seen_ids, params.repetition_penalty)
    if params.greedy:
        return scores
    if params.temperature != 1.0:
        scores = scores / params.temperature
    if params.top_k > 0:
        scores = keep_top_k(scores, params.top_k)
    if params.top_p < 1.0:
        scores = keep_nucleus(scores, params.top_p)
    if params.min_p > 0.0:
        scores = keep_min_p(scores, params.min_p)
    return scores


class Sampler:
    """Draws one answer's tokens; it remembers which ids the context holds.

    ``context_ids`` is everything that the model has read, templates and control tokens
    included. ``vocab_limit``: ids from there on are padding of the embedding and never drawn.
    One random generator per answer, so the same seed draws the same tokens. One thread.
    """

    def __init__(
        self,
        params: SamplingParams,
        *,
        context_ids: Sequence[int],
        vocab_size: int,
        vocab_limit: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if params.seed is None:
            raise UsageError("the sampler was given no seed", hint="choose one for each answer")
        self._params = params
        # Ids from here on are padding of the embedding.
        self.limit = vocab_size if vocab_limit is None else min(vocab_limit, vocab_size)
        self._generator = torch.Generator(device).manual_seed(params.seed)
        # Room for every id, so that noting one is a single write.
        distinct = [i for i in dict.fromkeys(context_ids) if 0 <= i < self.limit]
        self._seen = set(distinct)
        self._seen_ids = torch.empty(self.limit, dtype=torch.long, device=device)
        self._seen_ids[: len(distinct)] = torch.tensor(distinct, dtype=torch.long)

    def draw(self, logits: Tensor) -> tuple[int, float]:
        """The next id, and its log-probability in nats before any processor touched it.

        ``logits`` is (V,), changed by nobody.

        Raises:
            GenerationError: NaN, an infinity, or the same number everywhere.
        """
        scores = logits[: self.limit].to(torch.float32)
        processed = process(scores, self._params, self._seen_ids[: len(self._seen)])
        greedy = self._params.greedy
        place = processed.argmax()[None] if greedy else self._pick(processed.softmax(dim=-1))
        logprob = scores[place] - scores.logsumexp(dim=-1)
        # All that Python wants to know at once: on a GPU each question waits for the device.
        answer = torch.cat((*(bound[None] for bound in scores.aminmax()), logprob, place))
        low, high, found, drawn = answer.tolist()
        _check(low, high, self.limit)
        token = int(drawn)
        if token not in self._seen:
            self._seen_ids[len(self._seen)] = token
            self._seen.add(token)
        return token, found

    def _pick(self, probabilities: Tensor) -> Tensor:
        """Where one random number falls among (V,) probabilities laid end to end: (1,) int64.

        ``torch.multinomial`` draws a random number for each of V, which takes ten times as long.
        """
        # Apple's GPUs have no float64.
        wide = torch.float32 if probabilities.device.type == "mps" else torch.float64
        ends = probabilities.cumsum(dim=-1, dtype=wide)
        place = torch.rand(1, generator=self._generator, dtype=wide, device=ends.device)
        # To the right of what ends there: a probability of 0 has no width to be hit.
        found = torch.searchsorted(ends, place * ends[-1], right=True)
        # Where the logits are no numbers it falls beyond the last.
        return found.clamp_(max=probabilities.shape[0] - 1)


def _check(low: float, high: float, count: int) -> None:
    """Refuse ``count`` logits from ``low`` to ``high`` that say nothing."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise GenerationError(
            "the model computed numbers that are not finite, so no token can be drawn",
            hint="its files are damaged, or the precision is too low: download it again, or"
            ' set precision = "float32"',
        )
    if low == high and count > 1:
        raise GenerationError(
            "the model finds every token equally likely: its weights say nothing",
            hint="its files are empty or damaged: download it again",
        )
