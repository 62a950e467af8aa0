"""A whole model in 8 bits or in 4: which weights it has, and where each lies in one buffer.

In: a configuration, a precision, and a way to get each weight by its checkpoint's name. Out: a
:class:`PackedModel`. Knows no kernels and no file. One buffer, so that it can lie in huge pages
and be read in one go; what is where follows from the configuration and the precision alone.

Layers have 8 or 4 bits, the embedding, which is the head too where the config ties it, 8 or 6.
Norms and convolution taps are kept in float32. Projections that read the same input are joined:
queries, keys and values; and w1 with w3, by turns 16 rows of each, so that a kernel has both
halves of the gate at hand.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lfm2chat.engine.quantize import (
    PANEL_ROWS,
    PackedMatrix,
    Precision,
    ScaleFinder,
    pack,
    packed_bytes,
)
from lfm2chat.engine.weights import require_finite
from lfm2chat.errors import NotEnoughMemoryError
from lfm2chat.spec.config import ATTENTION, Lfm2Config

ALIGNMENT = 128
HUGE_PAGE_BYTES = 2 * 2**20
LANES = PANEL_ROWS // 2
MAX_HEAD_DIM = 128

Lookup = Callable[[str], Tensor]
"""A weight by its name in the checkpoint, any floating dtype, on the CPU."""

ScaleLookup = Callable[[str], Tensor | None]
"""Scales of a weight that has 4 bits already: see :func:`lfm2chat.engine.quantize.pack`."""


@dataclass(frozen=True, slots=True)
class Section:
    """One matrix (``bits`` 8, 6 or 4) or vector (``bits`` 32, one row) in the buffer.

    ``sources`` are the names of the weights that it is made of.
    """

    name: str
    sources: tuple[str, ...]
    rows: int
    columns: int
    bits: int

    @property
    def nbytes(self) -> int:
        """Bytes in the buffer, without what aligns the next one."""
        if self.bits == 32:
            return 4 * self.rows * self.columns
        return packed_bytes(self.rows, self.columns, self.bits)


def unsupported(config: Lfm2Config) -> str:
    """Why a model of ``config`` cannot be packed; empty where it can."""
    if config.conv_bias:
        return "its convolutions have a bias"
    if config.head_dim % LANES or config.head_dim > MAX_HEAD_DIM:
        return f"its head dim is {config.head_dim}"
    if config.hidden_size % LANES or config.ff_dim % LANES:
        return f"its widths {config.hidden_size} and {config.ff_dim} are no multiples of {LANES}"
    if config.num_attention_heads // config.num_key_value_heads > 32:
        return "more than 32 query heads share one key"
    return ""


@dataclass(frozen=True)
class PackedModel:
    """The weights, in ``buffer`` (uint8, flat, on the CPU), laid out by :func:`sections`."""

    config: Lfm2Config
    precision: Precision
    buffer: Tensor

    @cached_property
    def _places(self) -> Mapping[str, tuple[Section, int]]:
        return {section.name: (section, at) for section, at in places(self.config, self.precision)}

    def matrix(self, name: str) -> PackedMatrix:
        """A matrix by its section's name; a view."""
        section, at = self._places[name]
        data = self.buffer[at : at + section.nbytes]
        return PackedMatrix(data, section.rows, section.columns, section.bits)

    def numbers(self, name: str) -> Tensor:
        """A section in float32, (rows, columns); a view."""
        section, at = self._places[name]
        data = self.buffer[at : at + section.nbytes].view(torch.float32)
        return data.view(section.rows, section.columns)

    @property
    def head(self) -> PackedMatrix:
        """The head, which is the embedding where the config ties it."""
        return self.matrix("embedding" if self.config.tie_word_embeddings else "head")


def sections(config: Lfm2Config, precision: Precision) -> Iterator[Section]:
    """What a packed model of ``config`` consists of, in the order of the buffer."""
    hidden, bits, words = config.hidden_size, precision.bits, config.vocab_size
    yield Section("embedding", ("model.embed_tokens.weight",), words, hidden, precision.head_bits)
    for layer, kind in enumerate(config.layer_types):
        operator = _attention if kind == ATTENTION else _convolution
        yield from operator(config, layer, bits)
        yield from _feed_forward(config, layer, bits)
    yield Section("norm", ("model.embedding_norm.weight",), 1, hidden, 32)
    if not config.tie_word_embeddings:
        yield Section("head", ("lm_head.weight",), words, hidden, precision.head_bits)


