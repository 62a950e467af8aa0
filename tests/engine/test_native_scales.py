"""Scales of 4 and 6 bits, found by the native kernels: those that torch finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.engine.backends.native_library import kernel_sets, usable_kernels
from lfm2chat.engine.backends.native_scales import scale_finder
from lfm2chat.engine.quantize import best_scales, pack, unpack

pytestmark = pytest.mark.skipif(not usable_kernels(), reason="no native kernels were built")

each_set = pytest.mark.parametrize("kernels", kernel_sets(), ids=lambda one: one.name)
each_bits = pytest.mark.parametrize("bits", [6, 4])


def weights(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Heavy-tailed and in bf16, so that groups have several largest numbers of either sign."""
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.randn(rows, columns, generator=draw) * 0.02
    return (numbers * (1 + numbers.abs() * 60)).to(torch.bfloat16).to(torch.float32)


@each_set
@each_bits
def test_every_set_of_kernels_packs_as_torch_does(kernels, bits):
    if not kernels.usable:
        pytest.skip("not this processor")
    weight = weights(200, 1100)
    expected, found = pack(weight, bits), pack(weight, bits, find=scale_finder(kernels))
    # Two scales whose errors agree to seven digits may be told apart otherwise.
    differing = (unpack(found) != unpack(expected)).float().mean()
    assert float(differing) <= 1e-3
    errors = [(unpack(one) - weight).pow(2).sum() for one in (found, expected)]
    assert float(errors[0]) == pytest.approx(float(errors[1]), rel=1e-5)


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40)),
    bits=st.sampled_from([6, 4]),
    size=st.sampled_from([1e-30, 1e-8, 1.0, 1e8]),
    zeros=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_any_number_of_groups_has_the_errors_that_torch_finds(shape, bits, size, zeros, seed):
    rows, groups = shape
    group = 32 if bits == 4 else 64
    numbers = weights(rows, groups * group, seed) * size
    numbers[torch.rand(rows, groups * group) < zeros] = 0
    shaped = numbers.view(rows, groups, group)
    bases = shaped.abs().amax(dim=(1, 2), keepdim=True) / 14 if bits == 4 else None
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def errors(scales: torch.Tensor) -> torch.Tensor:
        inverse = torch.where(scales == 0, 0.0, 1.0 / scales)
        back = (shaped * inverse).round().clamp(low, high) * scales
        return ((shaped - back) / size).pow(2).sum(-1)

    found = scale_finder()(shaped, bits, bases)
    assert found.shape == (rows, groups, 1)
    assert torch.allclose(errors(found), errors(best_scales(shaped, bits, bases)), rtol=1e-4)


def test_numbers_too_small_for_a_scale_have_none():
    numbers = torch.full((1, 2, 64), 1e-42)
    numbers[:, 1] = 1.0
    found = scale_finder()(numbers, 6, None)
    assert torch.isfinite(found).all()
    assert abs(float(found[0, 1])) == pytest.approx(1 / 32, rel=0.05)
