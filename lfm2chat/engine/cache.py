"""The hybrid cache: keys and values of the attention layers, last columns of the conv layers.

In: what each layer computed for T new tokens. Out: what it needs of the tokens before. Knows
shapes and lengths only: no text, no token ids, no sampling.

Keys and values are append-only, so going back is a length; a short convolution sees just the
last W - 1 columns of ``B * x``, and those are copied by a mark (about 40 KiB for the 350M model
in bf16). A forward pass is a transaction: layers write beyond ``length`` and stage their conv
columns, and only ``commit`` makes that count. A pass that is stopped between two layers, or
that fails, leaves the cache as it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lfm2chat.errors import CacheError
from lfm2chat.spec.config import ATTENTION, Lfm2Config

GROWTH_STEP = 256
"""Tokens: the least that the buffers grow by; beyond 1024 tokens they grow by a quarter."""


@dataclass(frozen=True, slots=True, eq=False)
class CacheMark:
    """A place to come back to: the length in tokens, and the conv columns there.

    Made by :meth:`HybridCache.mark`, good for that cache only, until a restore to an earlier
    mark forgets the tokens that it stands behind.
    """

    length: int
    serial: int
    owner: object = field(repr=False)  # stands for the cache, without keeping it alive
    conv_columns: tuple[Tensor, ...] = field(repr=False)  # each (B, D, W - 1)

    @property
    def nbytes(self) -> int:
        """Memory that the mark holds."""
        return sum(columns.nbytes for columns in self.conv_columns)


class HybridCache:
    """What one batch of sequences of equal length has left behind in the model.

    One thread at a time. ``batch_size`` rows share one ``length``; ``dtype`` and ``device`` are
    the model's. ``capacity`` is the number of tokens to make room for at the start; the buffers
    grow by themselves, in steps, so no token costs a copy of the whole.
    """

    def __init__(
        self,
        config: Lfm2Config,
        *,
        batch_size: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        capacity: int = GROWTH_STEP,
    ) -> None:
        self.config = config
        self.batch_size = batch_size
        self.dtype = dtype
        self.device = torch.device(device)
        self._length = 0
        self._capacity = 0
        self._slots = _slots(config)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._conv: list[Tensor] = [self._empty_columns() for _ in config.conv_layers]
        self._staged: dict[int, Tensor] = {}
        self._new_tokens = 0
        # Serial numbers, and the lengths they stand at, of the marks that are still good.
        self._marks: dict[int, int] = {}
        self._serials = itertools.count(1)
        self._identity = object()
        self._allocate(max(1, capacity))

    @property
    def length(self) -> int:
        """Tokens in the cache: the position of the next one."""
        return self._length

    @property
    def capacity(self) -> int:
        """Tokens that fit before the buffers grow."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Memory that the buffers hold (marks count for themselves)."""
        return sum(t.nbytes for t in itertools.chain(self._keys, self._values, self._conv))

    def mark(self) -> CacheMark:
        """Remember this place. Copies W - 1 columns per conv layer, no keys and no values."""
        columns = tuple(kept.clone() for kept in self._conv)
        mark = CacheMark(self._length, next(self._serials), self._identity, columns)
        self._marks[mark.serial] = mark.length
        return mark

    def restore(self, mark: CacheMark) -> None:
        """Forget every token after ``mark``, in place.

        Keys and values are append-only, so they are only shortened; the conv columns are copied
        back. Marks beyond ``mark`` become invalid, ``mark`` itself stays good.

        Raises:
            CacheError: ``mark`` is from another cache or was dropped by an earlier restore.
        """
        self._check(mark)
        self._conv = [columns.clone() for columns in mark.conv_columns]
        self._length = mark.length
        self._staged = {}
        self._marks = {s: length for s, length in self._marks.items() if length <= mark.length}

    def fork(self, mark: CacheMark) -> HybridCache:
        """An independent cache that holds the tokens up to ``mark``; marks do not go with it.

        Copies the keys and values: 12 KiB a token for the 350M to 1.2B models in bf16.

        Raises:
            CacheError: ``mark`` is from another cache or was dropped by an earlier restore.
        """
        self._check(mark)
        twin = HybridCache(
            self.config,
            batch_size=self.batch_size,
            dtype=self.dtype,
            device=self.device,
            capacity=mark.length + GROWTH_STEP,
        )
        for mine, other in zip(
            itertools.chain(self._keys, self._values),
            itertools.chain(twin._keys, twin._values),
            strict=True,
        ):
            other[:, :, : mark.length].copy_(mine[:, :, : mark.length])
        twin._conv = [columns.clone() for columns in mark.conv_columns]
        twin._length = mark.length
        return twin

    # --- what the model calls, in this order: begin, one extend for each layer, commit ---

    def begin(self, new_tokens: int) -> None:
        """Open a forward pass over ``new_tokens`` tokens; what an earlier one left is dropped."""
        self._staged = {}
        self._new_tokens = new_tokens
        needed = self._length + new_tokens
        if needed > self._capacity:
            step = max(GROWTH_STEP, self._capacity // 4)
            self._allocate(max(needed, self._capacity + step))

    def extend_attention(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values, each (B, K, T, E); returns all of them, each (B, K, S, E).

        What is returned may be views of the buffers: good until the next ``begin``.
        """
        slot = self._slots[layer]
        start, end = self._length, self._length + keys.shape[2]
        self._keys[slot][:, :, start:end] = keys.detach()
        self._values[slot][:, :, start:end] = values.detach()
        if keys.requires_grad:
            # The buffers hold no graph: join them so that gradients reach the new tokens.
            old_keys, old_values = self._keys[slot][:, :, :start], self._values[slot][:, :, :start]
            return torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)
        return self._keys[slot][:, :, :end], self._values[slot][:, :, :end]

    def extend_conv(self, layer: int, columns: Tensor) -> Tensor:
        """Put the kept columns before the new ones: (B, D, T) gives (B, D, W - 1 + T)."""
        slot = self._slots[layer]
        joined = torch.cat([self._conv[slot], columns], dim=-1)  # (B, D, W - 1 + T)
        # A copy: a view would keep the columns of the whole chunk alive.
        kept = joined[:, :, joined.shape[-1] - self._conv[slot].shape[-1] :]
        self._staged[slot] = kept.detach().clone()
        return joined

    def commit(self) -> None:
        """Close the forward pass: its tokens count from here on.

        Raises:
            CacheError: A conv layer was left out.
        """
        if len(self._staged) != len(self._conv):
            raise CacheError(
                f"a forward pass reached {len(self._staged)} of {len(self._conv)} conv layers",
                hint="this is a mistake in lfm2chat: please report it",
            )
        self._conv = [self._staged[slot] for slot in range(len(self._conv))]
        self._staged = {}
        self._length += self._new_tokens
        self._new_tokens = 0

    # --- private ---

    def _check(self, mark: CacheMark) -> None:
        if mark.owner is not self._identity or mark.serial not in self._marks:
            raise CacheError(
                f"the mark at {mark.length} tokens is from another cache, or its tokens were"
                " forgotten by a restore to an earlier mark",
                hint="take a new mark, or read the tokens again",
            )

    def _allocate(self, capacity: int) -> None:
        shape = (self.batch_size, self.config.num_key_value_heads, capacity, self.config.head_dim)
        for buffers in (self._keys, self._values):
            old = list(buffers)
            buffers.clear()
            for index in range(len(self.config.attention_layers)):
                # Outside inference mode: its tensors cannot be written to once it has ended.
                with torch.inference_mode(mode=False):
                    buffer = torch.empty(shape, dtype=self.dtype, device=self.device)
                if old:
                    buffer[:, :, : self._length].copy_(old[index][:, :, : self._length])
                buffers.append(buffer)
        self._capacity = capacity

    def _empty_columns(self) -> Tensor:
        shape = (self.batch_size, self.config.hidden_size, self.config.conv_L_cache - 1)
        with torch.inference_mode(mode=False):
            return torch.zeros(shape, dtype=self.dtype, device=self.device)


def _slots(config: Lfm2Config) -> Sequence[int]:
    """For each layer, its place among the layers of its kind."""
    seen = {True: 0, False: 0}
    slots = []
    for kind in config.layer_types:
        slots.append(seen[kind == ATTENTION])
        seen[kind == ATTENTION] += 1
    return slots


Lfm2HybridConvCache = HybridCache
"""The documented name of the cache."""
