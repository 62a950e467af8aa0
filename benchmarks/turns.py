"""What does the next turn cost, when the conversation is already long?

    python benchmarks/turns.py [--cases 350M:2048 350M:8192 350M:32768 1.2B:2048 1.2B:8192]

Random weights in bf16. For each history: the time to the first token of a follow-up of 20 tokens,
of a regenerate (the last answer is dropped, one token is read anew), of an edit three turns back
(20 new tokens there), of going back to the sibling that the edit left, and of a follow-up in a new
process that takes the cache from disk. Each beside three others:

  new tokens   one bare pass over as many tokens (with the 20 that are read again after going
               back) on the same cache: what the turn costs at least (promised: at most 1.5 x)
  re-read      reading the whole conversation (promised for the resume: under 5 %)
  transformers the same turn: it keeps a cache for the follow-up, and reads all else anew

The start of process and model is not counted. Warm file cache: the resume reads what was just
written. Prints a table and, last, one JSON line; ends with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from parity import configuration, oracle, random_model
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM, Sampler, prefill
from lfm2chat.engine.cache_file import load_cache, save_cache
from lfm2chat.runtime.warm import WarmContext, WarmContexts
from lfm2chat.spec import SamplingParams

CASES = ("350M:2048", "350M:8192", "350M:32768", "1.2B:2048", "1.2B:8192")
TURN = 256  # tokens of one question and its answer
NEW = 20
REPEATS = 5
NEW_TOKENS_LIMIT = 1.5
RESUME_LIMIT = 0.05
FINGERPRINT = "benchmark"


def drain(reading: object) -> torch.Tensor:
    """The logits at the end of a prefill."""
    while True:
        try:
            next(reading)  # type: ignore[call-overload]
        except StopIteration as stop:
            return stop.value


def draw(model: Lfm2ForCausalLM, logits: torch.Tensor, ids: list[int]) -> int:
    """The first token, sampled as the card says."""
    params = SamplingParams(seed=1)
    sampler = Sampler(params, context_ids=ids, vocab_size=model.config.vocab_size)
    return sampler.draw(logits)[0]


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def make_ids(tokens: int, seed: int) -> list[int]:
    """Random token ids, none of them a control token."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(500, 60_000, (tokens,), generator=generator).tolist()


class Turns:
    """One model with one long history, and the turns on top of it."""

    def __init__(self, name: str, history: int) -> None:
        self.model = random_model(configuration(name)).to(torch.bfloat16)
        self.model.tie_weights()
        # Room for the new tokens within the model's limit of 32,768.
        self.ids = make_ids(history - 3 * NEW, seed=history)
        self.contexts = WarmContexts(budget_bytes=4 << 30)
        self.reread_s = timed(self._read_history)

    def _read_history(self) -> None:
        config, dtype = self.model.config, self.model.dtype
        context = WarmContext(HybridCache(config, dtype=dtype, capacity=len(self.ids) + 256))
        logits = drain(prefill(self.model, self.ids, context.cache))
        context.feed(self.ids)
        context.mark()
        draw(self.model, logits, self.ids)
        # A cache of its own for the bare passes and the file.
        self.cache = context.cache.fork(len(self.ids))
        self.contexts.give(context)

    def first_token(self, prompt: list[int]) -> float:
        """Seconds from the prompt to its first token, as a turn of the app does it."""

        def turn() -> None:
            context = self.contexts.take(prompt)
            assert context is not None
            reading = prefill(self.model, prompt[context.cache.position :], context.cache)
            draw(self.model, drain(reading), prompt)
            context.feed(prompt[len(context.ids) :])
            context.mark()
            self.contexts.give(context)

        return timed(turn)

    def measure(self) -> dict[str, float]:
        """Seconds of each kind of turn, medians of interleaved runs."""
        kinds: dict[str, list[float]] = {}
        depth = len(self.ids)
        mark = self.cache.mark()
        for repeat in range(REPEATS):
            follow_up = [*self.ids, *make_ids(NEW, seed=100 + repeat)]
            answer = make_ids(100, seed=300 + repeat)
            edited = self.ids[: depth - 3 * TURN] + make_ids(NEW, seed=200 + repeat)
            kinds.setdefault("follow-up", []).append(self.first_token(follow_up))
            self.first_token([*self.ids, *answer])
            kinds.setdefault("regenerate", []).append(self.first_token(self.ids))
            kinds.setdefault("edit", []).append(self.first_token(edited))
            kinds.setdefault("sibling", []).append(self.first_token([*self.ids, *answer, 7]))
            self.first_token(self.ids)
            for tokens in (1, NEW, NEW + 1, 2 * NEW):
                ids = torch.tensor([make_ids(tokens, seed=repeat)])
                spent = timed(lambda ids=ids: self.model.next_logits(ids, self.cache))
                kinds.setdefault(f"bare {tokens}", []).append(spent)
                self.cache.restore(mark)
        return {name: statistics.median(times) for name, times in kinds.items()}


def measure_transformers(turns: Turns) -> dict[str, float]:
    """Seconds of a follow-up, and of reading everything, in transformers."""
    theirs = oracle(turns.model)
    ids = torch.tensor([turns.ids])
    cache = DynamicCache(config=theirs.config)
    with torch.inference_mode():
        reread = timed(lambda: theirs(ids, cache=cache, logits_to_keep=1))
        new = torch.tensor([make_ids(NEW, seed=1)])
        follow_ups = [timed(lambda: theirs(new, cache=cache, logits_to_keep=1)) for _ in range(3)]
    return {"follow-up": statistics.median(follow_ups), "re-read": reread}


