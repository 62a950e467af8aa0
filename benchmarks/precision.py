"""What do 8 and 4 bits cost, beside llama.cpp's Q8_0 and Q4_0 of the same weights?

    python benchmarks/precision.py [--models 350M] [--tokens 256] [--folder FOLDER]

For each real configuration, with heavy-tailed random weights: the mean KL divergence per token from
float32 (of the same bf16 weights), how often the likeliest token is the same, and the relative
error of the logits. Random weights have no structure that damps errors, so the figures rank
precisions; they do not say how good one is. For the guide, on the held-out questions and their
answers: the same, and the perplexity of the answers. Prints tables and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from parity import configuration
from peer_processes import Peer, random_ids
from peers import command_lines, processor, write_weights
from torch import Tensor

from lfm2chat.engine import (
    HybridCache,
    LanguageModel,
    Lfm2ForCausalLM,
    Precision,
    open_packed,
    run_packed,
)

PROMISES = (("int8", "Q8_0", 2.0), ("int4", "Q4_0", 1.0))
"""Ours, theirs, and how many times their KL divergence ours may be."""


def figures(reference: Tensor, logits: Tensor) -> dict[str, float]:
    """How (T, V) ``logits`` differ from ``reference``."""
    wanted, found = reference.double().log_softmax(-1), logits.double().log_softmax(-1)
    return {
        "kl": float((wanted.exp() * (wanted - found)).sum(-1).mean()),
        "top1": float((wanted.argmax(-1) == found.argmax(-1)).double().mean()),
        "error": float((reference - logits).norm() / reference.norm()),
    }


def all_logits(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """(T, V) logits of ``ids`` from an empty cache."""
    cache = HybridCache(model.config, dtype=model.dtype)
    return model.all_logits(torch.tensor([list(ids)]), cache)[0]


def peer_logits(line: Sequence[str], ids: Sequence[int], folder: Path) -> Tensor:
    """(T, V) logits of another engine's child."""
    path = folder / "logits"
    with Peer.start(line) as peer:
        shape = peer.ask(do="logits", ids=list(ids), to=str(path))["shape"]
    numbers = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32)
    path.unlink()
    return numbers.view(shape)


def measure_model(model: str, place: Path, tokens: int) -> dict[str, dict[str, float]]:
    """Every precision of one real configuration."""
    ids = random_ids(tokens, configuration(model).vocab_size, seed=3)
    reference = all_logits(Lfm2ForCausalLM.from_pretrained(place / "hf", dtype="float32"), ids)
    found = {}
    for name, line in command_lines(place, 2, "default").items():
        found[name] = figures(reference, peer_logits(line, ids, place))
    return found


def measure_guide() -> dict[str, dict[str, float]]:
    """The guide in each precision, on questions that it was not trained on."""
    from lfm2chat.chat.template import ChatTemplate
    from lfm2chat.chat.tokenizer import Tokenizer
    from lfm2chat.chat.turns import PromptMessage, Role
    from lfm2chat.runtime.models import guide_folder

    folder = guide_folder()
    template = ChatTemplate.from_folder(folder, Tokenizer.from_folder(folder))
    exact = Lfm2ForCausalLM.from_pretrained(folder, dtype="float32")
    models: dict[str, LanguageModel] = {"float32": exact}
    models["bfloat16"] = Lfm2ForCausalLM.from_pretrained(folder, dtype="bfloat16")
    for precision in Precision:
        models[precision.value] = run_packed(open_packed(folder, precision), threads=1)
    texts = []
    for question in held_out_questions():
        ids = list(template.build([PromptMessage(Role.USER, question)]).ids)
        texts.append((len(ids), ids + greedy(exact, ids)))
    found = {}
    for name, model in models.items():
        rows, wanted, losses = [], [], []
        for prompt, ids in texts:
            logits = all_logits(model, ids)
            rows.append(logits[prompt - 1 :])
            wanted.append(all_logits(exact, ids)[prompt - 1 :])
            answer = torch.tensor(ids[prompt:])
            losses.append(-logits[prompt - 1 : -1].log_softmax(-1).gather(1, answer[:, None]))
        found[name] = figures(torch.cat(wanted), torch.cat(rows))
        found[name]["perplexity"] = math.exp(float(torch.cat(losses).mean()))
    return found


def held_out_questions() -> list[str]:
    """One question for each of the first sixty facts of the guide's held-out list."""
    import tomllib

    path = Path(__file__).parents[1] / "tools" / "knowledge" / "held_out.toml"
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    return [questions[0] for questions in values["known"].values()][:60]


def greedy(model: Lfm2ForCausalLM, ids: Sequence[int], count: int = 48) -> list[int]:
    """What ``model`` answers, up to its end token."""
    cache = HybridCache(model.config, dtype=model.dtype)
    logits = model.next_logits(torch.tensor([list(ids)]), cache)[0]
    written: list[int] = []
    while len(written) < count and (not written or written[-1] not in model.config.eos_token_ids):
        written.append(int(logits.argmax()))
        logits = model.next_logits(torch.tensor([written[-1:]]), cache)[0]
    return written


def report(title: str, found: dict[str, dict[str, float]]) -> None:
    """Print one table, and whether the promises are kept."""
    print(f"\n{title:<14}KL / token      top-1   relative error")
    for name, own in found.items():
        line = f"  {name:<12}{own['kl']:11.2e}{own['top1']:11.1%}{own['error']:13.2e}"
        print(line + (f"   perplexity {own['perplexity']:.4f}" if "perplexity" in own else ""))
    for ours, theirs, most in PROMISES:
        if theirs in found:
            ratio = found[ours]["kl"] / found[theirs]["kl"]
            verdict = "kept" if ratio <= most else "NOT KEPT"
            print(f"  {ours} / {theirs}: KL {ratio:.2f} (at most {most}) {verdict}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["350M"])
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="keep the weights here for the next time")
    options = parser.parse_args(arguments)
    print(processor())
    results: dict[str, object] = {"processor": processor()}
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for model in options.models:
            found = measure_model(model, write_weights(model, folder), options.tokens)
            report(model, found)
            results[model] = found
    found = measure_guide()
    report("guide", found)
    results["guide"] = found
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
