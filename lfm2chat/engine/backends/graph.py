"""A plain model whose decode step is recorded once and replayed: for CUDA.

In: token ids and caches, as for the plain model. Out: logits. A step of LFM2 is several hundred
small operations, each of which costs Python and the driver more than the device; a captured graph
(``torch.cuda.CUDAGraph``) is launched as one. It is bound to the buffers of one cache and to how
much of them it looks at, and is captured anew, in the time of a few steps, when either changes.

All that is not one token of one sequence is run by the plain model. On a device without graphs the
same step runs operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.causal_lm import Lfm2ForCausalLM
from lfm2chat.engine.decode_step import DecodeStep
from lfm2chat.engine.decoding import check_room
from lfm2chat.engine.inputs import check_bounds, check_cache
from lfm2chat.engine.model import BeforeLayer

FINE_STEP, COARSE_STEP = 256, 1024
"""Tokens: a step looks at a multiple of these, of the first up to the second, of that beyond."""


class GraphModel:
    """``model`` with a recorded decode step. One thread at a time.

    Joins weights of ``model`` in place: see :class:`DecodeStep`.
    """

    def __init__(self, model: Lfm2ForCausalLM) -> None:
        self.plain = model
        self.config = model.config
        self._step = DecodeStep(model)
        self._recorded: WeakKeyDictionary[HybridCache, _Recorded] = WeakKeyDictionary()
        # The columns that the last step left: those of `DecodeStep` are equal to them.
        self._left: Sequence[Tensor] = ()
        self._latest: torch.cuda.CUDAGraph | None = None

    @property
    def dtype(self) -> torch.dtype:
        """That of its caches."""
        return self.plain.dtype

    @property
    def device(self) -> torch.device:
        """Where its caches are."""
        return self.plain.device

    def next_logits(
        self,
        input_ids: Tensor,
        cache: HybridCache | CacheBatch,
        *,
        before_layer: BeforeLayer | None = None,
    ) -> Tensor:
        """As :meth:`Lfm2ForCausalLM.next_logits`; a single step calls ``before_layer`` once.

        Raises:
            UsageError, CacheError, ContextFullError: As there.
        """
        if input_ids.shape != (1, 1) or not isinstance(cache, HybridCache) or not _fits(cache):
            return self.plain.next_logits(input_ids, cache, before_layer=before_layer)
        token = int(input_ids)
        check_bounds(token, token, vocab=self.config.vocab_size)
        if cache not in self._recorded:
            check_cache(cache, self.config, torch.empty((1, 0), dtype=self.dtype).to(self.device))
        check_room(cache.position + 1, self.config.max_position_embeddings)
        if before_layer is not None:
            before_layer()
        cache.begin(1)
        with torch.inference_mode():
            self._step.token.fill_(token)
            self._step.position.fill_(cache.position)
            recorded = self._record(cache)
            self._take_columns(cache)
            logits = recorded.replay()
            columns = self._step.columns.clone()
        left = list(columns[:, None] if cache.holds else columns)
        cache.commit(left)
        self._left = () if cache.holds else left
        # Copied outside: a tensor of inference mode could not be changed by the caller, and the
        # next step writes where this one did.
        return logits.clone()

    def all_logits(self, input_ids: Tensor, cache: HybridCache) -> Tensor:
        """As :meth:`Lfm2ForCausalLM.all_logits`."""
        return self.plain.all_logits(input_ids, cache)

    def _take_columns(self, cache: HybridCache) -> None:
        kept = cache.all_columns()
        if kept is not self._left and kept:
            torch.stack(list(kept), out=self._step.columns)

    def _record(self, cache: HybridCache) -> _Recorded:
        """The step on top of ``cache``, recorded unless its buffers and reach are as they were."""
        graphs = self.device.type == "cuda"
        tokens = cache.position + 1
        seen = min(cache.capacity, _places(tokens)) if graphs else tokens
        recorded = self._recorded.get(cache)
        if recorded is not None and (recorded.capacity, recorded.seen) == (cache.capacity, seen):
            return recorded
        keys, values = cache.buffers()

        def run() -> Tensor:
            return self._step.run(keys, values, seen)

        replay = self._capture(run) if graphs else run
        recorded = self._recorded[cache] = _Recorded(cache.capacity, seen, replay)
        return recorded

    def _capture(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        # The columns of the cache at hand are taken after this: what the first run, which loads
        # kernels that cannot be loaded while recording, writes to them does not count.
        self._left = ()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # One pool for all: a step's intermediate numbers are of no use after it. It lives as long
        # as one of its graphs does.
        pool = None if self._latest is None else self._latest.pool()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            logits = run()
        self._latest = graph

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A step that looks at ``seen`` of the ``capacity`` places of a cache's buffers."""

    capacity: int
    seen: int
    replay: Callable[[], Tensor]


def _fits(cache: HybridCache) -> bool:
    rewound = cache.position != cache.length
    return not (rewound or cache.quantized or cache.batch_size > 1)


def _places(tokens: int) -> int:
    """How many places a step over ``tokens`` tokens looks at."""
    step = FINE_STEP if tokens <= COARSE_STEP else COARSE_STEP
    return -(-tokens // step) * step
