"""The optimizer for processors without bfloat16 does what torch's own does."""

from __future__ import annotations

import pytest
import torch
from guide_muon import FloatMuon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24)])
def test_float_muon_takes_the_steps_of_torch(shape):
    torch.manual_seed(3)
    ours = torch.nn.Parameter(torch.randn(shape))
    theirs = torch.nn.Parameter(ours.detach().clone())
    began = ours.detach().clone()
    values = {"lr": 0.02, "weight_decay": 0.05, "ns_steps": 4}
    steppers = (FloatMuon([ours], **values), torch.optim.Muon(
        [theirs], adjust_lr_fn="match_rms_adamw", **values
    ))  # fmt: skip
    for _ in range(6):
        gradient = torch.randn(shape)
        ours.grad, theirs.grad = gradient, gradient.clone()
        for stepper in steppers:
            stepper.step()
    moved = (theirs - began).norm()
    assert moved > 0.1
    assert (ours - theirs).norm() < 0.02 * moved


def test_orthogonal_brings_singular_values_near_one():
    torch.manual_seed(4)
    values = torch.linalg.svdvals(orthogonal(torch.randn(20, 50), steps=5))
    assert 0.6 < values.min() <= values.max() < 1.3
