"""How fast is our engine beside llama.cpp and transformers, on the same weights and machine?

    python benchmarks/peers.py [--models 350M 1.2B] [--rounds 7] [--folder FOLDER] [--past 64]

Needs `pip install llama-cpp-python gguf` (built from its source package, so that it uses what this
processor has). Heavy-tailed random weights in the real configurations are written once into
FOLDER as a model folder and as GGUF, which llama.cpp itself quantizes. Every engine is a process of
its own; in each round each of them in turn reads 512 tokens and writes 24, so a neighbour's noise
meets all of them alike. Printed are medians, and medians of each round's ratio. "of read" is the
share that decoding reaches of the bandwidth which a plain reader gets over the same pages, in the
same process and round. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from peer_processes import Peer

TOKENS = 512
STEPS = 24
KINDS = ("Q8_0", "Q4_0", "Q4_K_M")
PRECISIONS = ("int8", "int4")
PROMISES = (
    # ours, theirs, what, at least
    ("int8", "Q8_0", "decode", 1.1),
    ("int8", "Q8_0", "prefill", 2.0),
    ("int4", "Q4_0", "decode", 1.15),
    ("int4", "Q4_K_M", "decode", 1.1),
    ("int4", "Q4_0", "prefill", 1.6),
    ("int4", "transformers", "decode", 6.0),
    ("int8", "transformers", "decode", 4.0),
    ("int8", "transformers", "prefill", 1.3),
    ("int4", "transformers", "prefill", 1.3),
)

Rounds = dict[str, dict[str, list[float]]]
"""For each engine and figure, one number a round."""


def processor() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write_weights(model: str, folder: Path) -> Path:
    """A folder with ``hf`` and a GGUF of each kind; made only where it is not there."""
    place = folder / model
    if not all((place / f"{kind}.gguf").exists() for kind in KINDS):
        script = Path(__file__).with_name("gguf_weights.py")
        # In a process of its own, so that its memory is gone afterwards.
        subprocess.run([sys.executable, str(script), str(place), "--model", model], check=True)
    return place


def command_lines(place: Path, threads: int, wait: str) -> dict[str, list[str]]:
    """Each engine's name and its child's command line."""
    some = ["--threads", str(threads)]
    lines = {
        precision: ["lfm2chat", str(place / "hf"), "--precision", precision, *some]
        for precision in PRECISIONS
    }
    lines |= {kind: ["llama", str(place / f"{kind}.gguf"), *some] for kind in KINDS}
    lines["transformers"] = ["transformers", str(place / "hf"), "--wait", wait, *some]
    return lines


def run_rounds(peers: dict[str, Peer], rounds: int, past: int) -> Rounds:
    """Everything ``rounds`` times, engine by engine within each."""
    figures: Rounds = {name: {} for name in peers}

    def note(name: str, figure: str, value: float) -> None:
        figures[name].setdefault(figure, []).append(value)

    for peer in peers.values():  # mapped files are read in, and threads are started
        peer.ask(do="prefill", tokens=TOKENS)
        peer.ask(do="decode", steps=4, past=past)
    for _ in range(rounds):
        for name, peer in peers.items():
            note(name, "prefill", TOKENS / peer.ask(do="prefill", tokens=TOKENS)["seconds"])
            seconds = peer.ask(do="decode", steps=STEPS, past=past)["seconds"]
            note(name, "decode", STEPS / seconds)
            if name in PRECISIONS:
                read = peer.ask(do="bandwidth")
                note(name, "bandwidth", read["bytes"] / read["seconds"] / 1e9)
                note(name, "of read", read["seconds"] / (seconds / STEPS))
    return figures


def ratio(figures: Rounds, ours: str, theirs: str, what: str) -> float:
    """The median of each round's ratio."""
    pairs = zip(figures[ours][what], figures[theirs][what], strict=True)
    return statistics.median(one / other for one, other in pairs)


def report(model: str, figures: Rounds, memory: dict[str, float]) -> dict[str, object]:
    """Print the tables; everything as values too."""
    print(f"\n{model}    prefill {TOKENS}   decode   GB/s read   of read   peak MB")
    medians = {
        name: {figure: statistics.median(values) for figure, values in own.items()}
        for name, own in figures.items()
    }
    for name, own in medians.items():
        line = f"  {name:<14}{own['prefill']:9.0f}{own['decode']:10.1f}"
        line += f"{own['bandwidth']:12.1f}{own['of read']:9.0%}" if "of read" in own else " " * 21
        print(f"{line}{memory[name]:11.0f}")
    kept = []
    for ours, theirs, what, least in PROMISES:
        if ours in figures and theirs in figures:
            value = ratio(figures, ours, theirs, what)
            verdict = "kept" if value >= least else "NOT KEPT"
            print(f"  {ours} / {theirs:<13} {what:<8}{value:6.2f}  (at least {least})  {verdict}")
            kept.append({"ours": ours, "theirs": theirs, "what": what, "ratio": value})
    return {"medians": medians, "ratios": kept, "peak_rss_mb": memory}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["350M", "1.2B"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--past", type=int, default=64, help="tokens in the cache while decoding")
    parser.add_argument("--wait", default="default", choices=["default", "passive"])
    parser.add_argument("--engines", nargs="+", help="these alone")
    parser.add_argument("--folder", type=Path, help="keep the weights here for the next time")
    options = parser.parse_args(arguments)
    print(f"{processor()}, {options.threads} threads")
    results: dict[str, object] = {"processor": processor(), "threads": options.threads}
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for model in options.models:
            place = write_weights(model, folder)
            lines = command_lines(place, options.threads, options.wait)
            chosen = options.engines or list(lines)
            for name in set(chosen) & set(PRECISIONS):  # packed once; the peak is a later start's
                Peer.start(lines[name]).stop()
            with contextlib.ExitStack() as children:
                peers = {name: children.enter_context(Peer.start(lines[name])) for name in chosen}
                figures = run_rounds(peers, options.rounds, options.past)
                memory = {n: peer.ask(do="memory")["peak_rss_mb"] for n, peer in peers.items()}
            results[model] = report(model, figures, memory)
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
