"""How fast is a GPU of CUDA: the recorded decode step beside the plain model and transformers?

    python benchmarks/gpu.py [--models 350M 1.2B] [--past 0 512 8192] [--rounds 5] [--steps 64]

Random weights in bf16, the same tensors for all three. Each decodes in turn on top of as many
tokens, again and again, and the median is taken: tokens a second, the share of the bandwidth that
copying within the device's memory reaches (weights and cache read once a token), and ratios.
Beside that the time to record a step, to draw a token, and to read 512 and 4096 tokens. Then, in
float32 on 350M, how far the recorded step's logits lie from those of transformers, in units of the
largest. Prints tables and, last, one JSON line; without such a GPU it says so and ends with 2.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from parity import SIZES, configuration, oracle
from transformers import Lfm2ForCausalLM as OracleModel
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import HybridCache, LanguageModel, Sampler, run_plain
from lfm2chat.engine.random_weights import random_plain
from lfm2chat.spec import SamplingParams

GPU = torch.device("cuda")
PROMPTS = (512, 4096)
WARM_UP = 3
DRAWS = {
    "greedy": SamplingParams(seed=0, temperature=0.0),
    "recommended": SamplingParams(seed=0, temperature=0.3, min_p=0.15, repetition_penalty=1.05),
}
CACHE = (
    "cache" if "cache" in inspect.signature(OracleModel.forward).parameters else "past_key_values"
)
"""What transformers calls its cache: another name in later versions."""

Step = Callable[[torch.Tensor], torch.Tensor]


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """What ``work`` takes, done so many times, until the device has finished."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def copied_bytes_per_s() -> float:
    """Bytes that the device reads and writes in a second: the best of some copies."""
    source = torch.ones(2**30, dtype=torch.uint8, device=GPU)
    target = torch.empty_like(source)
    return 2 * source.numel() / min(seconds(lambda: target.copy_(source)) for _ in range(8))


