"""A packed model run by the native kernels: a whole forward pass is one call.

In: token ids and caches, as for the plain model. Out: logits. Beside an answer's own sampling
Python does nothing per token. The cache is the plain model's too (bf16), so marks, branches and
saved contexts work as they do there.

A token's result depends on neither its chunk nor its batch, bit for bit: the kernels sum in one
order whatever stands beside it.
"""

from __future__ import annotations

import ctypes
import weakref
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from lfm2chat.engine.backends.native_library import (
    BeforeLayerFunction,
    Config,
    KernelSet,
    Layer,
    Matrix,
    Sequence,
    addresses,
    library,
    matrix_of,
)
from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.decoding import check_room
from lfm2chat.engine.inputs import check_bounds, check_cache
from lfm2chat.engine.layers import RotaryEmbedding
from lfm2chat.engine.model import BeforeLayer
from lfm2chat.engine.packed import PackedModel
from lfm2chat.errors import NotEnoughMemoryError, UsageError
from lfm2chat.spec.config import ATTENTION

STOPPED = 1


class NativeModel:
    """One packed model and the threads that run it. One caller at a time.

    ``threads`` count the caller's own; the others sleep between two calls. They end with the
    object.

    Raises:
        UsageError: The kernels do not run on this processor.
    """

    def __init__(self, packed: PackedModel, *, threads: int, kernels: KernelSet) -> None:
        self.config = packed.config
        self.packed = packed
        self.kernels = kernels
        self._kept: list[object] = [packed]  # what the library has the addresses of
        self._library = library()
        handle = None
        if self._library is not None:
            handle = self._library.lfm2_open(
                ctypes.byref(self._describe()), max(1, threads), kernels.kind
            )
        if self._library is None or not handle:
            raise UsageError(
                f"the kernels {kernels.name} do not run on this processor",
                hint="leave LFM2CHAT_KERNELS unset",
            )
        self._handle = handle
        self._steps: WeakKeyDictionary[HybridCache, _Step] = WeakKeyDictionary()
        self._close = weakref.finalize(self, self._library.lfm2_close, handle)
        # At the end of the process another thread may be in the middle of a pass.
        self._close.atexit = False

    def next_logits(
        self,
        input_ids: Tensor,
        cache: HybridCache | CacheBatch,
        *,
        before_layer: BeforeLayer | None = None,
    ) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after the last of them, (B, V) in float32.

        What ``before_layer`` raises leaves the cache as it was.

        Raises:
            UsageError: An id that the model does not have.
            CacheError: A cache of another kind, model, batch size, precision or place.
            ContextFullError: A position beyond the model's limit.
            NotEnoughMemoryError: Not even the scratch for one pass is to be had.
        """
        return self._forward(input_ids, cache, every=False, before_layer=before_layer)

    def all_logits(self, input_ids: Tensor, cache: HybridCache | CacheBatch) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after each of them, (B, T, V) in float32.

        Raises:
            UsageError, CacheError, ContextFullError, NotEnoughMemoryError: As there.
        """
        logits = self._forward(input_ids, cache, every=True, before_layer=None)
        return logits.view(*input_ids.shape, self.config.vocab_size)

    @property
    def dtype(self) -> torch.dtype:
        """That of its caches."""
        return torch.bfloat16

    @property
    def device(self) -> torch.device:
        """Where its caches are."""
        return torch.device("cpu")

    def close(self) -> None:
        """End the threads now; the model cannot be used any more. May be called again."""
        self._close()

    def _forward(
        self,
        input_ids: Tensor,
        cache: HybridCache | CacheBatch,
        *,
        every: bool,
        before_layer: BeforeLayer | None,
    ) -> Tensor:
        assert self._library is not None
        batch, tokens = input_ids.shape
        # As a list: each operation on a tensor costs 50 microseconds when the weights of a step
        # have just gone through the caches.
        ids = [token for row in input_ids.tolist() for token in row]
        check_bounds(min(ids), max(ids), vocab=self.config.vocab_size)
        caches = [cache] if isinstance(cache, HybridCache) else list(cache.caches)
        if len(caches) != batch or any(one not in self._steps for one in caches):
            self._check(cache, caches, batch)
        steps = [self._begin(one, tokens) for one in caches]
        rows = batch * tokens if every else batch
        logits = _empty(rows, self.config.vocab_size)
        sequences = (Sequence * batch)(*(one.sequence for one in steps))
        watch = _Watch(before_layer)
        answer = self._library.lfm2_forward(
            self._handle,
            batch,
            sequences,
            (ctypes.c_int32 * len(ids))(*ids),
            int(every),
            logits.data_ptr(),
            watch.function,
        )
        if answer < 0:
            raise NotEnoughMemoryError(
                f"there is no memory to read {batch * tokens} tokens in one pass",
                hint="close other programs, or choose a smaller model",
            )
        if answer:
            assert watch.error is not None
            raise watch.error
        for one, step in zip(caches, steps, strict=True):
            one.commit(step.written)
        return logits

    def _check(
        self, cache: HybridCache | CacheBatch, caches: list[HybridCache], batch: int
    ) -> None:
        check_cache(cache, self.config, torch.empty(batch, 0, dtype=self.dtype))
        if len(caches) != batch or any(one.quantized for one in caches):
            raise UsageError(
                "the native kernels take caches of one row each, in bf16",
                hint="make a HybridCache of batch size 1 for each sequence",
            )

    def _begin(self, cache: HybridCache, tokens: int) -> _Step:
        check_room(cache.position + tokens, self.config.max_position_embeddings)
        cache.begin(tokens)
        step = self._steps.get(cache)
        if step is None or step.capacity != cache.capacity:
            step = self._steps[cache] = _Step(cache)
        step.begin(cache, tokens)
        return step

    def _describe(self) -> Config:
        config, packed = self.config, self.packed
        layers = (Layer * config.num_hidden_layers)(
            *(self._layer(number) for number in range(config.num_hidden_layers))
        )
        frequencies = RotaryEmbedding(config).inverse_frequencies.contiguous()
        self._kept += [layers, frequencies]
        return Config(
            hidden=config.hidden_size,
            ff=config.ff_dim,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            conv_width=config.conv_L_cache,
            vocab=config.vocab_size,
            layers=config.num_hidden_layers,
            norm_eps=config.norm_eps,
            inverse_frequencies=frequencies.data_ptr(),
            final_norm=packed.numbers("norm").data_ptr(),
            layer=layers,
            embedding=matrix_of(packed.matrix("embedding"), self.kernels),
            head=matrix_of(packed.head, self.kernels),
        )

    def _layer(self, number: int) -> Layer:
        packed = self.packed
        has_attention = self.config.layer_types[number] == ATTENTION
        own = ("q_norm", "k_norm") if has_attention else ("taps",)
        numbers = {
            name: packed.numbers(f"{number}.{name}").data_ptr()
            for name in ("operator_norm", "ffn_norm", *own)
        }
        matrices: dict[str, Matrix] = {
            field: matrix_of(packed.matrix(f"{number}.{name}"), self.kernels)
            for field, name in (
                ("in_", "in"),
                ("out", "out"),
                ("gate_up", "gate_up"),
                ("down", "down"),
            )
        }
        return Layer(has_attention=int(has_attention), **numbers, **matrices)