def places(config: Lfm2Config, precision: Precision) -> Iterator[tuple[Section, int]]:
    """Each section, and where it begins in the buffer."""
    at = 0
    for section in sections(config, precision):
        yield section, at
        at += -(-section.nbytes // ALIGNMENT) * ALIGNMENT


def buffer_bytes(config: Lfm2Config, precision: Precision) -> int:
    """Bytes of the whole buffer."""
    return max(at + section.nbytes for section, at in places(config, precision))


def pack_model(
    config: Lfm2Config,
    precision: Precision,
    lookup: Lookup,
    *,
    scales: ScaleLookup = lambda _: None,
    find: ScaleFinder | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> PackedModel:
    """Round and pack all weights; ``progress`` is told the share that is done, 0 to 1.

    One weight at a time is asked for, so little memory is needed beside the result. Where all
    parts of a matrix with 4 bits have ``scales``, these are taken and none are looked for; ``find``
    is as for :func:`lfm2chat.engine.quantize.pack`.

    Raises:
        WeightsError: A weight holds NaN or an infinity. Rounding, and the kernels, would hide
            some of them: an answer would be drawn from what is left.
        NotEnoughMemoryError: The system gives no buffer of that size.
    """
    total = buffer_bytes(config, precision)
    buffer = allocate(total)
    progress(0.0)
    for section, at in places(config, precision):
        place = buffer[at : at + section.nbytes]
        if section.bits == 32:
            numbers = _finite(lookup, section.sources[0]).to(torch.float32).contiguous().view(-1)
            place.copy_(numbers.view(torch.uint8))
        else:
            weight = _joined(section, [_finite(lookup, name) for name in section.sources])
            known = _known_scales(section, scales)
            pack(weight, section.bits, scales=known, out=place, find=find)
        progress((at + section.nbytes) / total)
    return PackedModel(config, precision, buffer)


def allocate(nbytes: int) -> Tensor:
    """Uint8 zeros, from huge pages where the system gives them: reading is then 8 % faster.

    Raises:
        NotEnoughMemoryError: There is no room.
    """
    length = -(-nbytes // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    try:
        # One page more, to begin where a huge page does.
        memory = mmap.mmap(-1, length + HUGE_PAGE_BYTES)
    except (OSError, ValueError, OverflowError) as error:
        raise NotEnoughMemoryError(
            f"{nbytes / 1e9:.1f} GB for the weights are not to be had: {error}",
            hint="close other programs, or choose a smaller model or precision",
        ) from None
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    skipped = -whole.data_ptr() % HUGE_PAGE_BYTES
    return whole[skipped : skipped + nbytes]


def _attention(config: Lfm2Config, layer: int, bits: int) -> Iterator[Section]:
    hidden, head_dim = config.hidden_size, config.head_dim
    prefix = f"model.layers.{layer}"
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    projections = tuple(f"{prefix}.self_attn.{part}_proj.weight" for part in "qkv")
    yield Section(f"{layer}.in", projections, heads * head_dim, hidden, bits)
    width = config.num_attention_heads * head_dim
    yield Section(f"{layer}.out", (f"{prefix}.self_attn.out_proj.weight",), hidden, width, bits)
    for part in "qk":
        source = f"{prefix}.self_attn.{part}_layernorm.weight"
        yield Section(f"{layer}.{part}_norm", (source,), 1, head_dim, 32)


def _convolution(config: Lfm2Config, layer: int, bits: int) -> Iterator[Section]:
    hidden, prefix = config.hidden_size, f"model.layers.{layer}.conv"
    yield Section(f"{layer}.in", (f"{prefix}.in_proj.weight",), 3 * hidden, hidden, bits)
    yield Section(f"{layer}.out", (f"{prefix}.out_proj.weight",), hidden, hidden, bits)
    yield Section(f"{layer}.taps", (f"{prefix}.conv.weight",), hidden, config.conv_L_cache, 32)


def _feed_forward(config: Lfm2Config, layer: int, bits: int) -> Iterator[Section]:
    hidden, ff, prefix = config.hidden_size, config.ff_dim, f"model.layers.{layer}"
    gates = (f"{prefix}.feed_forward.w1.weight", f"{prefix}.feed_forward.w3.weight")
    yield Section(f"{layer}.gate_up", gates, 2 * ff, hidden, bits)
    yield Section(f"{layer}.down", (f"{prefix}.feed_forward.w2.weight",), hidden, ff, bits)
    for name in ("operator_norm", "ffn_norm"):
        yield Section(f"{layer}.{name}", (f"{prefix}.{name}.weight",), 1, hidden, 32)


def _joined(section: Section, parts: list[Tensor]) -> Tensor:
    """What belongs to the weights of ``section``, row by row, as one matrix."""
    if not section.name.endswith("gate_up"):
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    columns = parts[0].shape[-1]
    turns = [part.view(-1, LANES, columns) for part in parts]
    return torch.stack(turns, dim=1).view(section.rows, columns)


def _known_scales(section: Section, lookup: ScaleLookup) -> Tensor | None:
    parts = [lookup(name) for name in section.sources] if section.bits == 4 else []
    known = [part for part in parts if part is not None]
    return _joined(section, known) if known and len(known) == len(section.sources) else None


def _finite(lookup: Lookup, name: str) -> Tensor:
    return require_finite(lookup(name), name)
