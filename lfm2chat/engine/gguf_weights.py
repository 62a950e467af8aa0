"""The numbers that the blocks of a GGUF file stand for, in float32.

In: bytes, a type, all on the CPU. Out: float32, bit for bit what the format's own library gives.
Knows no file and no model; sizes of blocks are those of :data:`lfm2chat.modelfiles.gguf.BLOCKS`.

A block of Q4_0 or Q8_0 is a scale in float16 and 32 whole numbers. One of Q6_K is 256 numbers of 6
bits, their low 4 and their high 2 apart, then 16 scales in 8 bits, one for 16 numbers each, and
what these are multiples of, in float16.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lfm2chat.engine.device import STORED
from lfm2chat.modelfiles.gguf import BLOCKS


def dequantize(raw: Tensor, dtype: str) -> Tensor:
    """The numbers of whole blocks: ``raw`` (bytes,) uint8 to (numbers,) float32.

    ``dtype`` is one of ``Q4_0``, ``Q8_0`` and ``Q6_K``.
    """
    blocks = raw.view(-1, BLOCKS[dtype][1])  # (N, bytes)
    if dtype == "Q8_0":
        numbers = _scales(blocks[:, :2]) * blocks[:, 2:].view(torch.int8)
    elif dtype == "Q4_0":
        numbers = _scales(blocks[:, :2]) * (_nibbles(blocks[:, 2:]).to(torch.int8) - 8)
    else:
        numbers = _six_bits(blocks)
    return numbers.view(-1)


def block_scales(raw: Tensor) -> Tensor:
    """The scales of whole blocks of Q4_0: ``raw`` (bytes,) uint8 to (blocks,) float32."""
    return _scales(raw.view(-1, BLOCKS["Q4_0"][1])[:, :2]).view(-1)


def number_dtype(dtype: str) -> torch.dtype:
    """What a weight of the file's ``dtype`` is read as: its own, for blocks float32."""
    return STORED.get(dtype, torch.float32)


def decode(raw: Tensor, dtype: str) -> Tensor:
    """The numbers of ``raw`` (bytes,) uint8, in :func:`number_dtype`; plain ones are a view."""
    return raw.view(STORED[dtype]) if dtype in STORED else dequantize(raw, dtype)


def _scales(raw: Tensor) -> Tensor:
    """(N, 2) bytes of float16 to (N, 1) float32."""
    return raw.contiguous().view(torch.float16).to(torch.float32)


def _nibbles(raw: Tensor) -> Tensor:
    """(..., n) bytes to (..., 2 n) numbers below 16: all low halves, then all high ones."""
    return torch.cat([raw & 15, raw >> 4], dim=-1)


def _six_bits(blocks: Tensor) -> Tensor:
    """(N, 210) bytes to (N, 256) float32. Each half of a block has its own 64 and 32 bytes."""
    halves = blocks[:, :128].reshape(-1, 2, 64)
    low = _nibbles(halves)  # (N, 2, 128)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    turns = torch.tensor([0, 2, 4, 6], dtype=torch.uint8).view(1, 1, 4, 1)
    high = (high >> turns & 3).view(-1, 2, 128)
    levels = ((low | high << 4).to(torch.int8) - 32).view(-1, 16, 16)
    scales = _scales(blocks[:, 208:]) * blocks[:, 192:208].view(torch.int8)  # (N, 16)
    return (scales.unsqueeze(-1) * levels).view(-1, 256)
