"""Weights in 8, 6 or 4 bits: how they are rounded, and how the kernels want them laid out.

In: a matrix of weights (N, K). Out: a :class:`PackedMatrix`, one buffer of bytes, or the numbers
that it stands for. Knows no model and no file. The layout is described on top of
``native/kernels.h``; it is the same on every processor.

A group of neighbouring columns shares a scale: 64 with 8 and 6 bits, 32 with 4. Rounding to 8
bits takes the scale from the group's largest number. With fewer, where that is far from the best,
several scales are tried for each group and the one with the least squared error is kept, after
which the scale is set by least squares for the levels found.

Scales are bf16 beside 8 and 6 bits. Beside 4 bits, of which they would be an eighth, each has one
byte: sign, 3 bits of exponent and 4 of mantissa, as a share of a number that the whole row has in
float32. That reaches from the row's largest scale down to a 248th of it, within 3 %, and costs 1 %
of squared error; the levels are chosen for the scale as it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from lfm2chat.engine.device import one_thread

PANEL_ROWS = 32
BLOCK_COLUMNS = 128
ROWS_AT_ONCE = 128
"""Rows quantized in one go: they stay in the processor's cache, which is five times as fast."""

SHRINKS = {4: (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 1.05), 6: (1.0, 0.95, 0.9)}
"""By bits: what the scale of a group may be, as shares of the one that clips nothing."""

LARGEST_SHARE = 1.9375
"""The largest number that a scale in one byte can be: 15 sixteenths above 1."""


class Precision(Enum):
    """How the weights of a packed model are kept; the value is what users call it."""

    INT8 = "int8"
    INT4 = "int4"

    @property
    def bits(self) -> int:
        """Bits of a weight in the layers."""
        return 8 if self is Precision.INT8 else 4

    @property
    def head_bits(self) -> int:
        """Bits of a weight in the embedding and the head."""
        return 8 if self is Precision.INT8 else 6


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """Weights (N, K), packed. ``data`` is uint8, flat, and may be a view of a larger buffer.

    ``bits`` is 8, 6 or 4; ``rows`` and ``columns`` are N and K, without the padding.
    """

    data: Tensor
    rows: int
    columns: int
    bits: int

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return group_columns(self.bits)

    @property
    def padded_columns(self) -> int:
        """K, rounded up to whole blocks."""
        return _round_up(self.columns, BLOCK_COLUMNS)


def group_columns(bits: int) -> int:
    """Columns that share a scale, with so many bits."""
    return 32 if bits == 4 else 64


def packed_bytes(rows: int, columns: int, bits: int) -> int:
    """Bytes that a matrix (rows, columns) takes, padding and scales included."""
    panels = _round_up(rows, PANEL_ROWS) // PANEL_ROWS
    blocks = _round_up(columns, BLOCK_COLUMNS) // BLOCK_COLUMNS
    return panels * (front_bytes(bits) + blocks * block_bytes(bits))


def front_bytes(bits: int) -> int:
    """Bytes in front of a panel's blocks: what scales in one byte are shares of."""
    return 4 * PANEL_ROWS if bits == 4 else 0


def block_bytes(bits: int) -> int:
    """Bytes of one block: its levels, then its scales."""
    scales = BLOCK_COLUMNS // group_columns(bits) * PANEL_ROWS
    return PANEL_ROWS * BLOCK_COLUMNS * bits // 8 + scales * (1 if bits == 4 else 2)


ScaleFinder = Callable[[Tensor, int, Tensor | None], Tensor]
"""What finds the scales of groups: :func:`best_scales`, or what gives the same faster."""


def pack(
    weight: Tensor,
    bits: int,
    *,
    scales: Tensor | None = None,
    out: Tensor | None = None,
    find: ScaleFinder | None = None,
) -> PackedMatrix:
    """Round and pack ``weight`` (N, K), any floating dtype, on the CPU.

    Args:
        weight: The numbers.
        bits: Of a level.
        scales: (N, K / 32) float32, with 4 bits only: the numbers are known to be such multiples
            from -8 to 7 of these. No scale is looked for then, which is most of the work.
        out: Uint8 of :func:`packed_bytes` to write into; None allocates.
        find: What finds the scales of 4 and 6 bits; None takes :func:`best_scales`.
    """
    rows, columns = weight.shape
    data = torch.empty(packed_bytes(rows, columns, bits), dtype=torch.uint8) if out is None else out
    panel_bytes = packed_bytes(PANEL_ROWS, columns, bits)

    def pack_from(first: int) -> None:
        some = weight[first : first + ROWS_AT_ONCE].to(torch.float32)
        panels = _round_up(some.shape[0], PANEL_ROWS) // PANEL_ROWS
        at = first // PANEL_ROWS * panel_bytes
        known = None if scales is None else scales[first : first + ROWS_AT_ONCE]
        data[at : at + panels * panel_bytes] = _pack_rows(some, bits, known, find or best_scales)

    # Threads of ours, each with torch on one.
    with one_thread() as threads, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(pack_from, range(0, rows, ROWS_AT_ONCE)):
            pass
    return PackedMatrix(data, rows, columns, bits)


