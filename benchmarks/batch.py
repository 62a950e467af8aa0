"""How many tokens a second do several sequences get, when they share each pass over the weights?

    python benchmarks/batch.py [--model 350M] [--rows 1 2 4 8] [--history 256] [--steps 24]

Random weights in bf16. Every group of rows is measured in turn, again and again, and the median is
taken: tokens a second of all rows together, and beside one row's. Then four sequences of different
lengths, of which one joins late and one leaves early: their rate, beside that of writing the same
tokens one sequence after the other. Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import torch
from parity import SIZES, configuration, random_model

from lfm2chat.engine import BatchDecoder, CacheBatch, Decoding, HybridCache, Lfm2ForCausalLM
from lfm2chat.spec import SamplingParams

REPEATS = 5
LENGTHS = (64, 256, 512, 1024)
"""Tokens of history of the four sequences that join and leave."""
WRITTEN = (48, 32, 48, 16)
"""Tokens that each of them writes: the last joins when the second has written half of its."""


def make_ids(tokens: int, seed: int) -> list[int]:
    """Random token ids, none of them a control token."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(500, 60_000, (tokens,), generator=generator).tolist()


def read(model: Lfm2ForCausalLM, tokens: int, seed: int) -> tuple[HybridCache, torch.Tensor]:
    """A cache of ``tokens`` tokens with room for more, and the logits after them."""
    cache = HybridCache(model.config, dtype=model.dtype, capacity=tokens + 512)
    return cache, model.next_logits(torch.tensor([make_ids(tokens, seed)]), cache)[0]


def step_rates(
    model: Lfm2ForCausalLM, rows: list[int], *, history: int, steps: int
) -> dict[int, float]:
    """Tokens a second of all rows together, for each number of rows."""
    caches = [read(model, history, seed)[0] for seed in range(max(rows))]
    times: dict[int, list[float]] = {count: [] for count in rows}
    for repeat in range(REPEATS + 1):
        for count in rows:
            batch = CacheBatch(caches[:count])
            ids = torch.tensor(make_ids(count, seed=repeat))[:, None]
            marks = [cache.mark() for cache in caches[:count]]
            model.next_logits(ids, batch)
            started = time.perf_counter()
            for _ in range(steps):
                model.next_logits(ids, batch)
            if repeat:  # the first round warms up
                times[count].append(time.perf_counter() - started)
            for cache, mark in zip(caches, marks, strict=False):
                cache.restore(mark)
    return {count: count * steps / statistics.median(spent) for count, spent in times.items()}


def join_and_leave(model: Lfm2ForCausalLM) -> dict[str, float]:
    """Seconds of four sequences side by side, and of the same four one after the other."""

    def start(number: int) -> Decoding:
        tokens = LENGTHS[number]
        cache, logits = read(model, tokens, seed=number)
        params = SamplingParams(seed=number, max_new_tokens=WRITTEN[number])
        ids = make_ids(tokens, seed=number)
        return Decoding(model, logits, cache, params, context_ids=ids, eos_token_ids=frozenset())

    spent: dict[str, list[float]] = {"together": [], "in turn": []}
    for _ in range(REPEATS):
        decodings = [start(number) for number in range(4)]
        batch = BatchDecoder(model)
        for decoding in decodings[:3]:
            batch.join(decoding)
        started = time.perf_counter()
        steps = 0
        while len(batch):
            if steps == WRITTEN[1] // 2:
                batch.join(decodings[3])
            for _ in batch.step():
                pass
            steps += 1
        spent["together"].append(time.perf_counter() - started)
        decodings = [start(number) for number in range(4)]
        started = time.perf_counter()
        for decoding in decodings:
            single = BatchDecoder(model)
            single.join(decoding)
            while len(single):
                for _ in single.step():
                    pass
        spent["in turn"].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in spent.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, default="350M")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--history", type=int, default=256)
    parser.add_argument("--steps", type=int, default=24)
    arguments = parser.parse_args()
    model = random_model(configuration(arguments.model)).to(torch.bfloat16)
    model.tie_weights()
    rows = sorted({1, *arguments.rows})
    rates = step_rates(model, rows, history=arguments.history, steps=arguments.steps)
    print(f"{arguments.model}, {arguments.history} tokens of history, bf16")
    print(f"{'rows':>6}{'tok/s':>9}{'beside one':>12}{'tok/s each':>12}")
    for count, rate in rates.items():
        print(f"{count:6}{rate:9.1f}{rate / rates[1]:11.2f}x{rate / count:12.1f}")
    mixed = join_and_leave(model)
    tokens = sum(WRITTEN)
    print(
        f"four of {', '.join(map(str, LENGTHS))} tokens, joining and leaving:"
        f" {tokens / mixed['together']:.1f} tok/s, one after the other"
        f" {tokens / mixed['in turn']:.1f} tok/s"
    )
    threads = torch.get_num_threads()
    print(json.dumps({"rates": rates, "mixed_s": mixed, "threads": threads}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
