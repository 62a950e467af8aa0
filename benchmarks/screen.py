"""Does the screen slow the model down, and does the model slow the keys down?

    python benchmarks/screen.py [--models 350M 1.2B] [--rounds 4] [--seconds 12] [--size 120x36]

The real app runs in a real pseudo-terminal, beside it the same service without a screen. By turns
each writes an answer of as many tokens; while the app writes, keys are typed into its prompt, one
every fifth of a second or so, each a character that stands nowhere else. Printed are tokens per
second with and without the screen, what share of the rate is kept (median of the rounds), and
how long a key takes from the terminal to the terminal: median and 99th percentile.

The weights are made up, in the published size, packed; each pass is the real one. Only what it
says is replaced: the tokens of our own README and sources, so that the screen has Markdown to
draw. The last line is one JSON object; ends with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pseudo_terminal import CLEAR_LINE, PATIENCE_S, Terminal, percentile

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.paths import Paths
from lfm2chat.spec.installation import processor_name
from lfm2chat.store import Store

HERE = Path(__file__).resolve()
KEPT = 0.90
MOST_KEY_S = 0.050
KEYS_PER_S = 5.0
WARM_TOKENS = 48


class Scripted:
    """A model that does all the work of the one it wraps and then says what stands in ``ids``."""

    def __init__(self, model: Any, ids: Sequence[int]) -> None:
        self._model = model
        self._ids = ids
        self.config, self.dtype, self.device = model.config, model.dtype, model.device

    def next_logits(self, input_ids: Any, cache: Any, *, before_layer: Any = None) -> Any:
        """The logits of the pass, the token that is due the likeliest."""
        logits = self._model.next_logits(input_ids, cache, before_layer=before_layer)
        logits[0, self._ids[cache.length % len(self._ids)]] = 1e4
        return logits

    def all_logits(self, input_ids: Any, cache: Any) -> Any:
        """As above, after each token."""
        logits = self._model.all_logits(input_ids, cache)
        for row in range(logits.shape[1]):
            place = cache.length - logits.shape[1] + 1 + row
            logits[0, row, self._ids[place % len(self._ids)]] = 1e4
        return logits


def script() -> str:
    """Markdown of every kind: headings, lists, tables, code, long and short paragraphs."""
    root = HERE.parents[1]
    prose = [(root / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md")]
    names = ("runtime/scheduler.py", "spec/timing.py", "runtime/session.py", "chat/text.py")
    code = [(root / "lfm2chat" / name).read_text(encoding="utf-8") for name in names]
    return "\n\n".join([*prose, *(f"A file:\n\n```python\n{one}```" for one in code)])


def make_up(size: str, precision: str, text: str) -> None:
    """From here on every model that this process loads is the made-up one of that ``size``, or the
    guide itself, and says ``text``.
    """
    from dataclasses import replace

    from lfm2chat.engine import Precision, run_packed, set_threads
    from lfm2chat.engine.random_weights import random_packed
    from lfm2chat.runtime import loaded
    from lfm2chat.spec.sizes import published_config

    load = loaded.load_model

    def made_up(entry: Any, settings: Any, **kwargs: Any) -> Any:
        guide = load(entry, settings, **kwargs)
        ids = guide.tokenizer.encode_plain(text)
        if size == "guide":
            return replace(guide, model=Scripted(guide.model, ids))
        threads = set_threads(0)
        packed = random_packed(published_config(size), Precision(precision))
        model = run_packed(packed, threads=threads, trials=kwargs["kernel_trials"])
        set_threads(1)
        return replace(
            guide,
            model=Scripted(model, ids),
            context_tokens=32_768,
            fingerprint=f"{size} {precision}",
        )

    loaded.load_model = made_up


def run_child(kind: str, size: str, precision: str) -> None:
    """One of the two sides: the app on this terminal, or the service told by stdin."""
    make_up(size, precision, script())
    paths = Paths.from_environment()
    paths.create()
    if kind == "app":
        from lfm2chat.tui.app import run_app

        run_app(paths)
        return
    from lfm2chat.runtime import ChatService
    from lfm2chat.runtime.events import ModelLoaded, TurnFinished
    from lfm2chat.settings import read_settings

    ended = threading.Event()
    seen: list[TurnFinished] = []

    def emit(event: Any) -> None:
        if isinstance(event, TurnFinished):
            seen.append(event)
            ended.set()
        if isinstance(event, ModelLoaded):
            print("ready", flush=True)

    store = Store.open(paths.store)
    settings = read_settings(paths.config_file)
    service = ChatService(paths=paths, settings=settings, store=store, emit=emit)
    service.start()
    conversation: int | None = None
    for _ in sys.stdin:
        ended.clear()
        service.submit("go on", conversation_id=conversation)
        ended.wait(PATIENCE_S)
        conversation = seen[-1].message.conversation_id
        print(rate(seen[-1].timing), flush=True)
    service.close()
    store.close()


def rate(timing: Any) -> float:
    """Tokens per second after the first one."""
    return (timing.generated_tokens - 1) / timing.decode_s


class Headless:
    """The service in a process without a screen."""

    def __init__(self, command: Sequence[str], home: Path) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "LFM2CHAT_HOME": str(home)},
            text=True,
        )
        # Until its kernels were tried: the other side's start must not disturb that.
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def turn(self) -> float:
        """Write one answer; its rate."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate("", timeout=PATIENCE_S)


