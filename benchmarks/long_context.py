"""How much of its speed does decoding keep, when the conversation is long?

    python benchmarks/long_context.py [--model 1.2B] [--precision int8 int4] [--past 64 8192]
                                      [--rounds 9] [--steps 8]

Random weights in the published size, packed. One cache for each number of tokens in ``--past``,
all of one model; each writes ``--steps`` tokens by turns, so a neighbour's noise meets all alike.
Printed are tokens per second, and medians of each round's ratio to the shortest past; beside them
the most that the memory allows: keys and values are read with each token as the weights are. The
last line is one JSON object; ends with 1 where less than 80 % of the speed is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from peer_processes import random_ids

from lfm2chat.engine import HybridCache, Precision, run_packed, set_threads
from lfm2chat.engine.random_weights import random_packed
from lfm2chat.engine.trial import fastest_kernels
from lfm2chat.spec.installation import processor_name
from lfm2chat.spec.sizes import published_config, size_names

KEPT = 0.80
CHUNK = 256


def filled_cache(model: Any, past: int, room: int) -> HybridCache:
    """A cache that holds ``past`` tokens and has room for ``room`` more."""
    cache = HybridCache(model.config, dtype=model.dtype, capacity=past + room)
    ids = random_ids(past, model.config.vocab_size)
    for start in range(0, past, CHUNK):
        model.next_logits(torch.tensor([ids[start : start + CHUNK]]), cache)
    return cache


def step_seconds(model: Any, cache: HybridCache, steps: int) -> float:
    """What a token takes: the median of ``steps``."""
    taken = []
    for token in range(steps):
        started = time.perf_counter()
        model.next_logits(torch.tensor([[token]]), cache)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def cache_bytes(model: Any, tokens: int) -> int:
    """Keys and values of ``tokens``, in bf16."""
    config = model.config
    layers = sum(kind == "full_attention" for kind in config.layer_types)
    width = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    return layers * tokens * width * 2 * 2


def measure(precision: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All lengths of one precision, printed and as values."""
    packed = random_packed(published_config(options.model), Precision(precision))
    kernels = fastest_kernels(packed, threads=options.threads)
    model = run_packed(packed, threads=options.threads, kernels=kernels)
    room = options.rounds * options.steps + 1
    caches = {past: filled_cache(model, past, room) for past in options.past}
    seconds: dict[int, list[float]] = {past: [] for past in caches}
    for _ in range(options.rounds):
        for past, cache in caches.items():
            seconds[past].append(step_seconds(model, cache, options.steps))
    shortest, weights = min(caches), packed.buffer.numel()
    print(f"\n{options.model} {precision}      tok/s    kept      rounds   memory allows")
    rows = []
    for past, own in seconds.items():
        ratios = [one / other for one, other in zip(seconds[shortest], own, strict=True)]
        kept, rate = statistics.median(ratios), 1 / statistics.median(own)
        most = (weights + cache_bytes(model, shortest)) / (weights + cache_bytes(model, past))
        line = f"  {past:6} tokens{rate:10.1f}{kept:8.0%}   {min(ratios):.2f}-{max(ratios):.2f}"
        verdict = "" if past == shortest else "kept" if kept >= KEPT else "NOT KEPT"
        print(f"{line}{most:13.0%}   {verdict}")
        rows.append({"past": past, "tok_s": rate, "kept": kept, "rounds": ratios, "most": most})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="1.2B", choices=size_names())
    parser.add_argument("--precision", nargs="+", default=["int8", "int4"])
    parser.add_argument("--past", nargs="+", type=int, default=[64, 8192])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    set_threads(1)
    print(f"{processor_name()}, {options.threads} threads")
    results = {precision: measure(precision, options) for precision in options.precision}
    print(json.dumps({"processor": processor_name(), "model": options.model, **results}))
    return 0 if all(row["kept"] >= KEPT for rows in results.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
