"""The hybrid cache: keys and values of the attention layers, last columns of the conv layers.

In: what each layer computed for T new tokens. Out: what it needs of the tokens before. Knows
shapes and lengths only: no text, no token ids, no sampling.

Keys and values are append-only, so going back is a length; a short convolution sees just the
last W - 1 columns of ``B * x``, and those are copied by a mark (about 40 KiB for the 350M model
in bf16). A forward pass is a transaction: layers write beyond what counts and stage their conv
columns, and only ``commit`` makes that count. A pass that is stopped between two layers, or
that fails, leaves the cache as it was.

Going back to where no mark stands is exact too: :meth:`HybridCache.rewind` shortens keys and
values to ``length`` and sets ``position`` a few tokens before it, with the conv columns at zero.
The next pass reads those tokens again: attention uses the keys and values that were kept, so an
error of the columns reaches no further than W - 1 tokens in each conv layer, and after
(W - 1) * conv layers (20 tokens in the models of 16 layers) nothing is left of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfm2chat.engine.attention import Visibility, attend
from lfm2chat.engine.columns import ConvColumns
from lfm2chat.engine.keyvalues import GROWTH_STEP, KeyValues
from lfm2chat.engine.places import CacheMark, CacheSegment, Marks
from lfm2chat.errors import CacheError
from lfm2chat.spec.config import Lfm2Config


class HybridCache:
    """What one batch of sequences of equal length has left behind in the model.

    One thread at a time. ``batch_size`` rows share one ``length``; ``dtype`` and ``device`` are
    the model's. ``capacity`` is the number of tokens to make room for at the start; the buffers
    grow by themselves, in steps, so no token costs a copy of the whole. ``quantized`` keeps keys
    and values in 8 bits, in about half the memory of bf16 and at a small error.
    """

    def __init__(
        self,
        config: Lfm2Config,
        *,
        batch_size: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        capacity: int = GROWTH_STEP,
        quantized: bool = False,
    ) -> None:
        self.config = config
        self.batch_size = batch_size
        self.dtype = dtype
        self.device = torch.device(device)
        self.quantized = quantized
        self._length = 0
        self._position = 0
        # For each layer, its number among the layers of its kind.
        kinds = (config.attention_layers, config.conv_layers)
        self._slots = {layer: slot for layers in kinds for slot, layer in enumerate(layers)}
        self._keyvalues = KeyValues(
            config,
            batch_size=batch_size,
            dtype=dtype,
            device=self.device,
            capacity=capacity,
            quantized=quantized,
        )
        self._columns = ConvColumns(self._empty_columns())
        self._new_tokens = 0
        self._held_at = 0
        self._marks = Marks()

    @property
    def length(self) -> int:
        """Tokens in the cache: those whose keys and values are there."""
        return self._length

    @property
    def position(self) -> int:
        """Where the next pass must begin: ``length``, or a little before it after a rewind."""
        return self._position

    @property
    def capacity(self) -> int:
        """Tokens that fit before the buffers grow."""
        return self._keyvalues.capacity

    @property
    def nbytes(self) -> int:
        """Memory that the tokens take (marks count for themselves, room that is unused not)."""
        return self._length * self._keyvalues.bytes_per_token + self._columns.nbytes

    @property
    def held_bytes(self) -> int:
        """Memory that the buffers take: as :attr:`nbytes`, and what forgotten tokens still hold."""
        forgotten = self._keyvalues.written - self._length
        return self.nbytes + max(0, forgotten) * self._keyvalues.bytes_per_token

    @property
    def reach(self) -> int:
        """Tokens that a place without a mark needs to be read again: (W - 1) * conv layers."""
        return (self.config.conv_L_cache - 1) * len(self.config.conv_layers)

    def get_seq_length(self) -> int:
        """``length``, under the documented cache's name for it."""
        return self._length

    def mark(self) -> CacheMark:
        """Remember this place. Copies W - 1 columns per conv layer, no keys and no values.

        Raises:
            CacheError: The cache was rewound, and the tokens before its end are still to be read.
        """
        self._check_settled("marked")
        return self._marks.make(self._length, self._columns.kept)

    def restore(self, mark: CacheMark) -> None:
        """Forget every token after ``mark``, in place.

        Keys and values are append-only, so they are only shortened; the conv columns are copied
        back. Marks beyond ``mark`` become invalid, ``mark`` itself stays good.

        Raises:
            CacheError: ``mark`` is from another cache or was dropped when its tokens were.
        """
        self._marks.check(mark)
        self._cut(mark.length, mark.length, mark.conv_columns)

    def rewind(self, length: int) -> int:
        """Forget every token after ``length``, in place; returns where to go on reading.

        That is ``length`` where the cache stands there or a mark does, else at most :attr:`reach`
        tokens before it: the pass that begins there gives, from ``length`` on, what a cache that
        never went further would give. Marks beyond ``length`` become invalid.

        Raises:
            CacheError: The cache holds fewer tokens.
        """
        self._check_within(length, "go back to")
        if length < self._length:
            self._cut(length, *self._place_before(length))
        return self._position

    def fork(self, at: CacheMark | int) -> HybridCache:
        """An independent cache that holds the tokens up to ``at``; marks do not go with it.

        At a length where neither the end nor a mark stands it must read on from its
        :attr:`position`, as after a rewind. Copies the keys and values: 12 KiB a token for the
        350M to 1.2B models in bf16.

        Raises:
            CacheError: ``at`` is the mark of another cache or of tokens that were forgotten, or
                beyond the end.
        """
        position: int
        columns: Sequence[Tensor]
        if isinstance(at, CacheMark):
            self._marks.check(at)
            length = position = at.length
            columns = at.conv_columns
        else:
            length = at
            self._check_within(length, "be forked at")
            position, columns = self._place_before(length)
        twin = HybridCache(
            self.config,
            batch_size=self.batch_size,
            dtype=self.dtype,
            device=self.device,
            capacity=length + GROWTH_STEP,
            quantized=self.quantized,
        )
        twin._keyvalues.copy_in(0, tuple(self._keyvalues.slices(length)), length)
        twin._cut(length, position, columns)
        return twin

    def segment(self, start: int) -> CacheSegment:
        """A copy of the tokens from ``start`` on, to be spliced in again later.

        Raises:
            CacheError: ``start`` is beyond the end, or the cache was rewound and not read on.
        """
        self._check_settled("cut")
        self._check_within(start, "be cut at")
        pieces = self._keyvalues.copy_out(start, self._length)
        columns = tuple(kept.clone() for kept in self._columns.kept)
        return CacheSegment(start, self._length, pieces, columns)

    def splice(self, segment: CacheSegment, length: int | None = None) -> int:
        """Put the tokens of ``segment`` behind its start, in place of what is there.

        ``length`` is the end that is wanted, None for all of the segment. Returns where to go on
        reading, as :meth:`rewind` does: the length itself where the whole segment was taken.

        Raises:
            CacheError: The cache does not reach to the segment's start, or is another model's.
        """
        length = segment.end if length is None else length
        if not segment.start <= min(length, self._length) or length > segment.end:
            raise CacheError(
                f"tokens {segment.start} to {segment.end} cannot be spliced up to {length} into"
                f" a cache of {self._length}",
                hint="splice the tokens before them first",
            )
        segment.check(self._keyvalues.slices(0), self._columns.kept)
        self._keyvalues.reserve(length, keep=segment.start)
        self._keyvalues.copy_in(segment.start, segment.pieces, length - segment.start)
        # What stood behind the segment's start is gone, the end of the cache with it.
        self._marks.forget(beyond=segment.start)
        if length == segment.end:
            self._cut(length, length, segment.conv_columns)
        else:
            self._cut(length, *self._marked_before(length))
        return self._position

    def tensors(self) -> tuple[Tensor, ...]:
        """Views of all that the tokens take: keys and values layer by layer, then conv columns.

        Good until the next pass.

        Raises:
            CacheError: The cache was rewound, and the tokens before its end are still to be read.
        """
        self._check_settled("taken apart")
        return (*self._keyvalues.slices(self._length), *self._columns.kept)

    def open_to(self, length: int) -> tuple[Tensor, ...]:
        """Let ``length`` tokens count, in place, and give their :meth:`tensors` to write into.

        What the cache held is forgotten; until every tensor is written its contents are undefined.
        """
        self._keyvalues.reserve(length, keep=0)
        self._cut(length, length, self._empty_columns())
        self._marks.forget(beyond=-1)
        return self.tensors()

    # --- what the model calls, in this order: begin, one call for each layer, commit ---

    def hold(self) -> None:
        """Let the tokens of the next pass not count until :meth:`keep` says how many of them do."""
        self._columns.hold_next()

    def keep(self, tokens: int) -> None:
        """Let the first ``tokens`` of the pass that was held count; more of them may follow later.

        What is not kept by the time of the next pass is forgotten, exactly: this is no rewind.

        Raises:
            CacheError: No pass was held, or it had fewer tokens.
        """
        if not self._columns.can_keep or not 0 < tokens <= self._new_tokens:
            raise CacheError(
                f"there are no {tokens} tokens of a held pass to keep",
                hint="this is a mistake in lfm2chat: please report it",
            )
        self._columns.keep(tokens)
        self._position = self._held_at + tokens
        self._length = max(self._length, self._position)

    def begin(self, new_tokens: int) -> None:
        """Open a forward pass over ``new_tokens`` tokens; what an earlier one left is dropped."""
        self._columns.begin()
        self._new_tokens = new_tokens
        self._keyvalues.reserve(self._position + new_tokens, keep=self._length)

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, visibility: Visibility
    ) -> Tensor:
        """Append keys and values, and mix all that (B, H, T, E) may see: (B, T, H * E)."""
        return attend(queries, *self.extend_attention(layer, keys, values), visibility)

    def extend_attention(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values, each (B, K, T, E); returns all of them, each (B, K, S, E).

        Those of tokens that are read again after a rewind are dropped: the kept ones are exact.
        What is returned may be views of the buffers: good until the next ``begin``.
        """
        slot = self._slots[layer]
        end = self._position + keys.shape[2]
        known = min(self._length, end)
        new_keys = keys[:, :, known - self._position :]
        new_values = values[:, :, known - self._position :]
        self._keyvalues.write(slot, known, new_keys, new_values)
        if keys.requires_grad or values.requires_grad:
            # The buffers hold no graph: join them so that gradients reach the new tokens.
            old_keys, old_values = self._keyvalues.read(slot, known)
            return torch.cat([old_keys, new_keys], dim=2), torch.cat([old_values, new_values], 2)
        return self._keyvalues.read(slot, end)

    def extend_conv(self, layer: int, columns: Tensor) -> Tensor:
        """Put the kept columns before the new ones: (B, D, T) gives (B, D, W - 1 + T)."""
        slot = self._slots[layer]
        joined = torch.cat([self._columns.kept[slot], columns], dim=-1)  # (B, D, W - 1 + T)
        self.stage(slot, joined)
        return joined

    @property
    def holds(self) -> bool:
        """Whether the pass at hand is held: see :meth:`hold`."""
        return self._columns.holds

    def stage(self, slot: int, joined: Tensor) -> None:
        """Keep the last W - 1 of ``joined`` for conv layer number ``slot``, until ``commit``."""
        self._columns.stage(slot, joined)

    def commit(self, columns: Sequence[Tensor] | None = None) -> None:
        """Close the forward pass: its tokens count from here on, unless it is held.

        ``columns`` of each conv layer are kept themselves: (B, D, W - 1), or those after each
        token of a pass that is held, (T, B, D, W - 1). None takes what was staged.

        Raises:
            CacheError: A conv layer was left out.
        """
        self._columns.close(columns)
        if self.holds:
            self._held_at = self._position
            return
        self._position += self._new_tokens
        self._length = max(self._length, self._position)
        self._new_tokens = 0

    def buffers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Keys (B, K, capacity, E) and values of each attention layer.

        They may be written to beyond ``length``, and are good until ``capacity`` changes.
        """
        return self._keyvalues.whole()

    def all_columns(self) -> Sequence[Tensor]:
        """The kept columns (B, D, W - 1) of each conv layer."""
        return self._columns.kept

    def columns(self, slot: int) -> Tensor:
        """The kept columns (B, D, W - 1) of conv layer number ``slot``."""
        return self._columns.kept[slot]

    def slot(self, layer: int) -> int:
        """The number of ``layer`` among the layers of its kind."""
        return self._slots[layer]

    # --- private ---

    def _place_before(self, length: int) -> tuple[int, Sequence[Tensor]]:
        """The best place to read on from up to ``length``, and the conv columns there."""
        if length == self._length:
            return self._position, self._columns.kept
        return self._marked_before(length)

    def _marked_before(self, length: int) -> tuple[int, Sequence[Tensor]]:
        nearest = self._marks.nearest(length, within=self.reach)
        if nearest is not None:
            return nearest.length, nearest.conv_columns
        return max(0, length - self.reach), self._empty_columns()

    def _cut(self, length: int, position: int, columns: Sequence[Tensor]) -> None:
        self._columns.replace(columns)
        self._length, self._position = length, position
        self._marks.forget(beyond=length)

    def _check_within(self, length: int, what: str) -> None:
        if not 0 <= length <= self._length:
            raise CacheError(
                f"the cache holds {self._length} tokens: it cannot {what} {length}",
                hint="read the missing tokens first",
            )

    def _check_settled(self, what: str) -> None:
        if self._position != self._length:
            raise CacheError(
                f"the cache was rewound to {self._length} tokens and has read {self._position} of"
                f" them again: it cannot be {what} here",
                hint="read on from `position` first",
            )

    def _empty_columns(self) -> list[Tensor]:
        shape = (self.batch_size, self.config.hidden_size, self.config.conv_L_cache - 1)
        with torch.inference_mode(mode=False):
            return [
                torch.zeros(shape, dtype=self.dtype, device=self.device)
                for _ in self.config.conv_layers
            ]


Lfm2HybridConvCache = HybridCache
"""The documented name of the cache."""
