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
from dataclasses import dataclass

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
from lfm2chat.engine.inputs import check_cache, check_ids
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
        check_ids(input_ids, vocab=self.config.vocab_size)
        batch, tokens = input_ids.shape
        check_cache(cache, self.config, torch.empty(batch, 0, dtype=self.dtype))
        caches = [cache] if isinstance(cache, HybridCache) else list(cache.caches)
        if len(caches) != batch or any(one.quantized for one in caches):
            raise UsageError(
                "the native kernels take caches of one row each, in bf16",
                hint="make a HybridCache of batch size 1 for each sequence",
            )
        passes = [_Pass.begin(one, tokens, self.config.max_position_embeddings) for one in caches]
        sequences = (Sequence * batch)(*(one.sequence for one in passes))
        ids = input_ids.to(torch.int32).contiguous()
        rows = batch * tokens if every else batch
        # Outside inference mode, or the caller could not change what it is given.
        with torch.inference_mode(mode=False):
            logits = torch.empty(rows, self.config.vocab_size)
        watch = _Watch(before_layer)
        answer = self._library.lfm2_forward(
            self._handle,
            batch,
            sequences,
            ids.data_ptr(),
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
        for one in passes:
            one.commit()
        return logits

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
            embedding=matrix_of(packed.matrix("embedding")),
            head=matrix_of(packed.head),
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
            field: matrix_of(packed.matrix(f"{number}.{name}"))
            for field, name in (
                ("in_", "in"),
                ("out", "out"),
                ("gate_up", "gate_up"),
                ("down", "down"),
            )
        }
        return Layer(has_attention=int(has_attention), **numbers, **matrices)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One cache during one pass: what the library is given of it, and what it writes."""

    cache: HybridCache
    sequence: Sequence
    left: list[Tensor]
    kept: tuple[object, ...]

    @classmethod
    def begin(cls, cache: HybridCache, tokens: int, limit: int) -> _Pass:
        check_room(cache.position + tokens, limit)
        cache.begin(tokens)
        keys, values, columns = cache.buffers()
        with torch.inference_mode(mode=False):
            left = [torch.empty_like(one) for one in columns]
        pointers = tuple(addresses(tensors) for tensors in (keys, values, columns, left))
        sequence = Sequence(tokens, cache.position, cache.length, cache.capacity, *pointers)
        return cls(cache, sequence, left, (*pointers, columns))

    def commit(self) -> None:
        for slot, columns in enumerate(self.left):
            self.cache.stage_columns(slot, columns)
        self.cache.commit()


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
