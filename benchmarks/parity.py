"""Are our logits those of transformers, on the three published configurations?

    python benchmarks/parity.py [--models 350M 700M 1.2B] [--tokens 1000] [--greedy 200]

Random weights in float32, the same tensors in both models, so the largest takes 4.7 GB. Every way
of reading that `lfm2chat verify` knows (whole, in chunks, one by one, after going back, forked,
spliced, from a file) is compared with one pass of transformers without a cache; the figure is the
largest difference in units of the largest logit (promised: 1e-4).

After the last of them transformers writes greedily; our logits before each of its tokens are
compared too, and so is our choice. Another choice counts as a tie where transformers' own logits
of both are nearer than the promise; its margin is printed. Prints a table and, last, one JSON
line; ends with 1 where the promise is broken.
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

from lfm2chat.checks.verify_reading import WAYS, Reading, draw_places
from lfm2chat.engine import HybridCache, Lfm2ForCausalLM
from lfm2chat.spec import Lfm2Config

SIZES = {"350M": (1024, 16, 6656), "700M": (1536, 24, 10_240), "1.2B": (2048, 32, 12_288)}
ATTENTION = (2, 5, 8, 10, 12, 14)
PROMISE = 1e-4
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


def greedy(reading: Reading, theirs: OracleModel, steps: int) -> dict[str, float | list[float]]:
    """Ours beside the greedy tokens of transformers after all ids.

    Our model reads what transformers wrote, so one tie does not hide what comes after it: where
    all choices are equal, that is what ours would have written.
    """
    written = theirs.generate(
        reading.ids,
        do_sample=False,
        max_new_tokens=steps,
        min_new_tokens=steps,  # so it never draws its end token
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = written.sequences[0, reading.ids.shape[1] :]
    cache = HybridCache(reading.model.config)
    reading.model(reading.ids[:, :-1], past_key_values=cache, logits_to_keep=1)
    step, worst, same = reading.ids[:, -1:], 0.0, 0
    margins = []
    for token, (expected,) in zip(tokens, written.logits, strict=True):
        logits = reading.model.next_logits(step, cache)[0]
        worst = max(worst, float((logits - expected).abs().max()) / reading.scale)
        logits[list(reading.model.config.eos_token_ids)] = -torch.inf
        choice = logits.argmax()
        same += int(choice == token)
        if choice != token:
            margins.append(float(expected[token] - expected[choice]) / reading.scale)
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
    truth = theirs(ids, use_cache=False).logits[0]
    reading = Reading(model, ids, truth, draw_places(tokens, PLACES, seed=2))
    figures = {way: compare(reading) for way, compare in WAYS.items()}
    return {"model": name, "scale": reading.scale, **figures, **greedy(reading, theirs, steps)}


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
    results = []
    for name in arguments.models:
        started = time.monotonic()
        figures = measure(name, tokens=arguments.tokens, steps=arguments.greedy)
        figures["seconds"] = round(time.monotonic() - started, 1)
        results.append(figures)
        print(f"{name}, {figures['seconds']} s")
        for way in (*WAYS, "greedy"):
            print(f"  {way:16}{figures[way]:10.1e}")
        print(f"  equal choices {figures['greedy_equal']:10.1%}", flush=True)
        for margin in figures["tie_margins"]:
            print(f"  another choice, {margin:.1e} of the largest logit behind")
    worst = max(float(figures[way]) for figures in results for way in (*WAYS, "greedy"))
    margins = [margin for figures in results for margin in figures["tie_margins"]]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"worst": worst, "models": results, **versions}))
    return 0 if max(worst, *margins, 0.0) < PROMISE else 1


if __name__ == "__main__":
    sys.exit(main())
