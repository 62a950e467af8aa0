"""Rounding weights to 8, 6 and 4 bits, and the layout that every kernel reads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.engine.quantize import group_columns, pack, packed_bytes, unpack

BITS = (8, 6, 4)


def weights(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * 0.02


def in_groups(matrix: torch.Tensor, bits: int) -> torch.Tensor:
    group = group_columns(bits)
    padded = torch.nn.functional.pad(matrix, (0, -matrix.shape[1] % group))
    return padded.view(matrix.shape[0], -1, group)


@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 300),
    bits=st.sampled_from(BITS),
    seed=st.integers(0, 9),
)
def test_no_weight_moves_further_than_its_group_allows(rows, columns, bits, seed):
    weight = weights(rows, columns, seed)
    packed = pack(weight, bits)
    assert packed.data.numel() == packed_bytes(rows, columns, bits)
    moved = in_groups((unpack(packed) - weight).abs(), bits).amax(dim=-1)
    largest = in_groups(weight.abs(), bits).amax(dim=-1)
    # Half a step, and what the scale itself was rounded by (bf16 has 8 bits); with fewer bits the
    # least squared error may clip.
    allowed = {8: 0.5 / 127 + 1 / 256, 6: 0.12, 4: 0.35}[bits] * largest
    if bits == 4:
        # A group far below the largest of its row has no scale of its own.
        allowed = allowed.clamp(min=float(weight.abs().max()) / 7 * 2**-7)
    assert (moved <= allowed).all()


@pytest.mark.parametrize("bits", BITS)
def test_packing_what_was_unpacked_changes_little_more(bits):
    once = unpack(pack(weights(64, 256), bits))
    twice = unpack(pack(once, bits))
    # A scale in one byte is within 3 %, of another share of the row's largest the second time.
    allowed = 0.04 if bits == 4 else 0.01
    assert float((once - twice).abs().max()) <= allowed * float(once.abs().max())


def test_4_bits_err_less_than_the_scale_that_clips_nothing():
    weight = weights(256, 1024)
    groups = in_groups(weight, 4)
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    scale = (largest / -8).to(torch.bfloat16).to(torch.float32)
    plain = ((groups / scale).round().clamp(-8, 7) * scale).view(weight.shape)
    own = (unpack(pack(weight, 4)) - weight).pow(2).mean()
    assert float(own) < 0.93 * float((plain - weight).pow(2).mean())


@pytest.mark.parametrize("bits", [6, 4])
def test_a_column_of_huge_weights_costs_the_others_nothing(bits):
    weight = weights(128, 2048)
    others = slice(128, None)
    before = (unpack(pack(weight, bits)) - weight)[:, others].pow(2).mean()
    weight[:, 5] *= 30
    after = (unpack(pack(weight, bits)) - weight)[:, others].pow(2).mean()
    assert float(after) < 1.02 * float(before)


@pytest.mark.parametrize("bits", BITS)
def test_zeros_and_one_huge_weight_are_kept(bits):
    weight = torch.zeros(3, 128)
    weight[1, 5] = -1e4
    back = unpack(pack(weight, bits))
    assert float(back[1, 5]) == pytest.approx(-1e4, rel=0.01)
    back[1, 5] = 0
    assert not back.any()


@pytest.mark.parametrize("bits", BITS)
def test_weights_in_bf16_are_packed_as_their_numbers_in_float32(bits):
    weight = weights(40, 200).to(torch.bfloat16)
    assert torch.equal(pack(weight, bits).data, pack(weight.to(torch.float32), bits).data)
