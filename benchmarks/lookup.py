"""What do guesses from the context save, and what do they cost where none comes true?

    python benchmarks/lookup.py [--model 1.2B] [--precision int8 int4] [--tokens 192] [--rounds 3]

Real passes of a model with random weights (of a real size), scripted acceptance: the answer is
known from a run without guesses, and each guess is right with a given chance, whatever the model.
Greedy, from a short context; an answer with guesses and one without are written by turns, token by
token, and the medians of their ratios are printed, with the break-even: the least acceptance at
which guessing is worth it, from what passes of each size took. Texts are compared: they must be
the same token by token. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch

from lfm2chat.engine import HybridCache, PassCosts, Precision, decode, run_packed, set_threads
from lfm2chat.engine.random_weights import random_packed
from lfm2chat.engine.speculate import LENGTHS
from lfm2chat.engine.trial import fastest_kernels
from lfm2chat.spec import SamplingParams
from lfm2chat.spec.installation import processor_name
from lfm2chat.spec.sizes import published_config, size_names

CONTEXT = list(range(100, 164))
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
AT_LEAST = {0.0: 0.97, 0.6: 1.5}


class Scripted:
    """Guesses of the tokens that will follow, each right with the chance ``share``."""

    def __init__(self, truth: Sequence[int], share: float, *, seed: int) -> None:
        self._truth, self._share = truth, share
        self._random = random.Random(seed)
        self._at = 0

    def add(self, token: int) -> None:
        """Count it: the truth is known."""
        assert token == self._truth[self._at]
        self._at += 1

    def guesses(self, most: int) -> list[int]:
        """The next tokens, some of them wrong."""
        coming = self._truth[self._at : self._at + most]
        return [one if self._random.random() < self._share else one + 1 for one in coming]


@dataclass
class Answer:
    """One answer of ``tokens`` ids, written a token at a time, and the seconds that it took."""

    model: Any
    tokens: int
    costs: PassCosts = field(default_factory=PassCosts)
    drafts: Scripted | None = None
    ids: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def written(self) -> Iterator[None]:
        """Write it: one token each time; the first, which follows the reading, is not timed."""
        cache = HybridCache(self.model.config, dtype=self.model.dtype, capacity=1024)
        logits = self.model.next_logits(torch.tensor([CONTEXT]), cache)[0]
        params = SamplingParams(
            temperature=0.0,
            min_p=0.0,
            repetition_penalty=1.05,
            max_new_tokens=self.tokens,
            seed=1,
        )
        coming = decode(
            self.model,
            logits,
            cache,
            params,
            context_ids=CONTEXT,
            eos_token_ids=frozenset(),
            drafts=self.drafts,
            costs=self.costs,
        )
        self.ids.append(next(coming).id)
        started = time.perf_counter()
        for token in coming:
            self.seconds += time.perf_counter() - started
            self.ids.append(token.id)
            yield
            started = time.perf_counter()


def write(*answers: Answer) -> None:
    """Write them by turns, a token of each: what other programs take, they take from all."""
    for _ in zip(*(answer.written() for answer in answers), strict=True):
        pass


def note_costs(model: Any, ids: Sequence[int], costs: PassCosts) -> None:
    """What passes of each size cost, before anything is timed: by turns."""
    cache = HybridCache(model.config, dtype=model.dtype, capacity=256)
    model.next_logits(torch.tensor([CONTEXT]), cache)
    for _ in range(8):
        for rows in (1, *(length + 1 for length in LENGTHS)):
            started = time.perf_counter()
            cache.hold()
            model.all_logits(torch.tensor([ids[:rows]]), cache)
            cache.keep(1)
            costs.note(rows, time.perf_counter() - started)


def break_even(costs: PassCosts) -> float:
    """The least share of guesses that must come true for the best length to be worth it."""
    for percent in range(101):
        share = percent / 100
        if any(
            sum(share**place for place in range(length + 1)) >= costs.ratio(length + 1)
            for length in LENGTHS
        ):
            return share
    return 1.0


def measure(precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """All shares of one precision, printed and as values."""
    packed = random_packed(published_config(options.model), Precision(precision))
    kernels = fastest_kernels(packed, threads=options.threads)
    model = run_packed(packed, threads=options.threads, kernels=kernels)
    first = Answer(model, options.tokens)
    write(first)
    truth, costs = first.ids, PassCosts()
    note_costs(model, truth, costs)
    measured = deepcopy(costs)
    ratios: dict[float, list[float]] = {share: [] for share in SHARES}
    for number in range(options.rounds):
        for share in SHARES:
            plain = Answer(model, options.tokens)
            drafts = Scripted(truth, share, seed=number)
            guessed = Answer(model, options.tokens, costs, drafts)
            write(plain, guessed)
            assert plain.ids == guessed.ids == truth, "guesses changed the text"
            ratios[share].append(plain.seconds / guessed.seconds)
    return report(precision, options.model, ratios, measured)


def report(
    precision: str, model: str, ratios: dict[float, list[float]], costs: PassCosts
) -> dict[str, Any]:
    """Print the table."""
    sizes = ", ".join(f"{length + 1} tokens {costs.ratio(length + 1):.2f}" for length in LENGTHS)
    print(f"\n{model} {precision}: a pass over one token costs 1, over {sizes}")
    for share, values in ratios.items():
        ratio, least = statistics.median(values), AT_LEAST.get(share)
        verdict = "" if least is None else "kept" if ratio >= least else "NOT KEPT"
        promise = "" if least is None else f"(at least {least}) "
        print(f"  {share:4.0%} of the guesses come true: {ratio:5.2f} x  {promise}{verdict}")
    even = break_even(costs)
    print(f"  break-even: {even:.0%}; the texts are the same")
    return {
        "ratios": {str(share): statistics.median(values) for share, values in ratios.items()},
        "costs": {str(length + 1): costs.ratio(length + 1) for length in LENGTHS},
        "break_even": even,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="1.2B", choices=size_names())
    parser.add_argument("--precision", nargs="+", default=["int8", "int4"])
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    set_threads(1)
    print(f"{processor_name()}, {options.threads} threads")
    results = {precision: measure(precision, options) for precision in options.precision}
    print(json.dumps({"processor": processor_name(), "model": options.model, **results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