def random_ids(count: int) -> torch.Tensor:
    """(1, ``count``) ids, the same each time."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(500, 60_000, (1, count), generator=generator).to(GPU)


def ours(model: LanguageModel) -> Callable[[], Step]:
    """Makes an empty cache, and gives what reads ids on top of it."""

    def begin() -> Step:
        cache = HybridCache(model.config, dtype=model.dtype, device=GPU)
        return lambda ids: model.next_logits(ids, cache)

    return begin


def theirs(model: OracleModel) -> Callable[[], Step]:
    """The same for transformers."""

    def begin() -> Step:
        cache = DynamicCache(config=model.config)

        def step(ids: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                outputs = model(ids, **{CACHE: cache}, logits_to_keep=1)
            return outputs.logits[:, -1].float()

        return step

    return begin


def decode_s(begin: Callable[[], Step], past: int, steps: int) -> float:
    """Seconds a token, on top of ``past``; each step waits for its logits, as drawing does."""
    step = begin()
    if past:
        step(random_ids(past))
    ids = random_ids(steps + WARM_UP)
    for at in range(WARM_UP):
        step(ids[:, at : at + 1])
    return seconds(
        lambda: [int(step(ids[:, at : at + 1]).argmax()) for at in range(WARM_UP, steps)]
    ) / (steps - WARM_UP)


def measure(name: str, pasts: list[int], *, rounds: int, steps: int, bandwidth: float) -> dict:
    """The figures of one configuration in bf16."""
    plain = random_plain(configuration(name), torch.bfloat16, GPU)
    recorded, peer = run_plain(plain), oracle(plain).to(GPU)
    ways = {"recorded": ours(recorded), "plain": ours(plain), "transformers": theirs(peer)}
    weights = sum(weight.nbytes for weight in plain.parameters())
    found: dict = {"decode": {}, "prefill": {}}
    for past in pasts:
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(rounds + 1):
            for way, begin in ways.items():
                spent = decode_s(begin, past, steps)
                if turn:
                    taken[way].append(spent)
        middle = {way: statistics.median(times) for way, times in taken.items()}
        cache = past * 2 * 6 * 8 * 64 * 2
        found["decode"][past] = {way: 1 / spent for way, spent in middle.items()} | {
            "share": (weights + cache) / middle["recorded"] / bandwidth
        }
    for tokens in PROMPTS:
        ids = random_ids(tokens)
        taken = {way: [] for way in ("plain", "transformers")}
        for turn in range(rounds + 1):
            for way in taken:
                read = ways[way]()
                spent = seconds(lambda read=read, ids=ids: read(ids))
                if turn:
                    taken[way].append(spent)
        found["prefill"][tokens] = {
            way: tokens / statistics.median(times) for way, times in taken.items()
        }
    return found | {"record_s": record_s(recorded), "draw_s": draw_s()}


def record_s(model: LanguageModel) -> float:
    """What the first step on a cache takes, where the kernels are loaded already."""
    taken = []
    for _ in range(5):
        step = ours(model)()
        step(random_ids(64))
        taken.append(seconds(lambda step=step: step(random_ids(1))))
    return statistics.median(taken)


def draw_s() -> dict[str, float]:
    """What drawing one token from (V,) logits on the device takes."""
    logits = torch.randn(65_536, device=GPU) * 3
    found = {}
    for name, params in DRAWS.items():
        sampler = Sampler(params, context_ids=range(500), vocab_size=65_536, device=GPU)
        seconds(lambda sampler=sampler: sampler.draw(logits), 10)
        found[name] = seconds(lambda sampler=sampler: sampler.draw(logits), 100) / 100
    return found


def parity() -> dict[str, float]:
    """In float32 on 350M: the recorded step and the plain model beside transformers."""
    plain = random_plain(configuration("350M"), torch.float32, GPU)
    recorded, peer = run_plain(plain), oracle(plain).to(GPU)
    ids = random_ids(600)
    with torch.inference_mode():
        wanted = peer(ids).logits[0]
    scale = float(wanted.abs().max())
    cache = HybridCache(plain.config, dtype=plain.dtype, device=GPU)
    logits = [plain.all_logits(ids[:, :500], cache)[0]]
    logits += [recorded.next_logits(ids[:, at : at + 1], cache) for at in range(500, 600)]
    steps = torch.cat(logits[1:])
    return {
        "plain": float((logits[0] - wanted[:500]).abs().max()) / scale,
        "recorded": float((steps - wanted[500:]).abs().max()) / scale,
        "same choice": float((steps.argmax(-1) == wanted[500:].argmax(-1)).float().mean()),
    }


def show(name: str, found: dict) -> None:
    """The tables of one configuration."""
    print(f"\n{name}, bf16      recorded     plain  transformers  /plain  /transformers  of memory")
    for past, rates in found["decode"].items():
        print(
            f"decode, {past:5} past {rates['recorded']:8.1f}  {rates['plain']:8.1f}"
            f"  {rates['transformers']:12.1f}  {rates['recorded'] / rates['plain']:6.2f}"
            f"  {rates['recorded'] / rates['transformers']:13.2f}  {rates['share']:9.0%}"
        )
    for tokens, rates in found["prefill"].items():
        print(
            f"prefill, {tokens:5} {'':12} {rates['plain']:8.0f}  {rates['transformers']:12.0f}"
            f"  {'':6}  {rates['plain'] / rates['transformers']:13.2f}"
        )
    draws = ", ".join(f"{way} {spent * 1e6:.0f} us" for way, spent in found["draw_s"].items())
    print(f"recording a step {found['record_s'] * 1e3:.1f} ms; drawing a token: {draws}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", choices=sorted(SIZES), default=["350M", "1.2B"])
    parser.add_argument("--past", nargs="+", type=int, default=[0, 512, 8192])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=64)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU of CUDA here", file=sys.stderr)
        return 2
    device = torch.cuda.get_device_name()
    bandwidth = copied_bytes_per_s()
    print(f"{device}, torch {torch.__version__}: copies {bandwidth / 1e9:.0f} GB/s")
    results: dict = {"device": device, "bytes_per_s": bandwidth}
    for name in options.models:
        results[name] = measure(
            name, options.past, rounds=options.rounds, steps=options.steps, bandwidth=bandwidth
        )
        show(name, results[name])
        torch.cuda.empty_cache()
    results["float32"] = parity()
    print("\nfloat32, 350M, off transformers: " + json.dumps(results["float32"]))
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
