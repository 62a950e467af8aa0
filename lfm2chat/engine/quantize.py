"""Weights in 8 or 4 bits: how they are rounded, and how the kernels want them laid out.

In: a matrix of weights (N, K). Out: a :class:`PackedMatrix`, one buffer of bytes, or the numbers
that it stands for. Knows no model and no file. The layout is described on top of
``native/kernels.h``; it is the same on every processor.

A group of neighbouring columns shares a scale (bf16): 64 with 8 bits, 32 with 4. Rounding to 8
bits takes the scale from the group's largest number. With 4 bits, where that is far from the best,
several scales are tried for each group and the one with the least squared error is kept, after
which the scale is set by least squares for the levels found.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

PANEL_ROWS = 32
BLOCK_COLUMNS = 128
ROWS_AT_ONCE = 128
"""Rows quantized in one go: they stay in the processor's cache, which is five times as fast."""

SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 1.05)
"""What the scale of a group in 4 bits may be, as shares of the one that clips nothing."""


class Precision(Enum):
    """How the weights of a packed model are kept; the value is what users call it."""

    INT8 = "int8"
    INT4 = "int4"

    @property
    def bits(self) -> int:
        """Bits of a weight in the layers; the embedding and the head have 8 in both."""
        return 8 if self is Precision.INT8 else 4


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """Weights (N, K), packed. ``data`` is uint8, flat, and may be a view of a larger buffer.

    ``bits`` is 8 or 4; ``rows`` and ``columns`` are N and K, without the padding.
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
    return 64 if bits == 8 else 32


def packed_bytes(rows: int, columns: int, bits: int) -> int:
    """Bytes that a matrix (rows, columns) takes, padding and scales included."""
    cells = _round_up(rows, PANEL_ROWS) * _round_up(columns, BLOCK_COLUMNS)
    return cells * bits // 8 + cells // group_columns(bits) * 2


def pack(weight: Tensor, bits: int, *, out: Tensor | None = None) -> PackedMatrix:
    """Round and pack ``weight`` (N, K), any floating dtype, on the CPU.

    ``out`` is uint8 of :func:`packed_bytes` to write into; None allocates.
    """
    rows, columns = weight.shape
    data = torch.empty(packed_bytes(rows, columns, bits), dtype=torch.uint8) if out is None else out
    panel_bytes = packed_bytes(PANEL_ROWS, columns, bits)

    def pack_from(first: int) -> None:
        some = weight[first : first + ROWS_AT_ONCE].to(torch.float32)
        panels = _round_up(some.shape[0], PANEL_ROWS) // PANEL_ROWS
        at = first // PANEL_ROWS * panel_bytes
        data[at : at + panels * panel_bytes] = _pack_rows(some, bits)

    # Threads of ours, each with torch on one: its own wait for one another in every small
    # operation, which takes a hundred times as long where another program has a core.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(pack_from, range(0, rows, ROWS_AT_ONCE)):
                pass
    finally:
        torch.set_num_threads(threads)
    return PackedMatrix(data, rows, columns, bits)


def unpack(matrix: PackedMatrix) -> Tensor:
    """The numbers that ``matrix`` stands for: (N, K) float32, rounding and all."""
    panels = _round_up(matrix.rows, PANEL_ROWS) // PANEL_ROWS
    blocks = matrix.padded_columns // BLOCK_COLUMNS
    groups = BLOCK_COLUMNS // matrix.group
    cells = PANEL_ROWS * BLOCK_COLUMNS * matrix.bits // 8
    data = matrix.data.view(panels, blocks, cells + groups * PANEL_ROWS * 2)
    raw = data[:, :, :cells].reshape(panels, blocks, -1, PANEL_ROWS, 4)
    if matrix.bits == 8:
        levels = raw.to(torch.int16) - 128  # (P, blocks, steps, 32, 4)
    else:
        levels = torch.stack([raw & 15, raw >> 4], dim=3).to(torch.int16) - 8
        levels = levels.transpose(3, 4).flatten(4)  # (P, blocks, steps, 32, 8)
    levels = levels.permute(0, 3, 1, 2, 4).reshape(panels * PANEL_ROWS, blocks, groups, -1)
    scales = data[:, :, cells:].contiguous().view(torch.bfloat16)
    scales = scales.view(panels, blocks, groups, PANEL_ROWS).permute(0, 3, 1, 2)
    numbers = levels * scales.reshape(panels * PANEL_ROWS, blocks, groups, 1).to(torch.float32)
    return numbers.reshape(panels * PANEL_ROWS, -1)[: matrix.rows, : matrix.columns]


def to_levels(groups: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(..., group) float32 to whole numbers (..., group), and scales (..., 1) in bf16.

    8 bits: -127 to 127. 4 bits: -8 to 7. A group of zeros has scale 0.
    """
    return _to_8_bits(groups) if bits == 8 else _to_4_bits(groups)


