"""Muon in float32, for processors that have no instructions for bfloat16.

``torch.optim.Muon`` orthogonalises in bfloat16 whatever it is given; without such instructions that
is nine tenths of a training step. The method: https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic iteration that lets small singular values grow the fastest, from the same page.
FIRST, THIRD, FIFTH = 3.4445, -4.7750, 2.0315


def orthogonal(matrix: Tensor, *, steps: int) -> Tensor:
    """Nearly the closest matrix with all singular values 1: they come out at 0.7 to 1.2."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        square = wide @ wide.T
        wide = FIRST * wide + (THIRD * square + FIFTH * square @ square) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


class FloatMuon(torch.optim.Optimizer):
    """As ``torch.optim.Muon(..., adjust_lr_fn="match_rms_adamw")``, all in float32."""

    def __init__(
        self, parameters: Iterable[Tensor], *, lr: float, weight_decay: float, ns_steps: int
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95, "steps": ns_steps}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # noqa: ARG002 - torch's own form
        """Change every parameter that has a gradient, in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, parameter.grad, group)

    def _change(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(gradient.lerp(average, group["momentum"]), steps=group["steps"])
        rate = group["lr"] * 0.2 * math.sqrt(max(parameter.shape))
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)
