"""What do several answers at once gain, on the runtime's own way through ChatService?

    python benchmarks/together.py [--models guide 350M] [--turns 1 4] [--tokens 96] [--repeats 3]

The same question from one and from several conversations at once: tokens a second of all together,
beside those of one, as the turns themselves measured them; and how many prompt tokens were read by
all, since the prompt of the first is copied for the others. The answers are so hot that none ends
early and no guess comes true. ``350M`` has random weights and runs in the precision that "auto"
chooses here. Everything lies in a temporary folder. Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from parity import SIZES, configuration, random_model

from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.paths import Paths
from lfm2chat.runtime import ChatService, Event
from lfm2chat.runtime.events import ModelFailed, ModelLoaded, TurnFailed, TurnFinished
from lfm2chat.runtime.models import guide_folder
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams, Timing

QUESTION = "What can I do with a conversation that I do not need any more? " * 8
PATIENCE_S = 600.0


def write_model(size: str, folder: Path) -> None:
    """A model of random weights with the guide's tokenizer."""
    model = random_model(configuration(size)).to(torch.bfloat16)
    model.tie_weights()
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(guide_folder() / file, folder / file)


class Bench:
    """A service, and what the turns that it answers at once measured."""

    def __init__(self, paths: Paths, model: str) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.service = ChatService(
            paths=paths, settings=Settings(), store=None, emit=self._events.put
        )
        self.service.start(model)
        loaded = self._wait(ModelLoaded, ModelFailed)
        if not isinstance(loaded, ModelLoaded):
            raise SystemExit(f"{model} cannot be loaded: {loaded}")
        self.dtype = loaded.dtype

    def answer(self, turns: int, tokens: int, round_: int) -> list[Timing]:
        """The timings of so many answers at once, of ``tokens`` tokens each."""
        # Another beginning each time: nothing of the round before is of use.
        messages = (PromptMessage(Role.USER, f"{round_}, {turns}: {QUESTION}"),)
        for seed in range(turns):
            params = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=tokens, seed=seed)
            self.service.submit_temporary(messages, sampling=params)
        ends = [self._wait(TurnFinished, TurnFailed) for _ in range(turns)]
        return [end.timing for end in ends if isinstance(end, TurnFinished)]

    def _wait(self, *kinds: type) -> Event:
        while True:
            event = self._events.get(timeout=PATIENCE_S)
            if isinstance(event, kinds):
                return event


def measure(bench: Bench, counts: list[int], tokens: int, repeats: int) -> dict[str, list[float]]:
    """For each count: tokens a second of all, and prompt tokens that were read; medians."""
    rates: dict[int, list[float]] = {count: [] for count in counts}
    read: dict[int, list[int]] = {count: [] for count in counts}
    for round_ in range(repeats + 1):
        for count in counts:
            timings = bench.answer(count, tokens, round_)
            if round_ == 0 or len(timings) < count:  # the first round warms up
                continue
            written = sum(timing.generated_tokens - 1 for timing in timings)
            rates[count].append(written / max(timing.decode_s for timing in timings))
            read[count].append(sum(timing.prefilled_tokens for timing in timings))
    return {
        str(count): [statistics.median(rates[count]), statistics.median(read[count])]
        for count in counts
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["guide", "350M"])
    parser.add_argument("--turns", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    counts = sorted({1, *arguments.turns})
    results = {}
    print(f"{'model':12}{'turns':>6}{'tok/s':>9}{'beside one':>12}{'prompt tokens read':>20}")
    with tempfile.TemporaryDirectory() as home:
        paths = Paths.under(Path(home))
        paths.create()
        for model in arguments.models:
            if model in SIZES:
                write_model(model, paths.models / model)
            bench = Bench(paths, model)
            figures = measure(bench, counts, arguments.tokens, arguments.repeats)
            bench.service.close(PATIENCE_S)
            results[model] = {"dtype": bench.dtype, "figures": figures}
            for count, (rate, read) in figures.items():
                ratio = rate / figures["1"][0]
                print(f"{model:12}{count:>6}{rate:9.1f}{ratio:11.2f}x{read:20.0f}", flush=True)
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