class OnScreen:
    """The app on a pseudo-terminal of its own."""

    def __init__(self, command: Sequence[str], home: Path, columns: int, rows: int) -> None:
        self._home = home
        self._terminal = Terminal(command, {"LFM2CHAT_HOME": str(home)}, columns=columns, rows=rows)
        # Until its model is loaded; what is sent earlier would wait.
        self._terminal.wait_for("ready")

    @property
    def bytes_read(self) -> int:
        """How much it has drawn."""
        return self._terminal.bytes_read

    def turn(self, *, typing: bool = True) -> tuple[float, list[float]]:
        """Write one answer while keys are typed; its rate, and seconds for each key."""
        terminal = self._terminal
        count = len(self._answers())
        terminal.read_for(0.5)
        terminal.send(b"go on\r")
        terminal.read_for(1.0)
        waits: list[float] = []
        deadline = time.monotonic() + PATIENCE_S
        # The store is asked rarely: looking is work too.
        while time.monotonic() < deadline:
            typed: list[float] = []
            if typing:
                typed = [terminal.type_key(1 / KEYS_PER_S) for _ in range(int(KEYS_PER_S))]
            else:
                terminal.read_for(1.0)
            answers = self._answers()
            if len(answers) > count:
                break
            waits += typed
        terminal.send(CLEAR_LINE)
        terminal.read_for(0.5)
        return rate(answers[-1].timing), waits

    def close(self) -> None:
        """End it; what it wrote is in a folder that goes."""
        self._terminal.close()

    def _answers(self) -> list[Any]:
        with Store.open(Paths.under(self._home).store) as store:
            last = store.last_conversation()
            messages = store.branch(last.id) if last else []
        return [
            one for one in messages if one.status is MessageStatus.DONE and one.timing is not None
        ]


def command(kind: str, size: str, precision: str) -> list[str]:
    """The command line of one side."""
    return [sys.executable, str(HERE), "--child", kind, "--models", size, "--precision", precision]


def prepare(home: Path, tokens: int) -> Path:
    """A home in which an answer has that many ``tokens``."""
    paths = Paths.under(home)
    paths.create()
    paths.config_file.write_text(
        f"saved_context_mb = 0\n[sampling]\nmax_new_tokens = {tokens}\n", encoding="utf-8"
    )
    return home


def measure(size: str, options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Both sides of one model, by turns."""
    warm = Headless(
        command("headless", size, options.precision), prepare(home / "warm", WARM_TOKENS)
    )
    tokens = int(max(warm.turn(), warm.turn()) * options.seconds)
    warm.close()
    headless = Headless(
        command("headless", size, options.precision), prepare(home / "headless", tokens)
    )
    columns, rows = map(int, options.size.split("x"))
    app = OnScreen(
        command("app", size, options.precision), prepare(home / "app", tokens), columns, rows
    )
    pairs: list[tuple[float, float]] = []
    keys: list[float] = []
    try:
        for _ in range(options.rounds):
            alone = headless.turn()
            shown, waits = app.turn(typing=not options.no_typing)
            pairs.append((alone, shown))
            keys += waits
    finally:
        app.close()
        headless.close()
    kept = statistics.median(shown / alone for alone, shown in pairs)
    keys = keys or [0.0]
    return {
        "tokens": tokens,
        "headless_tok_s": round(statistics.median(alone for alone, _ in pairs), 2),
        "screen_tok_s": round(statistics.median(shown for _, shown in pairs), 2),
        "kept": round(kept, 4),
        "rounds": [round(shown / alone, 3) for alone, shown in pairs],
        "keys": len(keys),
        "key_median_ms": round(1000 * statistics.median(keys), 1),
        "key_p99_ms": round(1000 * percentile(keys, 0.99), 1),
        "key_max_ms": round(1000 * max(keys), 1),
        "kb_drawn": app.bytes_read // 1000,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["350M", "1.2B"])
    parser.add_argument("--precision", default="int4")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each answer, about")
    parser.add_argument("--size", default="120x36", help="columns and rows of the terminal")
    parser.add_argument("--no-typing", action="store_true", help="only the drawing")
    parser.add_argument("--child", choices=("app", "headless"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        run_child(options.child, options.models[0], options.precision)
        return 0
    print(f"{processor_name()}, {os.cpu_count()} threads, {options.size}")
    print("         headless     screen     kept    key median      p99   of keys")
    results: dict[str, Any] = {}
    for size in options.models:
        with tempfile.TemporaryDirectory() as home:
            one = results[size] = measure(size, options, Path(home))
        print(
            f"  {size:<6}{one['headless_tok_s']:8.1f}/s{one['screen_tok_s']:9.1f}/s"
            f"{one['kept']:9.1%}{one['key_median_ms']:11.1f} ms{one['key_p99_ms']:6.1f} ms"
            f"{one['keys']:10}"
        )
    kept = all(
        one["kept"] >= KEPT and one["key_p99_ms"] <= 1000 * MOST_KEY_S for one in results.values()
    )
    print(f"  at least {KEPT:.0%}, at most {1000 * MOST_KEY_S:.0f} ms: ", end="")
    print("kept" if kept else "NOT KEPT")
    print(json.dumps({"processor": processor_name(), "size": options.size, **results}))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
