"""Are our logits those of transformers, on the three published configurations?

    python benchmarks/parity.py [--models 350M 700M 1.2B] [--tokens 1000] [--greedy 200]

Random weights in float32, the same tensors in both models, so the largest takes 4.7 GB. Every way
of reading the same ids is compared with one pass of transformers without a cache; the figure is
the largest difference in units of the largest logit (promised: 1e-4):

    whole      one pass, no cache            rewound   to places without a mark, read on from
    chunks     of random sizes                         where the cache says
    singly     the last 32 tokens one by one  spliced  parts of another context's cache
    restored   to a mark                      forked   at a mark, and where none is

After the last of them transformers writes greedily; our logits before each of its tokens are
compared too, and so is our choice. Another choice counts as a tie where transformers' own logits
of both are nearer than the promise; its margin is printed. Prints a table and, last, one JSON
line; ends with 1 where the promise is broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import dataclass

import torch
import transformers
from transformers import Lfm2Config as OracleConfig
from transformers import Lfm2ForCausalLM as OracleModel

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM
from lfm2chat.spec import Lfm2Config

SIZES = {"350M": (1024, 16, 6656), "700M": (1536, 24, 10_240), "1.2B": (2048, 32, 12_288)}
ATTENTION = (2, 5, 8, 10, 12, 14)
PROMISE = 1e-4
WAYS = ("whole", "chunks", "singly", "restored", "rewound", "spliced", "forked", "greedy")
SINGLE = 32
"""Tokens that are read one by one."""
AFTER = 24
"""Tokens that are read, and compared, after a cache went back to some place."""
PLACES = 4
"""Places that a cache goes back to."""


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
            if name.endswith("conv.conv.weight"):
                # As large as trained ones: a cache that lost its columns must show in the logits.
                weight.mul_(20)
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


@dataclass(frozen=True)
class Bench:
    """Our model, ids (1, T), and the logits (T, V) that are right after each of them."""

    model: Lfm2ForCausalLM
    ids: torch.Tensor
    truth: torch.Tensor

    @property
    def scale(self) -> float:
        """The largest logit."""
        return float(self.truth.abs().max())

    def off(self, logits: torch.Tensor, first: int) -> float:
        """The largest difference of ``logits`` from token ``first`` on."""
        expected = self.truth[first : first + logits.shape[0]]
        return float((logits - expected).abs().max()) / self.scale

    def read(self, cache: HybridCache, end: int, sizes: random.Random) -> torch.Tensor:
        """Read on up to ``end`` in chunks of 1 to 200 tokens; their logits."""
        pieces = []
        while cache.position < end:
            last = min(end, cache.position + sizes.randint(1, 200))
            chunk = self.ids[:, cache.position : last]
            pieces.append(self.model(chunk, past_key_values=cache).logits[0])
        return torch.cat(pieces)

    def mislead(self, cache: HybridCache) -> None:
        """Read tokens that do not belong there: who goes back must forget them."""
        other = self.ids[:, :AFTER].flip(1)
        self.model(other, past_key_values=cache, logits_to_keep=1)

    def after(self, cache: HybridCache, length: int) -> float:
        """Read from where the cache says up to ``AFTER`` tokens behind ``length``, and compare."""
        first = cache.position
        logits = self.read(cache, length + AFTER, random.Random(length))
        # What was read again before it is there for the columns of the convolutions only.
        return self.off(logits[length - first :], length)


def ways(bench: Bench) -> dict[str, float]:
    """The largest difference of each way of reading."""
    config, tokens = bench.model.config, bench.ids.shape[1]
    draw = random.Random(2)
    places = sorted((draw.randint(1, tokens - 2 * AFTER) for _ in range(PLACES)), reverse=True)
    figures = {"whole": bench.off(bench.model(bench.ids, use_cache=False).logits[0], 0)}
    cache = HybridCache(config)
    figures["chunks"] = bench.off(bench.read(cache, tokens - SINGLE, draw), 0)
    mark = cache.mark()
    singles = [bench.model.next_logits(one, cache) for one in bench.ids[:, -SINGLE:].split(1, 1)]
    figures["singly"] = bench.off(torch.cat(singles), tokens - SINGLE)
    segment = cache.segment(min(places) // 2)

    bench.mislead(cache)
    twins = [cache.fork(place) for place in (mark, *places)]
    cache.restore(mark)
    figures["restored"] = bench.off(bench.read(cache, tokens, draw), tokens - SINGLE)
    figures["forked"] = bench.off(bench.read(twins[0], tokens, draw), tokens - SINGLE)
    for place, twin in zip(places, twins[1:], strict=True):
        figures["forked"] = max(figures["forked"], bench.after(twin, place))

    figures["rewound"] = 0.0
    for place in places:  # from the last to the first: each forgets what the one before read
        cache.rewind(place)
        figures["rewound"] = max(figures["rewound"], bench.after(cache, place))
        bench.mislead(cache)

    figures["spliced"] = 0.0
    other = HybridCache(config)
    bench.read(other, segment.start, draw)
    for place in places:
        bench.mislead(other)
        other.splice(segment, place)
        figures["spliced"] = max(figures["spliced"], bench.after(other, place))
    return figures


def greedy(bench: Bench, theirs: OracleModel, steps: int) -> dict[str, float | list[float]]:
    """Ours beside the greedy tokens of transformers after all ids.

    Our model reads what transformers wrote, so one tie does not hide what comes after it: where
    all choices are equal, that is what ours would have written.
    """
    written = theirs.generate(
        bench.ids,
        do_sample=False,
        max_new_tokens=steps,
        min_new_tokens=steps,  # so it never draws its end token
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = written.sequences[0, bench.ids.shape[1] :]
    cache = HybridCache(bench.model.config)
    bench.model(bench.ids[:, :-1], past_key_values=cache, logits_to_keep=1)
    step, worst, same = bench.ids[:, -1:], 0.0, 0
    margins = []
    for token, (expected,) in zip(tokens, written.logits, strict=True):
        logits = bench.model.next_logits(step, cache)[0]
        worst = max(worst, float((logits - expected).abs().max()) / bench.scale)
        logits[list(bench.model.config.eos_token_ids)] = -torch.inf
        choice = logits.argmax()
        same += int(choice == token)
        if choice != token:
            margins.append(float(expected[token] - expected[choice]) / bench.scale)
        step = token[None, None]
    return {
        "greedy": worst,
        "greedy_equal": same / steps,
        "greedy_distinct": len(set(tokens.tolist())),
        "tie_margins": margins,
    }


def measure(name: str, *, tokens: int, steps: int) -> dict[str, float | str | list[float]]:
    """Every figure of one configuration."""
    model = random_model(configuration(name))
    theirs = oracle(model)
    ids = torch.randint(0, 65_536, (1, tokens), generator=torch.Generator().manual_seed(1))
    bench = Bench(model, ids, theirs(ids, use_cache=False).logits[0])
    return {"model": name, "scale": bench.scale, **ways(bench), **greedy(bench, theirs, steps)}


def main() -> int:
    """Measure, print, and say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--tokens", type=int, default=1000, help="of the prompt, at least 128")
    parser.add_argument("--greedy", type=int, default=200, help="tokens written after it")
    arguments = parser.parse_args()
    if arguments.tokens < 128 or arguments.greedy < 1:
        parser.error("give at least 128 tokens and one greedy token")
    print(f"float32, {arguments.tokens} tokens, difference / largest logit (promised {PROMISE})")
    print(f"{'model':6}" + "".join(f"{way:>10}" for way in WAYS) + f"{'equal':>8}{'s':>7}")
    results = []
    for name in arguments.models:
        started = time.monotonic()
        figures = measure(name, tokens=arguments.tokens, steps=arguments.greedy)
        figures["seconds"] = round(time.monotonic() - started, 1)
        results.append(figures)
        row = "".join(f"{figures[way]:10.1e}" for way in WAYS)
        print(f"{name:6}{row}{figures['greedy_equal']:8.1%}{figures['seconds']:7.1f}", flush=True)
        for margin in figures["tie_margins"]:
            print(f"{'':6}another greedy choice, {margin:.1e} of the largest logit behind")
    worst = max(float(figures[way]) for figures in results for way in WAYS)
    margins = [margin for figures in results for margin in figures["tie_margins"]]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"worst": worst, "models": results, **versions}))
    return 0 if max(worst, *margins, 0.0) < PROMISE else 1


if __name__ == "__main__":
    sys.exit(main())
