"""The figures of `lfm2chat verify`: what is measured, and how much it may be.

In: the sequences of tokens that both engines read, with the logits of `transformers` in files.
Out: one :class:`Figure` for each line of the report. Another precision is another call of
:func:`low_figures`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lfm2chat.checks.verify_reading import WAYS, Reading, batched, distance, draw_places
from lfm2chat.engine import HybridCache, Lfm2ForCausalLM

FLOAT32_PROMISE = 1e-4
"""Of the largest logit: what differently ordered sums of float32 may cost."""
LOW_PROMISE, LOW_FACTOR = 2e-2, 1.2
"""A low precision may be as far from the float32 truth as this, or as `transformers` times that."""
KL_PROMISE, KL_FACTOR = 1e-2, 1.5
"""The same for the mean KL divergence from the truth, in nats."""
PLACES = 3
"""Lengths that each cache goes back to."""
SHORT = 256
"""Tokens: only shorter sequences are read side by side, since all their logits are in memory."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    ``value`` is what was measured, ``theirs`` the same of `transformers` where it has one,
    ``promise`` the most that ``value`` may be: None for a line that only informs. ``text`` says
    it in words where a number does not.
    """

    check: str
    precision: str
    kept: bool
    value: float | None = None
    theirs: float | None = None
    promise: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sequences:
    """What both read: the first ``prompt_tokens`` of each of ``ids`` are a prompt, the rest is
    what `transformers` wrote greedily. ``logits`` holds its logits, a folder for each precision.
    """

    model: Path
    device: torch.device
    prompt_tokens: tuple[int, ...]
    ids: list[list[int]]
    logits: Path

    def theirs(self, number: int, precision: str) -> Tensor:
        """(T, V) in float32: the logits of `transformers` for sequence ``number``."""
        path = self.logits / precision / f"{number}.safetensors"
        return load_file(path)["logits"].float()

    def load(self, dtype: str) -> Lfm2ForCausalLM:
        """Our engine's model, in ``dtype``."""
        return Lfm2ForCausalLM.from_pretrained(self.model, dtype=dtype, device=self.device)

    def readings(
        self, model: Lfm2ForCausalLM, *, longest: int | None = None, quantized: bool = False
    ) -> Iterator[tuple[int, Reading]]:
        """Each sequence with its number and the float32 truth, one in memory at a time."""
        for number, sequence in enumerate(self.ids):
            if longest is None or len(sequence) <= longest:
                ids = torch.tensor([sequence], device=self.device)
                places = draw_places(len(sequence), PLACES, seed=number)
                truth = self.theirs(number, "float32")
                yield number, Reading(model, ids, truth, places, quantized)


def float32_figures(sequences: Sequences) -> Iterator[Figure]:
    """Every way of reading, and the greedy tokens, against `transformers` in float32."""
    model = sequences.load("float32")
    for way, value in _ways(sequences, model).items():
        kept = value <= FLOAT32_PROMISE
        yield Figure(f"logits, {way}", "float32", kept, value, promise=FLOAT32_PROMISE)
    yield _greedy(sequences, model)


def low_figures(sequences: Sequences, precision: str) -> Iterator[Figure]:
    """``precision`` against the float32 truth, beside `transformers` in the same precision."""
    model = sequences.load(precision)
    theirs = _Totals()
    ours = _Totals()
    eight = _Totals()
    for number, reading in sequences.readings(model):
        theirs.add(sequences.theirs(number, precision), reading)
        ours.add(model.all_logits(reading.ids, reading.cache())[0].cpu(), reading)
    promise = max(LOW_PROMISE, LOW_FACTOR * theirs.distance)
    for way, value in _ways(sequences, model).items():
        yield Figure(f"logits, {way}", precision, value <= promise, value, theirs.distance, promise)
    promise = max(KL_PROMISE, KL_FACTOR * theirs.kl_mean)
    kept = ours.kl_mean <= promise
    yield Figure("KL, mean", precision, kept, ours.kl_mean, theirs.kl_mean, promise)
    yield Figure("KL, worst", precision, True, ours.kl_worst, theirs.kl_worst)
    yield Figure(
        "same first choice", precision, True, text=f"{ours.choices} (theirs {theirs.same})"
    )
    for _, reading in sequences.readings(model, quantized=True):
        eight.add(model.all_logits(reading.ids, reading.cache())[0].cpu(), reading)
    precision = "8-bit cache"
    yield Figure("KL, mean", precision, eight.kl_mean <= promise, eight.kl_mean, None, promise)
    yield Figure("same first choice", precision, True, text=eight.choices)


class _Totals:
    """How far logits are from the truth, over several sequences."""

    def __init__(self) -> None:
        self.distance = 0.0
        self.kl_worst = 0.0
        self.same = 0
        self._kl_sum = 0.0
        self._tokens = 0

    def add(self, logits: Tensor, reading: Reading) -> None:
        """Count ``logits`` (T, V) of the whole of ``reading``."""
        truth = reading.truth
        self.distance = max(self.distance, distance(logits, truth, scale=reading.scale))
        true, other = truth.log_softmax(-1), logits.float().log_softmax(-1)
        kl = (true.exp() * (true - other)).sum(-1).clamp_min(0.0)  # (T,)
        self._kl_sum += float(kl.sum())
        self.kl_worst = max(self.kl_worst, float(kl.max()))
        self.same += int((truth.argmax(-1) == logits.argmax(-1)).sum())
        self._tokens += truth.shape[0]

    @property
    def kl_mean(self) -> float:
        """KL(truth || logits) in nats, the mean over all tokens."""
        return self._kl_sum / self._tokens

    @property
    def choices(self) -> str:
        """How often the likeliest token is the true one."""
        return f"{self.same} of {self._tokens}"


def _ways(sequences: Sequences, model: Lfm2ForCausalLM) -> dict[str, float]:
    """The worst figure of each way of reading, over all sequences."""
    worst = dict.fromkeys(WAYS, 0.0)
    for _, reading in sequences.readings(model):
        for name, way in WAYS.items():
            worst[name] = max(worst[name], way(reading))
    together = [reading for _, reading in sequences.readings(model, longest=SHORT)]
    return worst | {"in a batch": batched(together)} if together else worst


def _greedy(sequences: Sequences, model: Lfm2ForCausalLM) -> Figure:
    """Our choice before each token that `transformers` chose; ties are told.

    Another choice is a tie where the truth's logits of both are nearer than the promise.
    """
    same = ties = total = 0
    worst = 0.0
    for number, reading in sequences.readings(model):
        first = sequences.prompt_tokens[number] - 1
        cache = HybridCache(model.config, dtype=model.dtype, device=model.device)
        model.all_logits(reading.ids[:, :first], cache) if first else None
        for place in range(first, reading.tokens - 1):
            logits = model.next_logits(reading.ids[:, place : place + 1], cache)[0].cpu()
            choice, expected = int(logits.argmax()), int(reading.ids[0, place + 1])
            total += 1
            same += choice == expected
            if choice != expected:
                truth = reading.truth[place]
                margin = float(truth[expected] - truth[choice]) / reading.scale
                ties += margin <= FLOAT32_PROMISE
                worst = max(worst, margin)
    text = f"{same} of {total} equal"
    if same < total:
        text += f", {ties} of the others ties; at most {worst:.1e} behind"
    return Figure("greedy tokens", "float32", same + ties == total, text=text)
