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
from lfm2chat.engine.quantize import BLOCK_COLUMNS, PANEL_ROWS, Precision, packed_bytes
from lfm2chat.engine.weights import without_memory
from lfm2chat.spec.config import Lfm2Config

SPREAD = 0.02
"""Standard deviation of the weights, about that of trained ones: logits stay finite."""

PATTERN_BLOCKS = 251
PATTERN_NUMBERS = 1_048_573
"""What is drawn; primes, so that no two panels or rows of a matrix are the same."""

STANDARD_LEVEL = {8: 73.0, 4: 4.6}
"""Standard deviation of a level whose bits are random."""


def random_packed(config: Lfm2Config, precision: Precision) -> PackedModel:
    """A packed model of ``config`` with random levels and one scale for all.

    Raises:
        NotEnoughMemoryError: It would not fit into the memory that is free.
    """
    total = buffer_bytes(config, precision)
    check_bytes(total, what=precision.value)
    packed = PackedModel(config, precision, allocate(total))
    patterns = {bits: _blocks(bits) for bits in (precision.bits, 8)}
    for section, at in places(config, precision):
        place = packed.buffer[at : at + section.nbytes]
        if section.bits == 32:
            place.view(torch.float32).fill_(1.0)
        else:
            _repeat(patterns[section.bits], place)
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


def _blocks(bits: int) -> Tensor:
    """Some packed blocks, flat: random levels, and the same scale for each group."""
    size = packed_bytes(PANEL_ROWS, BLOCK_COLUMNS, bits)
    cells = PANEL_ROWS * BLOCK_COLUMNS * bits // 8
    generator = torch.Generator().manual_seed(0)
    # No level below -127: packing never gives one.
    blocks = torch.randint(1, 256, (PATTERN_BLOCKS, size), dtype=torch.uint8, generator=generator)
    blocks.view(torch.bfloat16)[:, cells // 2 :] = SPREAD / STANDARD_LEVEL[bits]
    return blocks.view(-1)


def _repeat(pattern: Tensor, place: Tensor) -> None:
    """Write ``pattern`` into all of ``place``, flat, again and again."""
    for start in range(0, place.numel(), pattern.numel()):
        piece = place[start : start + pattern.numel()]
        piece.copy_(pattern[: piece.numel()])
