"""Writing an answer, token by token: one sequence's state, and the loop over it.

In: the logits after the last token read, a cache, how to sample. Out: token ids, each with its
log-probability and, on demand, the likeliest alternatives. Knows no text and no product: the
limits are arguments. Several of these in one pass: :class:`lfm2chat.engine.batch.BatchDecoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.sampling import Sampler
from lfm2chat.engine.speculate import Drafts, PassCosts, Reader
from lfm2chat.errors import ContextFullError, GenerationError
from lfm2chat.spec import FinishReason, Lfm2Config, SamplingParams


class LanguageModel(Protocol):
    """What generation needs of a model; the plain one and each fast path provide it."""

    config: Lfm2Config

    @property
    def dtype(self) -> torch.dtype:
        """That of its caches."""

    @property
    def device(self) -> torch.device:
        """Where its caches are."""

    def next_logits(
        self,
        input_ids: Tensor,
        cache: HybridCache | CacheBatch,
        *,
        before_layer: Callable[[], None] | None = None,
    ) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after the last, (B, V) in float32."""

    def all_logits(self, input_ids: Tensor, cache: HybridCache) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after each, (B, T, V) in float32."""


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A token that could have stood there, and its log-probability in nats."""

    id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """One token of an answer.

    Attributes:
        id: The token.
        logprob: Its log-probability in nats, before penalties, temperature and filters.
        finish: Why it is the last one; None while the answer goes on. A token with ``STOP`` or
            ``CONTROL`` is no text.
        alternatives: The likeliest tokens there, the best first, as many as were asked for; the
            one that was drawn may be among them.
    """

    id: int
    logprob: float
    finish: FinishReason | None
    alternatives: tuple[TokenChoice, ...] = ()


class Decoding:
    """One answer while it is written. One thread.

    :meth:`draw` and :meth:`read` take turns: a token is drawn from the logits, somebody runs the
    model over it, and the new logits come in. The token drawn last is not in ``cache`` until
    then; after the last one it never is: it is read with the next turn.

    Args:
        model: Says how large the vocabulary and the context are.
        logits: (V,) after the last token in ``cache``, as ``prefill`` returns them.
        cache: Holds what was read; whoever runs the model lets it grow.
        params: ``seed`` must be set. ``stop`` is text, and not looked at here.
        context_ids: All ids that ``cache`` holds; the repetition penalty counts them.
        eos_token_ids: Yielded last, with ``STOP``.
        control_ids: Tokens that are no text: one that is no end token ends it with ``CONTROL``.
        vocab_limit: Ids from there on are never drawn (the embedding is padded).
        max_length: Tokens that context and answer may have together; None is the model's own
            limit. When it is reached the answer ends with ``CONTEXT``.
        alternatives: How many of the likeliest tokens to name beside each one drawn.

    Raises:
        ContextFullError: Not even one token has room.
        UsageError: No seed.
    """

    def __init__(
        self,
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
        alternatives: int = 0,
    ) -> None:
        limit = model.config.max_position_embeddings
        self.limit = limit if max_length is None else min(limit, max_length)
        check_room(cache.length + 1, self.limit)
        self.cache = cache
        self._logits = logits
        self._params = params
        self._eos_token_ids = eos_token_ids
        self._control_ids = control_ids
        self._alternatives = alternatives
        self._drawn = 0
        self._pending: int | None = None
        self._ended = False
        self._sampler = Sampler(
            params,
            context_ids=context_ids,
            vocab_size=logits.shape[-1],
            vocab_limit=vocab_limit,
            device=logits.device,
        )

    @property
    def ended(self) -> bool:
        """Whether the last token has been drawn."""
        return self._ended

    @property
    def waiting(self) -> bool:
        """Whether a drawn token has not been read by the model yet."""
        return self._pending is not None

    @property
    def pending_id(self) -> int:
        """The token that is drawn and not read.

        Raises:
            GenerationError: There is none.
        """
        if self._pending is None:
            raise GenerationError(
                "no token waits to be read", hint="draw one first; please report this"
            )
        return self._pending

    def draw(self) -> DecodedToken:
        """The next token; after it :meth:`read` must be called, unless it is the last.

        Raises:
            GenerationError: The logits are NaN, infinite or all equal, or the token before was
                not read.
        """
        if self._pending is not None:
            raise GenerationError(
                "the token before was not read", hint="read it first; please report this"
            )
        # 1. Draw.
        token, logprob = self._sampler.draw(self._logits)
        self._drawn += 1
        # 2. Say why it ends here, if it does; the model's own word goes first.
        finish = None
        if token in self._eos_token_ids:
            finish = FinishReason.STOP
        elif token in self._control_ids:
            finish = FinishReason.CONTROL
        elif self._drawn >= self._params.max_new_tokens:
            finish = FinishReason.LENGTH
        elif self.cache.length + 1 >= self.limit:
            finish = FinishReason.CONTEXT
        # 3. Name what else could have stood there.
        others = likeliest(self._logits, self._alternatives, limit=self._sampler.limit)
        self._pending = token
        self._ended = finish is not None
        return DecodedToken(token, logprob, finish, others)

    def read(self, logits: Tensor) -> None:
        """The model has read the token that was drawn: ``logits`` (V,) come after it."""
        self._logits = logits
        self._pending = None


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
    alternatives: int = 0,
    drafts: Drafts | None = None,
    costs: PassCosts | None = None,
) -> Iterator[DecodedToken]:
    """Write an answer, token by token, until something ends it; see :class:`Decoding`.

    The token yielded last is not in ``cache`` yet: it is read with the next turn. ``drafts``
    guess tokens to read several in one pass; they change the speed and nothing else. ``costs``
    learn what passes take here, from answer to answer.

    Raises:
        GenerationError: The logits are NaN, infinite or all equal.
        ContextFullError: Not even one token has room.
        UsageError: No seed.
    """
    decoding = Decoding(
        model,
        logits,
        cache,
        params,
        context_ids=context_ids,
        eos_token_ids=eos_token_ids,
        control_ids=control_ids,
        vocab_limit=vocab_limit,
        max_length=max_length,
        alternatives=alternatives,
    )
    yield from write(
        decoding, Reader(model, cache, drafts=drafts, costs=costs, limit=decoding.limit)
    )


def write(decoding: Decoding, reader: Reader) -> Iterator[DecodedToken]:
    """Go on with ``decoding`` until something ends it, as :func:`decode` does.

    Between two tokens anybody may read the one that waits, with those of other answers: see
    :func:`lfm2chat.engine.batch.read_together`. ``reader`` reads those that nobody read.

    Raises:
        GenerationError: The logits are NaN, infinite or all equal.
    """
    while True:
        token = decoding.draw()
        yield token
        if token.finish is not None:
            return
        if decoding.waiting:
            decoding.read(reader.read(token.id))
        else:
            reader.skip(token.id)


def likeliest(logits: Tensor, count: int, *, limit: int) -> tuple[TokenChoice, ...]:
    """The ``count`` best of the first ``limit`` of (V,) logits, with their log-probabilities."""
    if count <= 0:
        return ()
    scores = logits[:limit].to(torch.float32)
    best = torch.topk(scores - scores.logsumexp(dim=-1), min(count, limit))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(TokenChoice(token, logprob) for token, logprob in pairs)


def check_room(tokens: int, limit: int) -> None:
    """Refuse more ``tokens`` than ``limit``.

    Raises:
        ContextFullError: They do not fit.
    """
    if tokens > limit:
        raise ContextFullError(
            f"{tokens} tokens do not fit into the {limit} that the model can see",
            hint="start a new conversation, or shorten the message",
        )
