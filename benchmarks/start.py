"""How long from `lfm2chat ask` to its first token, beside `import torch` alone?

    python benchmarks/start.py [--models guide 350M 1.2B] [--precision int8 int4] [--rounds 5]

Each is a process of its own, timed from its start to the first byte of the answer; `import torch`
to the end of the import, the guide and the packed models by turns with it. Real models have random
weights in the published size and the guide's tokenizer; they are packed once, in a start that is
not counted. Medians, and medians of each round's ratio. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lfm2chat.engine.weights import save
from lfm2chat.spec.installation import processor_name

MOST = {"guide": 2.0}
MOST_OTHERS = 3.0
TORCH = [sys.executable, "-c", "import torch; print('there', flush=True)"]


def seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """From the start of ``command`` to the first byte that it prints."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        taken = time.perf_counter() - started
        process.stdout.read()
    if process.returncode or not first:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return taken


def write_model(size: str, folder: Path) -> Path:
    """A model folder with random weights in the published size, and the guide's tokenizer."""
    import torch

    from lfm2chat.engine.random_weights import random_plain
    from lfm2chat.runtime.models import guide_folder
    from lfm2chat.spec.sizes import published_config

    place = folder / size
    if place.exists():
        return place
    model = random_plain(published_config(size), torch.bfloat16, torch.device("cpu"))
    save(model, model.config, place)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(guide_folder() / name, place / name)
    return place


def ask(model: str, precision: str) -> list[str]:
    """The command line for one short answer."""
    line = [sys.executable, "-m", "lfm2chat", "ask", "hello", "--model", model]
    line += ["--max-new-tokens", "4", "--temperature", "0"]
    return [*line, "--precision", precision] if precision else line


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["guide", "350M", "1.2B"])
    parser.add_argument("--precision", nargs="+", default=["int8", "int4"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the weights here for the next time")
    options = parser.parse_args(arguments)
    print(f"{processor_name()}, {os.cpu_count()} threads")
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LFM2CHAT_HOME": home}
        folder = options.folder or Path(home) / "weights"
        lines: dict[str, list[str]] = {}
        for model in options.models:
            if model == "guide":
                lines["guide"] = ask("guide", "")
                continue
            place = write_model(model, folder)
            lines |= {f"{model} {one}": ask(str(place), one) for one in options.precision}
        for line in lines.values():  # packed, tried, and in the system's file cache
            seconds(line, environment)
        taken: dict[str, list[float]] = {name: [] for name in ("torch", *lines)}
        for _ in range(options.rounds):
            for name, line in {"torch": TORCH, **lines}.items():
                taken[name].append(seconds(line, environment))
    results = {}
    print(f"  {'import torch':<12}{statistics.median(taken['torch']):6.2f} s")
    for name in lines:
        pairs = zip(taken[name], taken["torch"], strict=True)
        ratio = statistics.median(own / torch for own, torch in pairs)
        most = MOST.get(name, MOST_OTHERS)
        verdict = "kept" if ratio < most else "NOT KEPT"
        median = statistics.median(taken[name])
        print(f"  {name:<12}{median:6.2f} s {ratio:6.2f} x  (less than {most})  {verdict}")
        results[name] = {"seconds": median, "ratio": ratio}
    print(json.dumps({"processor": processor_name(), **results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
