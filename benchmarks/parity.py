"""Are our logits those of transformers, on the three published configurations?

    python benchmarks/parity.py [--models 350M 700M 1.2B] [--tokens 48] [--greedy 16]

Random weights in float32, the same tensors in both models, so the largest takes 4.7 GB. Every way
of reading the same ids is compared with one pass of transformers without a cache; the figure is
the largest difference in units of the largest logit (promised: 1e-4). Prints a table and, last,
one JSON line; ends with 1 where the promise is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
import transformers
from transformers import Lfm2Config as OracleConfig
from transformers import Lfm2ForCausalLM as OracleModel

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM, prefill
from lfm2chat.spec import Lfm2Config

SIZES = {"350M": (1024, 16, 6656), "700M": (1536, 24, 10_240), "1.2B": (2048, 32, 12_288)}
ATTENTION = (2, 5, 8, 10, 12, 14)
PROMISE = 1e-4


def configuration(name: str) -> Lfm2Config:
    """The published configuration ``name``."""
    hidden, heads, width = SIZES[name]
    return Lfm2Config(
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=width,
        num_key_value_heads=8,
        num_hidden_layers=16,
        full_attn_idxs=ATTENTION,
        eos_token_id=7,
    )


def random_model(config: Lfm2Config) -> Lfm2ForCausalLM:
    """Weights from one tiled pool of normal numbers: drawing a billion takes half a minute."""
    with torch.device("meta"):
        model = Lfm2ForCausalLM(config)
    model = model.to_empty(device="cpu")
    model.tie_weights()
    pool = torch.randn(4_000_037, generator=torch.Generator().manual_seed(0)) * 0.03
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.fill_(1.0)
                continue
            flat = weight.view(-1)
            for start in range(0, flat.numel(), pool.numel()):
                piece = flat[start : start + pool.numel()]
                piece.copy_(pool[: piece.numel()])
    return model.eval().requires_grad_(False)


def oracle(model: Lfm2ForCausalLM) -> OracleModel:
    """The same tensors, not copies, in transformers."""
    values = model.config.to_dict()
    config = OracleConfig(**{k: v for k, v in values.items() if k != "rope_theta"})
    with torch.device("meta"):
        theirs = OracleModel(config)
    rotary = type(theirs.model.rotary_emb)(config)
    theirs.load_state_dict(model.state_dict(), assign=True, strict=False)
    theirs.tie_weights()
    theirs.model.rotary_emb = rotary
    return theirs.eval().requires_grad_(False)


def read(model: Lfm2ForCausalLM, ids: torch.Tensor, size: int, cache: HybridCache) -> torch.Tensor:
    """Logits (T, V) of all ids, read ``size`` at a time."""
    pieces = [model(piece, past_key_values=cache).logits[0] for piece in ids.split(size, dim=1)]
    return torch.cat(pieces)


def measure(name: str, *, tokens: int, greedy: int) -> dict[str, float | str]:
    """Every figure of one configuration."""
    model = random_model(configuration(name))
    theirs = oracle(model)
    ids = torch.randint(0, 65_536, (1, tokens), generator=torch.Generator().manual_seed(1))
    truth = theirs(ids, use_cache=False).logits[0]
    scale = float(truth.abs().max())
    half = tokens // 2

    def off(logits: torch.Tensor, expected: torch.Tensor) -> float:
        return float((logits - expected).abs().max()) / scale

    figures: dict[str, float | str] = {"model": name, "scale": scale}
    figures["whole"] = off(model(ids, use_cache=False).logits[0], truth)
    figures["chunks"] = off(read(model, ids, 13, HybridCache(model.config)), truth)
    figures["singly"] = off(read(model, ids, 1, HybridCache(model.config)), truth)
    cache = HybridCache(model.config)
    read(model, ids[:, :half], half, cache)
    mark = cache.mark()
    read(model, ids.flip(1), tokens, cache)
    twin = cache.fork(mark)
    cache.restore(mark)
    figures["restored"] = off(read(model, ids[:, half:], 9, cache), truth[half:])
    figures["forked"] = off(read(model, ids[:, half:], 9, twin), truth[half:])
    figures["greedy_equal"] = _greedy(model, theirs, ids, greedy)
    return figures


def _greedy(model: Lfm2ForCausalLM, theirs: OracleModel, ids: torch.Tensor, steps: int) -> float:
    """Share of ``steps`` greedy tokens that are the same in both."""
    generated = theirs.generate(
        ids, do_sample=False, max_new_tokens=steps, min_new_tokens=steps, pad_token_id=0
    )[0, ids.shape[1] :].tolist()
    cache, reading = HybridCache(model.config), None
    steps_of_prefill = prefill(model, ids[0].tolist(), cache)
    while reading is None:
        try:
            next(steps_of_prefill)
        except StopIteration as stop:
            reading = stop.value
    ours = []
    for _ in range(steps):
        # The oracle was told not to end: it never draws its end token.
        reading[model.config.eos_token_ids[0]] = -torch.inf
        ours.append(int(reading.argmax()))
        reading = model.next_logits(torch.tensor([[ours[-1]]]), cache)[0]
    return sum(a == b for a, b in zip(ours, generated, strict=True)) / steps


def main() -> int:
    """Measure, print, and say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--greedy", type=int, default=16)
    arguments = parser.parse_args()
    ways = ("whole", "chunks", "singly", "restored", "forked")
    print(f"float32, {arguments.tokens} tokens, difference / largest logit (promised {PROMISE})")
    print(f"{'model':6}" + "".join(f"{way:>10}" for way in ways) + f"{'greedy':>10}{'s':>7}")
    results = []
    for name in arguments.models:
        started = time.monotonic()
        figures = measure(name, tokens=arguments.tokens, greedy=arguments.greedy)
        figures["seconds"] = round(time.monotonic() - started, 1)
        results.append(figures)
        row = "".join(f"{figures[way]:10.1e}" for way in ways)
        print(f"{name:6}{row}{figures['greedy_equal']:10.0%}{figures['seconds']:7.1f}")
    worst = max(float(figures[way]) for figures in results for way in ways)
    same = all(figures["greedy_equal"] == 1.0 for figures in results)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"worst": worst, "greedy_equal": same, "models": results, **versions}))
    return 0 if worst < PROMISE and same else 1


if __name__ == "__main__":
    sys.exit(main())
