"""The rates of this machine: measured on small models of made-up weights.

In: a precision, a number of threads. Out: :class:`lfm2chat.spec.rates.Rates`, from which the
speed of every model is foretold. The models have the widths of real ones and more weights than a
processor's cache holds. Two widths tell apart what grows with the weights and
what does not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch

from lfm2chat.engine.decoding import LanguageModel
from lfm2chat.engine.device import DTYPES
from lfm2chat.engine.kernels import run_packed
from lfm2chat.engine.measure import Stopwatch
from lfm2chat.engine.quantize import BLOCK_COLUMNS, PANEL_ROWS, Precision, block_bytes
from lfm2chat.engine.random_weights import random_packed, random_plain
from lfm2chat.engine.trial import fastest_kernels
from lfm2chat.spec.config import ATTENTION, CONV, Lfm2Config
from lfm2chat.spec.rates import Rates, layer_weights, widths

READ_TOKENS = 256
"""One chunk: what a second one costs more is a few parts in a hundred at these lengths."""

STEPS = 16
PAST = 64
WARM_UP_TOKENS = 32


KINDS = (CONV, CONV, ATTENTION, CONV, CONV, ATTENTION, CONV, ATTENTION)
"""About the share of layers with attention that real models have; from the start again."""

VOCABULARY = 4096
"""Tokens for each layer."""

FEWEST_LAYERS = 3
"""One of them with attention."""

MODEL_BYTES = 400e6
"""Of weights in each small model: more than a few threads find in a cache (260 MB on a server of
2023), where decoding would be measured a fifth too fast.
"""


def cut_down_models(weight_bytes: float) -> tuple[Lfm2Config, Lfm2Config]:
    """The widths of the 350M and of the 1.2B, with as many layers as make :data:`MODEL_BYTES`.

    ``weight_bytes`` is what a weight of a layer takes. The vocabulary grows with the layers: so the
    head is as large a part of the weights as it is there.
    """
    return (_cut(1024, 16, 4608, weight_bytes), _cut(2048, 32, 8192, weight_bytes))


class RateTrial:
    """Two cut-down models in memory, measured round by round.

    Args:
        precision: ``int8`` and ``int4`` where there are native kernels, or a dtype's name.
        threads: For the native kernels; torch has those that it was given.
        models: Others than :func:`cut_down_models`, of two different shapes.

    Raises:
        NotEnoughMemoryError: They do not fit into the memory that is free (about 1 GB; 1.5 in
            float32).
    """

    def __init__(
        self, precision: str, *, threads: int, models: Sequence[Lfm2Config] | None = None
    ) -> None:
        self.precision = precision
        weight_bytes, _ = _weight_bytes(precision)
        self._configs = tuple(models or cut_down_models(weight_bytes))
        self._clocks = [
            Stopwatch(_random_model(config, precision, threads)) for config in self._configs
        ]
        self._prefill: list[list[float]] = [[] for _ in self._configs]
        self._decode: list[list[float]] = [[] for _ in self._configs]
        for clock in self._clocks:
            clock.first_token_s(WARM_UP_TOKENS)

    @property
    def nbytes(self) -> int:
        """Memory that the weights of both take."""
        return round(sum(self._rates().foretell(config).memory_bytes for config in self._configs))

    def round(self) -> None:
        """Measure everything once more."""
        for number, clock in enumerate(self._clocks):
            self._prefill[number].append(clock.prefill_s(READ_TOKENS) / READ_TOKENS)
            self._decode[number].append(clock.decode_s(STEPS, past=PAST) / STEPS)

    def rates(self, *, base_bytes: int, latest: int = 0) -> Rates:
        """What the medians of the ``latest`` rounds say, 0 being all of them.

        ``base_bytes`` is what the process takes beside the weights.
        """
        unit = self._rates(base_bytes)
        width_s, product_s = _fit(
            [
                (widths(config), layer_weights(config), statistics.median(seconds[-latest:]))
                for config, seconds in zip(self._configs, self._prefill, strict=True)
            ]
        )
        layer_s, byte_s = _fit(
            [
                (
                    config.num_hidden_layers,
                    unit.decode_bytes(config),
                    statistics.median(seconds[-latest:]),
                )
                for config, seconds in zip(self._configs, self._decode, strict=True)
            ]
        )
        return self._rates(base_bytes, layer_s, 1 / byte_s, product_s, width_s)

    def _rates(
        self,
        base_bytes: int = 0,
        layer_s: float = 0.0,
        bytes_per_s: float = 1.0,
        product_s: float = 1.0,
        width_s: float = 0.0,
    ) -> Rates:
        layer, head = _weight_bytes(self.precision)
        return Rates(layer_s, bytes_per_s, product_s, width_s, layer, head, base_bytes)


def _cut(hidden: int, heads: int, ff: int, weight_bytes: float) -> Lfm2Config:
    def config(layers: int) -> Lfm2Config:
        return Lfm2Config(
            vocab_size=VOCABULARY * layers,
            hidden_size=hidden,
            intermediate_size=ff,
            block_auto_adjust_ff_dim=False,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=8,
            layer_types=[KINDS[number % len(KINDS)] for number in range(layers)],
        )

    eight = config(len(KINDS)).num_parameters * weight_bytes
    return config(max(FEWEST_LAYERS, math.ceil(MODEL_BYTES / eight * len(KINDS))))


def _random_model(config: Lfm2Config, precision: str, threads: int) -> LanguageModel:
    if precision in DTYPES:
        return random_plain(config, DTYPES[precision], torch.device("cpu"))
    packed = random_packed(config, Precision(precision))
    # As a real one, which has tried them for its own shapes.
    return run_packed(packed, threads=threads, kernels=fastest_kernels(packed, threads=threads))


def _weight_bytes(precision: str) -> tuple[float, float]:
    """What a weight of a layer takes, and one of the head."""
    packed = {one.value: one for one in Precision}.get(precision)
    if packed is None:
        return (float(DTYPES[precision].itemsize),) * 2
    return _bytes_per_weight(packed.bits), _bytes_per_weight(packed.head_bits)


def _bytes_per_weight(bits: int) -> float:
    return block_bytes(bits) / (PANEL_ROWS * BLOCK_COLUMNS)


def _fit(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """``x`` and ``y`` with ``a * x + b * y = t`` for two rows ``(a, b, t)``.

    Where noise makes one of them negative, ``x`` is 0 and ``y`` the mean of what the rows say.
    """
    (a1, b1, t1), (a2, b2, t2) = rows
    scale = a1 * b2 - a2 * b1
    if scale:
        x, y = (t1 * b2 - t2 * b1) / scale, (a1 * t2 - a2 * t1) / scale
        if x >= 0 and y > 0:
            return x, y
    return 0.0, (t1 / b1 + t2 / b2) / 2