def unpack(matrix: PackedMatrix) -> Tensor:
    """The numbers that ``matrix`` stands for: (N, K) float32, rounding and all."""
    bits, group = matrix.bits, matrix.group
    panels = _round_up(matrix.rows, PANEL_ROWS) // PANEL_ROWS
    rows, blocks = panels * PANEL_ROWS, matrix.padded_columns // BLOCK_COLUMNS
    cells = PANEL_ROWS * BLOCK_COLUMNS * bits // 8
    whole = matrix.data.view(panels, -1)
    data = whole[:, front_bytes(bits) :].reshape(panels, blocks, -1)
    levels = _unfold(data[:, :, :cells].reshape(panels, blocks, -1, PANEL_ROWS, 4), bits)
    levels = levels.permute(0, 3, 1, 2, 4).reshape(rows, -1, group)
    kept = data[:, :, cells:].contiguous()
    if bits == 4:
        bases = whole[:, : front_bytes(bits)].contiguous().view(torch.float32)
        scales = _from_bytes(kept).view(panels, -1, PANEL_ROWS) * bases.view(panels, 1, -1)
    else:
        scales = kept.view(torch.bfloat16).view(panels, -1, PANEL_ROWS).to(torch.float32)
    numbers = levels * scales.transpose(1, 2).reshape(rows, -1, 1)
    return numbers.reshape(rows, -1)[: matrix.rows, : matrix.columns]


