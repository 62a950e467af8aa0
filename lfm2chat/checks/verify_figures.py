"""The figures of `lfm2chat verify`: what is measured, and how much it may be.

In: the sequences of tokens that both engines read, with the logits of `transformers` in files.
Out: one :class:`Figure` for each line of the report. Another precision is another call of
:func:`low_figures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
CHOICE_PROMISE, CHOICE_FACTOR = 0.05, 1.5
"""The same for the share of tokens where the likeliest one is not the true one."""
EIGHT_BITS = "8-bit cache"
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
    ``progress`` is told what is read in all ways, since a large model takes minutes for each.
    """

    model: Path
    device: torch.device
    prompt_tokens: tuple[int, ...]
    ids: list[list[int]]
    logits: Path
    progress: Callable[[str], None] = lambda _: None

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
        first = sequences.prompt_tokens[number] - 1
        theirs.add(sequences.theirs(number, precision), reading, first)
        ours.add(model.all_logits(reading.ids, reading.cache())[0].cpu(), reading, first)
    promise = max(LOW_PROMISE, LOW_FACTOR * theirs.distance)
    for way, value in _ways(sequences, model).items():
        yield Figure(f"logits, {way}", precision, value <= promise, value, theirs.distance, promise)
    yield from _likelihoods(precision, ours, theirs, shown=True)
    for number, reading in sequences.readings(model, quantized=True):
        first = sequences.prompt_tokens[number] - 1
        eight.add(model.all_logits(reading.ids, reading.cache())[0].cpu(), reading, first)
    finite = math.isfinite(eight.distance)
    yield Figure("logits, whole", EIGHT_BITS, finite, eight.distance)
    # `transformers` has no such cache: its own error without one bounds ours, and is not shown.
    yield from _likelihoods(EIGHT_BITS, eight, theirs, shown=False)


def _likelihoods(
    precision: str, ours: _Totals, theirs: _Totals, *, shown: bool
) -> Iterator[Figure]:
    """How far probabilities and first choices are from the truth; ``theirs`` bounds it."""
    promise = max(KL_PROMISE, KL_FACTOR * theirs.kl_mean)
    mean, worst = (theirs.kl_mean, theirs.kl_worst) if shown else (None, None)
    yield Figure("KL, mean", precision, ours.kl_mean <= promise, ours.kl_mean, mean, promise)
    yield Figure("KL, worst", precision, math.isfinite(ours.kl_worst), ours.kl_worst, worst)
    for check, same, their_same, total in (
        ("same first choice", ours.same, theirs.same, ours.tokens),
        ("greedy tokens", ours.greedy, theirs.greedy, ours.written),
    ):
        promise = max(CHOICE_PROMISE * total, CHOICE_FACTOR * (total - their_same))
        text = f"{same} of {total}" + (f" (theirs {their_same})" if shown else "")
        yield Figure(check, precision, total - same <= promise, text=text)


class _Totals:
    """How far logits are from the truth, over several sequences.

    Of ``tokens`` the likeliest next one is the true one ``same`` times; of ``written`` tokens,
    which `transformers` chose in float32, ``greedy`` would have been chosen.
    """

    def __init__(self) -> None:
        self.distance = 0.0
        self.kl_worst = 0.0
        self.same = self.tokens = 0
        self.greedy = self.written = 0
        self._kl_sum = 0.0

    def add(self, logits: Tensor, reading: Reading, first: int) -> None:
        """Count ``logits`` (T, V) of the whole of ``reading``, written after token ``first``."""
        truth, ids = reading.truth, reading.ids[0].cpu()
        self.distance = max(self.distance, distance(logits, truth, scale=reading.scale))
        true, other = truth.log_softmax(-1), logits.float().log_softmax(-1)
        kl = (true.exp() * (true - other)).sum(-1)  # (T,)
        kl = kl.clamp_min(0.0).nan_to_num(math.inf)
        self._kl_sum += float(kl.sum())
        self.kl_worst = max(self.kl_worst, float(kl.max()))
        choices = logits.argmax(-1)
        self.same += int((choices == truth.argmax(-1)).sum())
        self.tokens += len(ids)
        self.greedy += int((choices[first:-1] == ids[first + 1 :]).sum())
        self.written += len(ids) - 1 - first

    @property
    def kl_mean(self) -> float:
        """KL(truth || logits) in nats, the mean over all tokens."""
        return self._kl_sum / self.tokens


def _ways(sequences: Sequences, model: Lfm2ForCausalLM) -> dict[str, float]:
    """The worst figure of each way of reading, over all sequences."""
    worst = dict.fromkeys(WAYS, 0.0)
    for number, reading in sequences.readings(model):
        sequences.progress(f"  {number + 1} of {len(sequences.ids)}: {reading.tokens} tokens")
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
        text = f"{same} of {total}, {ties} ties, {worst:.1e} behind"
    return Figure("greedy tokens", "float32", same + ties == total, text=text)
