"""The best scales of packed weights by the native kernels: packing takes a tenth of torch's time.

In: groups of numbers. Out: their scales, as :func:`lfm2chat.engine.quantize.best_scales` gives
them. Sums are made in another order, so of two scales whose errors agree to seven digits it may be
the other one. Any thread may call; the call lets go of the interpreter.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from lfm2chat.engine.backends.native_library import (
    Groups,
    KernelSet,
    library,
    usable_kernels,
)
from lfm2chat.engine.quantize import ScaleFinder, best_scales, scale_factors


def scale_finder(kernels: KernelSet | None = None) -> ScaleFinder:
    """What finds the scales here: ``kernels``, the first that are usable, or torch without any."""
    chosen = kernels or next(iter(usable_kernels()), None)
    if chosen is None:
        return best_scales
    kind = chosen.kind

    def find(groups: Tensor, bits: int, bases: Tensor | None) -> Tensor:
        native = library()
        assert native is not None
        numbers = groups.contiguous()
        rows, groups_of_a_row, group = numbers.shape
        kept = None if bases is None else bases.contiguous()
        factors = torch.tensor(scale_factors(bits), dtype=torch.float32)
        found = torch.empty(rows, groups_of_a_row, 1)
        described = Groups(
            numbers.data_ptr(),
            None if kept is None else kept.data_ptr(),
            rows * groups_of_a_row,
            groups_of_a_row,
            group,
            bits,
        )
        answer = native.lfm2_best_scales(
            *(ctypes.byref(described), factors.data_ptr(), len(factors), found.data_ptr(), kind)
        )
        assert answer == 0, "the kernels that were usable are not"
        return found

    return find