def to_levels(
    groups: Tensor, bits: int, known: Tensor | None, find: ScaleFinder
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(N, groups, group) float32 to whole numbers of that shape, and scales (N, groups, 1).

    The levels are -127 to 127 with 8 bits, -32 to 31 with 6, -8 to 7 with 4; those of a group of
    zeros are 0. The scales are bf16; with 4 bits they are bytes, shares of the third result,
    (N, 1, 1) float32. ``known`` are scales (N, groups, 1) to take with 4 bits, as nearly as they
    can be kept.
    """
    if bits == 8:
        scales = (groups.abs().amax(dim=-1, keepdim=True) / 127).to(torch.bfloat16)
        return _levels(groups, scales.to(torch.float32), -127, 127), scales, None
    if bits == 6:
        scales = find(groups, bits, None)
        return _levels(groups, scales, -32, 31), scales.to(torch.bfloat16), None
    # The largest number of a row has a scale that reaches it; a scale that is known is reached.
    reach, most = (groups, 7 * LARGEST_SHARE) if known is None else (known, LARGEST_SHARE)
    bases = reach.abs().amax(dim=(1, 2), keepdim=True) / most
    scales = find(groups, bits, bases) if known is None else _kept(known, bases)
    return _levels(groups, scales, -8, 7), _to_bytes(scales, bases), bases


def scale_factors(bits: int) -> list[float]:
    """What the largest number of a group is multiplied by for its scale, try by try."""
    # The levels reach further down than up, so the largest number stands at either end.
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return [shrink / end for end in ends for shrink in SHRINKS[bits]]


def best_scales(groups: Tensor, bits: int, bases: Tensor | None) -> Tensor:
    """The scales (N, groups, 1), float32, that leave the least squared error of those tried.

    ``groups`` (N, groups, group) are float32; ``bases`` (N, 1, 1) what scales of 4 bits are kept
    as shares of, None with 6 bits.
    """
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = groups.gather(-1, groups.abs().argmax(dim=-1, keepdim=True))
    best_error = torch.full_like(largest, torch.inf)
    best = torch.zeros_like(largest)
    for factor in scale_factors(bits):
        wanted = largest * factor
        scales = _kept(_fit(groups, _levels(groups, wanted, low, high), wanted), bases)
        error = (groups - _levels(groups, scales, low, high) * scales).pow(2)
        total = error.sum(-1, keepdim=True)
        better = total < best_error
        best_error = torch.where(better, total, best_error)
        best = torch.where(better, scales, best)
    return best


def _kept(scales: Tensor, bases: Tensor | None) -> Tensor:
    """Scales as they come back from where they are kept: from bf16, or as shares of ``bases``."""
    if bases is None:
        return scales.to(torch.bfloat16).to(torch.float32)
    return _from_bytes(_to_bytes(scales, bases)) * bases


def _levels(groups: Tensor, scales: Tensor, low: int, high: int) -> Tensor:
    inverse = torch.where(scales == 0, 0.0, 1.0 / scales)
    return (groups * inverse).round_().clamp_(low, high)


def _fit(groups: Tensor, levels: Tensor, scales: Tensor) -> Tensor:
    """The scales that leave the least squared error with ``levels``."""
    norm = levels.pow(2).sum(-1, keepdim=True)
    return torch.where(norm > 0, (groups * levels).sum(-1, keepdim=True) / norm, scales)


def _to_bytes(scales: Tensor, bases: Tensor) -> Tensor:
    """Scales as shares of ``bases``, uint8: sign, exponent + 7 in 3 bits, mantissa in 4."""
    shares = torch.where(bases == 0, 0.0, scales / bases)
    # As integers, floats of one sign are in order, so adding half a step rounds.
    magnitude = shares.abs().clamp(2.0**-7, LARGEST_SHARE).view(torch.int32)
    steps = ((magnitude + (1 << 18)) >> 19) - (120 << 4)
    return (steps | (shares < 0).to(torch.int32) << 7).to(torch.uint8)


def _from_bytes(kept: Tensor) -> Tensor:
    """The shares that such bytes stand for, float32."""
    wide = kept.to(torch.int32)
    magnitude = ((wide & 0x7F) << 19) + (120 << 23)
    return torch.where(wide >= 128, -1.0, 1.0) * magnitude.view(torch.float32)


def _pack_rows(weight: Tensor, bits: int, known: Tensor | None, find: ScaleFinder) -> Tensor:
    """(n, K) float32 to the bytes of its panels; ``known`` are its scales, (n, K / group)."""
    group = group_columns(bits)
    n, columns = weight.shape
    rows, width = _round_up(n, PANEL_ROWS), _round_up(columns, BLOCK_COLUMNS)
    if (rows, width) != (n, columns):
        weight = torch.nn.functional.pad(weight, (0, width - columns, 0, rows - n))
        if known is not None:
            known = torch.nn.functional.pad(known, (0, (width - columns) // group, 0, rows - n))
    panels, blocks = rows // PANEL_ROWS, width // BLOCK_COLUMNS
    groups = weight.view(rows, width // group, group)
    known = None if known is None else known.view(rows, -1, 1)
    levels, scales, bases = to_levels(groups, bits, known, find)
    unsigned = (levels + 2 ** (bits - 1)).to(torch.uint8)
    steps = _fold(unsigned.view(panels, PANEL_ROWS, blocks, BLOCK_COLUMNS // 4, 4), bits)
    cells = steps.permute(0, 2, 3, 1, 4).reshape(panels, blocks, -1)
    ordered = scales.view(panels, PANEL_ROWS, blocks, -1).permute(0, 2, 3, 1).contiguous()
    packed = torch.cat([cells, ordered.view(torch.uint8).view(panels, blocks, -1)], dim=-1)
    front = [] if bases is None else [bases.view(panels, PANEL_ROWS).view(torch.uint8)]
    return torch.cat([*front, packed.view(panels, -1)], dim=-1).view(-1)


def _fold(levels: Tensor, bits: int) -> Tensor:
    """Unsigned levels (..., steps, 4), uint8, to the bytes that hold them, (..., fewer, 4)."""
    if bits == 8:
        return levels
    if bits == 4:
        first, second = levels.view(*levels.shape[:-2], -1, 2, 4).unbind(-2)
        return first | second << 4
    one, two, three, four = levels.view(*levels.shape[:-2], -1, 4, 4).unbind(-2)
    low, high = one & 15 | (two & 15) << 4, three & 15 | (four & 15) << 4
    top = one >> 4 | two >> 4 << 2 | three >> 4 << 4 | four >> 4 << 6
    return torch.stack([low, high, top], dim=-2).flatten(-3, -2)


def _unfold(raw: Tensor, bits: int) -> Tensor:
    """Bytes (P, blocks, fewer, 32, 4) to levels (P, blocks, steps, 32, 4), int16, signed."""
    if bits == 4:
        raw = torch.stack([raw & 15, raw >> 4], dim=3).flatten(2, 3)
    elif bits == 6:
        low, high, top = raw.view(*raw.shape[:2], -1, 3, *raw.shape[3:]).unbind(3)
        halves = (low & 15, low >> 4, high & 15, high >> 4)
        joined = [half | (top >> 2 * turn & 3) << 4 for turn, half in enumerate(halves)]
        raw = torch.stack(joined, dim=3).flatten(2, 3)
    return raw.to(torch.int16).sub_(2 ** (bits - 1))


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