def resume_child(name: str, path: Path) -> None:
    """In a new process: the first token of a follow-up, with the cache from disk."""
    model = random_model(configuration(name)).to(torch.bfloat16)
    model.tie_weights()
    warm_up = HybridCache(model.config, dtype=model.dtype)
    model.next_logits(torch.tensor([make_ids(64, seed=2)]), warm_up)
    model.next_logits(torch.tensor([make_ids(NEW, seed=2)]), warm_up)
    started = time.perf_counter()
    loaded = load_cache(
        path, model.config, dtype=model.dtype, device=model.device, fingerprint=FINGERPRINT
    )
    loading = time.perf_counter() - started
    assert loaded is not None
    cache, ids = loaded
    new = make_ids(NEW, seed=9)
    draw(model, drain(prefill(model, new, cache)), [*ids, *new])
    print(json.dumps({"loading": loading, "resume": time.perf_counter() - started}))


def measure_resume(turns: Turns, name: str) -> dict[str, float]:
    """Seconds to save, to load, and to the first token in a new process; bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache"
        saving = timed(
            lambda: save_cache(turns.cache, path, token_ids=turns.ids, fingerprint=FINGERPRINT)
        )
        size = path.stat().st_size
        command = [sys.executable, __file__, "--resume", name, str(path)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for _ in range(3)
        ]
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**median, "saving": saving, "bytes": size}


def measure_eight_bits(turns: Turns) -> dict[str, float]:
    """What keys and values in 8 bits change, over 40 tokens that both read: error and memory."""
    model = turns.model
    read = turns.ids[:1024]
    given = make_ids(40, seed=77)
    logits = []
    caches = []
    for quantized in (False, True):
        cache = HybridCache(model.config, dtype=model.dtype, quantized=quantized)
        drain(prefill(model, read, cache))
        logits.append(model.all_logits(torch.tensor([given]), cache)[0].log_softmax(-1))
        caches.append(cache.nbytes)
    plain, small = logits
    divergence = (plain.exp() * (plain - small)).sum(-1)
    return {
        "kl_mean": float(divergence.mean()),
        "kl_worst": float(divergence.max()),
        "top1": float((plain.argmax(-1) == small.argmax(-1)).float().mean()),
        "difference": float((plain - small).abs().max() / plain.abs().max()),
        "memory": caches[1] / caches[0],
    }


def run(case: str) -> dict[str, object]:
    """Every figure of one case, and whether the promises hold."""
    name, history = case.split(":")
    turns = Turns(name, int(history))
    ours = turns.measure()
    resume = measure_resume(turns, name)
    eight = measure_eight_bits(turns) if history == "2048" else None
    theirs = measure_transformers(turns)
    ratios = {
        "follow-up": ours["follow-up"] / ours["bare 20"],
        "regenerate": ours["regenerate"] / ours["bare 21"],
        "edit": ours["edit"] / ours["bare 40"],
        "resume": resume["resume"] / turns.reread_s,
    }
    kept = all(ratios[kind] <= NEW_TOKENS_LIMIT for kind in ("follow-up", "regenerate", "edit"))
    kept = kept and ratios["resume"] < RESUME_LIMIT
    print(
        f"\n{name}, {history} tokens of history; reading them: ours {turns.reread_s:.2f} s,"
        f" transformers {theirs['re-read']:.2f} s"
    )
    print(f"{'':12}{'first token':>13}{'new tokens':>13}{'ratio':>8}{'re-read':>10}{'transf.':>10}")
    for kind, bare in (("follow-up", "bare 20"), ("regenerate", "bare 21"), ("edit", "bare 40")):
        other = theirs["follow-up"] if kind == "follow-up" else theirs["re-read"]
        print(
            f"{kind:12}{ours[kind] * 1e3:10.1f} ms{ours[bare] * 1e3:10.1f} ms{ratios[kind]:8.2f}"
            f"{turns.reread_s / ours[kind]:9.0f}x{other / ours[kind]:9.1f}x"
        )
    print(f"{'sibling':12}{ours['sibling'] * 1e3:10.1f} ms{ours['bare 1'] * 1e3:10.1f} ms")
    print(
        f"{'resume':12}{resume['resume'] * 1e3:10.1f} ms, {ratios['resume']:.1%} of the re-read"
        f" (loading {resume['loading'] * 1e3:.1f} ms, saving {resume['saving'] * 1e3:.0f} ms,"
        f" {resume['bytes'] / 1e6:.0f} MB)"
    )
    if eight is not None:
        print(
            f"8 bits      KL {eight['kl_mean']:.2e} mean, {eight['kl_worst']:.2e} worst; top-1"
            f" {eight['top1']:.0%}; difference {eight['difference']:.1e}; {eight['memory']:.0%}"
            " of the memory"
        )
    return {
        "case": case,
        "kept": kept,
        "reread_s": turns.reread_s,
        "ours_s": ours,
        "resume": resume,
        "transformers_s": theirs,
        "ratios": ratios,
        "eight_bits": eight,
    }


def main() -> int:
    """Measure, print, and say whether the promises hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--resume", nargs=2, metavar=("MODEL", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.resume:
        resume_child(arguments.resume[0], Path(arguments.resume[1]))
        return 0
    results = [run(case) for case in arguments.cases]
    kept = all(bool(result["kept"]) for result in results)
    print()
    print(
        json.dumps(
            {
                "kept": kept,
                "cases": results,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            }
        )
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
