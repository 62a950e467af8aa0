"""Reading a prompt and writing an answer, as generators of small steps.

In: a model, a cache, token ids. Out: progress, then token ids. Knows no text, no files and no
product: the limits are arguments. Whoever drives a generator may leave it after any step; the
cache is whole then, and holds exactly ``cache.length`` of the tokens read and drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.sampling import Sampler
from lfm2chat.errors import ContextFullError, UsageError
from lfm2chat.spec import FinishReason, Lfm2Config, SamplingParams

CHUNK_TOKENS = 256
"""Tokens read in one pass: enough for full speed, few enough to show progress."""


class LanguageModel(Protocol):
    """What generation needs of a model; the plain one and each fast path provide it."""

    config: Lfm2Config

    def next_logits(
        self,
        input_ids: Tensor,
        cache: HybridCache,
        *,
        before_layer: Callable[[], None] | None = None,
    ) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after the last, (B, V) in float32."""


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """One token of an answer.

    Attributes:
        id: The token.
        logprob: Its log-probability in nats, before penalties, temperature and filters.
        finish: Why it is the last one; None while the answer goes on. A token with ``STOP`` or
            ``CONTROL`` is no text.
    """

    id: int
    logprob: float
    finish: FinishReason | None


class _CancelledError(Exception):
    """Raised between two layers to leave a forward pass; never seen outside this module."""


def prefill(
    model: LanguageModel,
    token_ids: Sequence[int],
    cache: HybridCache,
    *,
    chunk_size: int = CHUNK_TOKENS,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[int, None, Tensor | None]:
    """Read ``token_ids`` into ``cache``; yields how many are done after each chunk.

    Every chunk but the last has ``chunk_size`` tokens, whatever the machine's speed: the same
    ids on the same cache give the same numbers. ``cancelled`` is asked before each layer.

    Returns:
        The logits (V,) after the last id, float32; None if it was cancelled: the cache then
        holds whole chunks.

    Raises:
        UsageError: No ids, or an id that the model does not have.
        ContextFullError: More tokens than the model has positions.
    """
    if not token_ids:
        raise UsageError(
            "there is nothing to read",
            hint="leave at least one token to read after a restore",
        )
    _check_room(cache.length + len(token_ids), model.config.max_position_embeddings)

    def stop_if_cancelled() -> None:
        if cancelled():
            raise _CancelledError

    logits: Tensor | None = None
    for start in range(0, len(token_ids), chunk_size):
        chunk = torch.tensor([token_ids[start : start + chunk_size]], device=cache.device)
        try:
            stop_if_cancelled()
            logits = model.next_logits(chunk, cache, before_layer=stop_if_cancelled)[0]
        except _CancelledError:
            return None
        yield start + chunk.shape[1]
    return logits


def decode(
    model: LanguageModel,
    logits: Tensor,
    cache: HybridCache,
    params: SamplingParams,
    *,
    context_ids: Sequence[int],
    eos_token_ids: frozenset[int],
    control_ids: frozenset[int] = frozenset(),
    vocab_limit: int | None = None,
    max_length: int | None = None,
) -> Iterator[DecodedToken]:
    """Write an answer, token by token, until something ends it.

    The token yielded last is not in ``cache`` yet: it is read with the next turn.

    Args:
        model: Computes the logits of each next token.
        logits: (V,) after the last token in ``cache``, as :func:`prefill` returns them.
        cache: Grows by every token but the last.
        params: ``seed`` must be set. ``stop`` is text, and not looked at here.
        context_ids: All ids that ``cache`` holds; the repetition penalty counts them.
        eos_token_ids: Yielded last, with ``STOP``.
        control_ids: Tokens that are no text: one that is no end token ends it with ``CONTROL``.
        vocab_limit: Ids from there on are never drawn (the embedding is padded).
        max_length: Tokens that context and answer may have together; None is the model's own
            limit. When it is reached the answer ends with ``CONTEXT``.

    Raises:
        GenerationError: The logits are NaN, infinite or all equal.
        ContextFullError: Not even one token has room.
        UsageError: No seed.
    """
    limit = model.config.max_position_embeddings
    limit = limit if max_length is None else min(limit, max_length)
    _check_room(cache.length + 1, limit)
    sampler = Sampler(
        params,
        context_ids=context_ids,
        vocab_size=logits.shape[-1],
        vocab_limit=vocab_limit,
        device=logits.device,
    )
    for count in range(1, params.max_new_tokens + 1):
        # 1. Draw.
        token, logprob = sampler.draw(logits)
        # 2. Say why it ends here, if it does; the model's own word goes first.
        finish = None
        if token in eos_token_ids:
            finish = FinishReason.STOP
        elif token in control_ids:
            finish = FinishReason.CONTROL
        elif count == params.max_new_tokens:
            finish = FinishReason.LENGTH
        elif cache.length + 1 >= limit:
            finish = FinishReason.CONTEXT
        yield DecodedToken(token, logprob, finish)
        if finish is not None:
            return
        # 3. Read it, for the logits of the next one.
        logits = model.next_logits(torch.tensor([[token]], device=cache.device), cache)[0]


def _check_room(tokens: int, limit: int) -> None:
    if tokens > limit:
        raise ContextFullError(
            f"{tokens} tokens do not fit into the {limit} that the model can see",
            hint="start a new conversation, or shorten the message",
        )