def _to_8_bits(groups: Tensor) -> tuple[Tensor, Tensor]:
    scales = (groups.abs().amax(dim=-1, keepdim=True) / 127).to(torch.bfloat16)
    return _levels(groups, scales, -127, 127), scales


def _to_4_bits(groups: Tensor) -> tuple[Tensor, Tensor]:
    largest = groups.gather(-1, groups.abs().argmax(dim=-1, keepdim=True))
    best_error = torch.full_like(largest, torch.inf)
    best_scales = torch.zeros_like(largest, dtype=torch.bfloat16)
    # The levels reach further down than up, so the largest number stands at -8, or at 7.
    for end in (-8.0, 7.0):
        for shrink in SHRINKS:
            scales = (largest * (shrink / end)).to(torch.bfloat16)
            levels = _levels(groups, scales, -8, 7)
            fitted = _fit(groups, levels, scales)
            error = _error(groups, levels, fitted)
            better = error < best_error
            best_error = torch.where(better, error, best_error)
            best_scales = torch.where(better, fitted, best_scales)
    return _levels(groups, best_scales, -8, 7), best_scales


def _levels(groups: Tensor, scales: Tensor, low: int, high: int) -> Tensor:
    wide = scales.to(torch.float32)
    inverse = torch.where(wide == 0, 0.0, 1.0 / wide)
    return (groups * inverse).round_().clamp_(low, high)


def _fit(groups: Tensor, levels: Tensor, scales: Tensor) -> Tensor:
    """The scales that leave the least squared error with ``levels``."""
    norm = levels.pow(2).sum(-1, keepdim=True)
    fitted = (groups * levels).sum(-1, keepdim=True) / norm
    return torch.where(norm > 0, fitted.to(torch.bfloat16), scales)


def _error(groups: Tensor, levels: Tensor, scales: Tensor) -> Tensor:
    return (groups - levels * scales.to(torch.float32)).pow(2).sum(-1, keepdim=True)


def _pack_rows(weight: Tensor, bits: int) -> Tensor:
    """(n, K) float32 to the bytes of its panels."""
    group = group_columns(bits)
    n, columns = weight.shape
    rows, width = _round_up(n, PANEL_ROWS), _round_up(columns, BLOCK_COLUMNS)
    if (rows, width) != (n, columns):
        weight = torch.nn.functional.pad(weight, (0, width - columns, 0, rows - n))
    panels, blocks, groups = rows // PANEL_ROWS, width // BLOCK_COLUMNS, BLOCK_COLUMNS // group
    levels, scales = to_levels(weight.view(rows, width // group, group), bits)
    if bits == 8:
        steps = (levels + 128).to(torch.uint8).view(panels, PANEL_ROWS, blocks, -1, 4)
    else:
        halves = (levels + 8).to(torch.uint8).view(panels, PANEL_ROWS, blocks, -1, 2, 4)
        steps = halves[..., 0, :] | (halves[..., 1, :] << 4)
    cells = steps.permute(0, 2, 3, 1, 4).reshape(panels, blocks, -1)
    ordered = scales.view(panels, PANEL_ROWS, blocks, groups).permute(0, 2, 3, 1).contiguous()
    return torch.cat([cells, ordered.view(torch.uint8).view(panels, blocks, -1)], dim=-1).view(-1)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
