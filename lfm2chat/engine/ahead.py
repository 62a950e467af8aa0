"""How far ahead weights are best read on this machine: found by decoding a few tokens each way.

In: a packed model and the kernels that run it. Out: an :class:`Ahead` for each number of bits.
Alone, and over one large matrix, each way reaches other speeds than among the many small ones of a
model, so whole steps are timed: a dozen, half a second for the 1.2B.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from lfm2chat.engine.backends.native import NativeModel
from lfm2chat.engine.backends.native_library import Ahead, KernelSet
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.packed import PackedModel

TRIES = 4
WORTH = 1.02
"""What is common is kept unless another way is so much faster."""


def fastest_ahead(
    packed: PackedModel, kernels: KernelSet, *, threads: int
) -> tuple[tuple[int, Ahead], ...]:
    """The fastest way for each number of bits, in the order of ``kernels.ahead``."""
    chosen = dict(kernels.ahead)
    matrices = (packed.matrix("0.out"), packed.head)
    # Those of the layers first: most of the weights are there.
    for bits in dict.fromkeys(matrix.bits for matrix in matrices):
        ways = {way: {**chosen, bits: way} for way in Ahead}
        runners = {
            way: _Runner(packed, replace(kernels, ahead=tuple(ahead.items())), threads)
            for way, ahead in ways.items()
        }
        for _ in range(TRIES):
            for runner in runners.values():
                runner.step()
        best = min(ways, key=lambda way: runners[way].best_s)
        if WORTH * runners[best].best_s < runners[chosen[bits]].best_s:
            chosen[bits] = best
        for runner in runners.values():
            runner.close()
    return tuple(chosen.items())


class _Runner:
    """One model that reads weights in one way, and its quickest step so far, in seconds."""

    def __init__(self, packed: PackedModel, kernels: KernelSet, threads: int) -> None:
        self._model = NativeModel(packed, threads=threads, kernels=kernels)
        self._cache = HybridCache(packed.config, dtype=torch.bfloat16, capacity=64)
        self._token = torch.zeros(1, 1, dtype=torch.long)
        self.best_s = float("inf")

    def step(self) -> None:
        started = time.perf_counter()
        self._model.next_logits(self._token, self._cache)
        self.best_s = min(self.best_s, time.perf_counter() - started)

    def close(self) -> None:
        self._model.close()