def _empty(*shape: int) -> Tensor:
    """Uninitialized float32, outside inference mode: else the caller could not change it."""
    if not torch.is_inference_mode_enabled():
        return torch.empty(shape)
    with torch.inference_mode(mode=False):
        return torch.empty(shape)


class _Step:
    """One cache as the library takes it, kept from pass to pass until its buffers grow.

    Conv columns are written to one of two sets by turns, so that a step allocates nothing; whoever
    keeps the columns of a cache copies them.
    """

    def __init__(self, cache: HybridCache) -> None:
        self.capacity = cache.capacity
        keys, values = cache.buffers()
        self.sequence = Sequence(
            capacity=cache.capacity, keys=addresses(keys), values=addresses(values)
        )
        with torch.inference_mode(mode=False):
            pair = [[torch.empty_like(one) for one in cache.all_columns()] for _ in range(2)]
        self._sets = [(columns, addresses(columns)) for columns in pair]

    def begin(self, cache: HybridCache, tokens: int) -> None:
        """Open a pass: ``sequence`` describes it."""
        kept = cache.all_columns()
        if kept is self._sets[1][0]:
            self._sets.reverse()
        kept_at = self._sets[0][1] if kept is self._sets[0][0] else addresses(kept)
        self.written, written_at = self._sets[1]
        if cache.holds:
            shape = (len(kept), tokens, *kept[0].shape) if kept else (0,)
            self.written = list(torch.empty(shape, dtype=cache.dtype).unbind())
            written_at = addresses(self.written)
        sequence = self.sequence
        sequence.tokens, sequence.position, sequence.known = tokens, cache.position, cache.length
        sequence.kept, sequence.left, sequence.every = kept_at, written_at, int(cache.holds)


class _Watch:
    """Calls ``before_layer`` for the library, which knows no exceptions: they are kept here."""

    def __init__(self, before_layer: BeforeLayer | None) -> None:
        self.error: BaseException | None = None
        self._before_layer = before_layer
        self.function = BeforeLayerFunction() if before_layer is None else BeforeLayerFunction(self)

    def __call__(self) -> int:
        assert self._before_layer is not None
        try:
            self._before_layer()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again
            self.error = error
            return STOPPED
        return 0
