"""Keys and values of the attention layers: append-only buffers, plain or in 8 bits.

In: keys and values (B, K, T, E) of new tokens, layer by layer. Out: those of all tokens. Knows
shapes only; which tokens count is :mod:`lfm2chat.engine.cache`'s business. Letters as in
:mod:`lfm2chat.engine.model`.

In 8 bits each vector of E numbers is rounded to whole numbers from -127 to 127 with a scale of its
own (float32), so a token costs E + 4 bytes per head instead of 2 E or 4 E; they are widened one
layer at a time when they are read. The error is measured by ``benchmarks/turns.py``.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from lfm2chat.spec.config import Lfm2Config

GROWTH_STEP = 256
"""Tokens: the least that the buffers grow by."""

LARGEST_LEVEL = 127


class KeyValues:
    """The buffers of one cache. One thread at a time.

    ``capacity`` tokens fit; :meth:`reserve` makes room for more, in steps that double, so that no
    token costs a copy of the whole. On a CPU the system hands out memory only as it is written
    to, so room that is reserved and not used costs none. ``written`` tokens were written to since
    the buffers were made, and cost memory whether they still count or not.
    """

    def __init__(
        self,
        config: Lfm2Config,
        *,
        batch_size: int,
        dtype: torch.dtype,
        device: torch.device,
        capacity: int,
        quantized: bool = False,
    ) -> None:
        self.quantized = quantized
        self.dtype = dtype
        self.device = device
        self.capacity = self.written = 0
        self._layers = len(config.attention_layers)
        self._rows = (batch_size, config.num_key_value_heads)
        self._head_dim = config.head_dim
        self._buffers: list[tuple[Tensor, ...]] = []  # for each layer: keys, values (, scales)
        self.reserve(max(1, capacity), keep=0)

    @property
    def bytes_per_token(self) -> int:
        """What one token takes, all layers and rows together."""
        numbers = 2 * self._layers * self._rows[0] * self._rows[1]
        if self.quantized:
            return numbers * (self._head_dim + torch.float32.itemsize)
        return numbers * self._head_dim * self.dtype.itemsize

    def reserve(self, tokens: int, *, keep: int) -> None:
        """Make room for ``tokens``; the first ``keep`` that are there stay."""
        if tokens <= self.capacity:
            return
        capacity = max(tokens, 2 * self.capacity, self.capacity + GROWTH_STEP)
        if not self._buffers:
            capacity = tokens
        # Layer by layer: two copies of one layer at a time, never of the whole.
        for layer in range(self._layers):
            fresh = self._allocate(capacity)
            if self._buffers[layer:]:
                for new, old in zip(fresh, self._buffers[layer], strict=True):
                    new[:, :, :keep].copy_(old[:, :, :keep])
                self._buffers[layer] = fresh
            else:
                self._buffers.append(fresh)
        self.capacity = capacity
        self.written = keep

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Put keys and values (B, K, T, E) of attention layer number ``layer`` at ``start``."""
        span = slice(start, start + keys.shape[2])
        self.written = max(self.written, span.stop)
        buffers = self._buffers[layer]
        if not self.quantized:
            buffers[0][:, :, span] = keys.detach()
            buffers[1][:, :, span] = values.detach()
            return
        for levels, scales, numbers in (
            (buffers[0], buffers[2], keys),
            (buffers[1], buffers[3], values),
        ):
            levels[:, :, span], scales[:, :, span] = _to_levels(numbers.detach())

    def read(self, layer: int, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first ``end`` tokens, each (B, K, S, E).

        Plain ones are views of the buffers, good until the next :meth:`reserve`.
        """
        buffers = self._buffers[layer]
        keys, values = buffers[0][:, :, :end], buffers[1][:, :, :end]
        if not self.quantized:
            return keys, values
        return (
            keys.to(self.dtype) * buffers[2][:, :, :end].to(self.dtype),
            values.to(self.dtype) * buffers[3][:, :, :end].to(self.dtype),
        )

    def copy_out(self, start: int, end: int) -> tuple[Tensor, ...]:
        """Copies of everything that the tokens from ``start`` to ``end`` take, layer by layer."""
        with torch.inference_mode(mode=False):
            return tuple(
                buffer[:, :, start:end].clone() for buffer in itertools.chain(*self._buffers)
            )

    def copy_in(self, start: int, pieces: tuple[Tensor, ...], tokens: int) -> None:
        """Put back the first ``tokens`` of what :meth:`copy_out` gave, at ``start``."""
        self.written = max(self.written, start + tokens)
        for buffer, piece in zip(itertools.chain(*self._buffers), pieces, strict=True):
            buffer[:, :, start : start + tokens].copy_(piece[:, :, :tokens])

    def slices(self, end: int) -> list[Tensor]:
        """Views of everything that the first ``end`` tokens take, in the order of ``copy_out``.

        They may be written to.
        """
        self.written = max(self.written, end)
        return [buffer[:, :, :end] for buffer in itertools.chain(*self._buffers)]

    def whole(self) -> tuple[list[Tensor], list[Tensor]]:
        """All keys and all values, layer by layer, each (B, K, capacity, E); of plain ones only."""
        return [pair[0] for pair in self._buffers], [pair[1] for pair in self._buffers]

    def _allocate(self, capacity: int) -> tuple[Tensor, ...]:
        vectors = (*self._rows, capacity, self._head_dim)
        scales = (*self._rows, capacity, 1)
        if not self.quantized:
            kinds = [(vectors, self.dtype)] * 2
        else:
            kinds = [(vectors, torch.int8)] * 2 + [(scales, torch.float32)] * 2
        # Outside inference mode: its tensors cannot be written to once it has ended.
        with torch.inference_mode(mode=False):
            # Elsewhere memory is taken at once in any case, and a recorded step looks at places
            # that were not written to yet: what is no number there would spread.
            make = torch.empty if self.device.type == "cpu" else torch.zeros
            return tuple(make(shape, dtype=dtype, device=self.device) for shape, dtype in kinds)


def _to_levels(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """(..., E) to int8 levels (..., E) and scales (..., 1); a vector of zeros has scale 0."""
    wide = numbers.to(torch.float32)
    scales = wide.abs().amax(dim=-1, keepdim=True) / LARGEST_LEVEL
    levels = torch.where(scales > 0, wide / scales, 0.0).round_()
    return levels.to(torch.int8), scales
