"""Is the speed that `lfm2chat bench` foretells the speed that a model then has?

    python benchmarks/foretell.py [--models 350M 1.2B] [--precisions int8 int4] [--rounds 7]

The cut-down models that the rates are measured on and the models themselves, with random weights,
are in memory together (3.5 GB) and take turns, so a neighbour's noise meets all of them alike.
Printed are medians of what was foretold from a round's rates, of what was measured in that round,
and of their ratio, promised to be within 20 %. Memory is the peak of a process of its own. The
last line is one JSON object; ends with 1 where the promise is broken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lfm2chat.engine import Precision, set_threads
from lfm2chat.engine.kernels import run_packed
from lfm2chat.engine.measure import Stopwatch
from lfm2chat.engine.random_weights import random_packed
from lfm2chat.engine.rates import RateTrial
from lfm2chat.engine.trial import fastest_kernels
from lfm2chat.paths import Paths
from lfm2chat.runtime.bench import BenchPlan, bench_machine, bench_random
from lfm2chat.settings import Settings
from lfm2chat.spec.installation import processor_name
from lfm2chat.spec.rates import PROMPT_TOKENS
from lfm2chat.spec.sizes import published_config

PROMISE = 0.2
STEPS = 24
PAST = 64
MB = 1e6

Round = dict[str, tuple[float, float]]
"""For each figure, what was foretold from one round and what was measured in it."""


def make(size: str, precision: str, threads: int) -> Stopwatch:
    """A model of that ``size`` with random weights, run as the product runs one."""
    packed = random_packed(published_config(size), Precision(precision))
    kernels = fastest_kernels(packed, threads=threads)
    clock = Stopwatch(run_packed(packed, threads=threads, kernels=kernels))
    clock.first_token_s(32)
    return clock


def measure_memory(
    models: Sequence[str], precisions: Sequence[str], threads: int
) -> tuple[int, dict[tuple[str, str], float]]:
    """The foretold base, and the peak of each model, all in processes of their own; bytes."""
    plan = BenchPlan(tokens=PROMPT_TOKENS, steps=4, rounds=1)
    settings = Settings(threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths.under(Path(folder))
        paths.create()
        machine = bench_machine(settings, paths, precisions=precisions, rounds=1, warn=print)
        base = machine.rates[precisions[0]].base_bytes
        peaks: dict[tuple[str, str], float] = {}
        for size in models:
            for precision in precisions:
                done = bench_random(size, settings.with_precision(precision), plan, paths)
                peaks[size, precision] = float(done.peak_bytes or 0)
    return base, peaks


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["350M", "1.2B"])
    parser.add_argument("--precisions", nargs="+", default=["int8", "int4"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    threads = set_threads(options.threads)
    base, peaks = measure_memory(options.models, options.precisions, threads)
    set_threads(1)
    trials = {one: RateTrial(one, threads=threads) for one in options.precisions}
    clocks = {
        (size, precision): make(size, precision, threads)
        for size in options.models
        for precision in options.precisions
    }
    rounds: dict[tuple[str, str], list[Round]] = {name: [] for name in clocks}
    for _ in range(options.rounds):
        for precision, trial in trials.items():
            trial.round()
            rates = trial.rates(base_bytes=base, latest=1)
            for name in (name for name in clocks if name[1] == precision):
                told, clock = rates.foretell(published_config(name[0])), clocks[name]
                prefill = PROMPT_TOKENS / clock.prefill_s(PROMPT_TOKENS)
                decode = STEPS / clock.decode_s(STEPS, past=PAST)
                rounds[name].append(
                    {
                        "prefill": (told.prefill_tok_s, prefill),
                        "decode": (told.decode_tok_s, decode),
                        "memory": (told.memory_bytes / MB, peaks[name] / MB),
                    }
                )
    print(f"{processor_name()}, {threads} threads, {options.rounds} rounds")
    rows = report(rounds)
    print(json.dumps({"processor": processor_name(), "threads": threads, "rows": rows}))
    return 0 if all(row["kept"] for row in rows) else 1


def report(rounds: dict[tuple[str, str], list[Round]]) -> list[dict[str, Any]]:
    """Print the table; its rows as values too."""
    print(f"{'':26}{'foretold':>10}{'measured':>10}{'ratio':>8}")
    rows = []
    for (size, precision), own in rounds.items():
        for what, unit in (("prefill", "tok/s"), ("decode", "tok/s"), ("memory", "MB")):
            told, found = (statistics.median(one[what][side] for one in own) for side in (0, 1))
            ratio = statistics.median(one[what][0] / one[what][1] for one in own)
            kept = abs(ratio - 1) <= PROMISE
            line = f"{size:<6}{precision:<10}{what:<10}{told:10.1f}{found:10.1f}{ratio:8.2f}"
            print(f"{line}  {unit:<6}{'kept' if kept else 'NOT KEPT'}")
            name = {"model": size, "precision": precision, "what": what}
            rows.append({**name, "foretold": told, "measured": found, "ratio": ratio, "kept": kept})
    return rows


if __name__ == "__main__":
    sys.exit(main())
