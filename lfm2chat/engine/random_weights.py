"""Models of made-up numbers, for measuring: as fast as real ones, and there in a moment.

In: a configuration and a precision. Out: a packed or a plain model. How fast a model runs depends
on its shapes alone, so nothing is drawn weight by weight and nothing is quantized: one short
pattern of random bytes or numbers is written over all of it. Packing the 1.2B in 4 bits would
take half a minute; this takes as long as writing the memory once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lfm2chat.engine.causal_lm import Lfm2ForCausalLM
from lfm2chat.engine.memory import check_bytes, check_memory
from lfm2chat.engine.packed import PackedModel, allocate, buffer_bytes, places
from lfm2chat.engine.quantize import (
    BLOCK_COLUMNS,
    PANEL_ROWS,
    Precision,
    block_bytes,
    front_bytes,
    packed_bytes,
)
from lfm2chat.engine.weights import without_memory
from lfm2chat.spec.config import Lfm2Config

SPREAD = 0.02
"""Standard deviation of the weights, about that of trained ones: logits stay finite."""

PATTERN_PANELS = 31
PATTERN_NUMBERS = 1_048_573
"""What is drawn; primes, so that what repeats does not do so with a matrix's own steps."""

STANDARD_LEVEL = {8: 73.0, 6: 18.5, 4: 4.6}
"""Standard deviation of a level whose bits are random."""

ONE = 0x70
"""A scale of one byte that stands for 1."""


def random_packed(config: Lfm2Config, precision: Precision) -> PackedModel:
    """A packed model of ``config`` with random levels and one scale for all.

    Raises:
        NotEnoughMemoryError: It would not fit into the memory that is free.
    """
    total = buffer_bytes(config, precision)
    check_bytes(total, what=precision.value)
    packed = PackedModel(config, precision, allocate(total))
    patterns: dict[tuple[int, int], Tensor] = {}
    for section, at in places(config, precision):
        place = packed.buffer[at : at + section.nbytes]
        if section.bits == 32:
            place.view(torch.float32).fill_(1.0)
        else:
            shape = (section.columns, section.bits)
            if shape not in patterns:
                patterns[shape] = _panels(*shape)
            _repeat(patterns[shape], place)
    return packed


def random_plain(config: Lfm2Config, dtype: torch.dtype, device: torch.device) -> Lfm2ForCausalLM:
    """A plain model of ``config`` with normal numbers, in ``dtype`` on ``device``.

    Raises:
        NotEnoughMemoryError: It would not fit into the memory that is free.
    """
    check_memory(config, dtype=dtype, device=device)
    with without_memory():
        model = Lfm2ForCausalLM(config)
    model = model.to(dtype).to_empty(device=device)
    model.tie_weights()
    generator = torch.Generator().manual_seed(0)
    pattern = (torch.randn(PATTERN_NUMBERS, generator=generator) * SPREAD).to(device, dtype)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.fill_(1.0)
            else:
                _repeat(pattern, weight.view(-1))
    return model.eval().requires_grad_(requires_grad=False)


def _panels(columns: int, bits: int) -> Tensor:
    """Some packed panels, flat: random levels, and the same scale for each group."""
    generator = torch.Generator().manual_seed(0)
    size = (PATTERN_PANELS, packed_bytes(PANEL_ROWS, columns, bits))
    # No level below -127: packing never gives one.
    panels = torch.randint(1, 256, size, dtype=torch.uint8, generator=generator)
    scale, front = SPREAD / STANDARD_LEVEL[bits], front_bytes(bits)
    cells = PANEL_ROWS * BLOCK_COLUMNS * bits // 8
    blocks = panels[:, front:].view(PATTERN_PANELS, -1, block_bytes(bits))
    scales = blocks[:, :, cells:]
    if bits == 4:
        panels[:, :front].view(torch.float32).fill_(scale)
        scales.fill_(ONE)
    else:
        scales.view(torch.bfloat16).fill_(scale)
    return panels.view(-1)


def _repeat(pattern: Tensor, place: Tensor) -> None:
    """Write ``pattern`` into all of ``place``, flat, again and again."""
    for start in range(0, place.numel(), pattern.numel()):
        piece = place[start : start + pattern.numel()]
        piece.copy_(pattern[: piece.numel()])
