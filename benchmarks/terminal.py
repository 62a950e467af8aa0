"""How does the screen hold up with a long conversation and a long answer?

    python benchmarks/terminal.py [--messages 2000] [--lines 5000] [--idle 60] [--size 120x36]

The real app on a real pseudo-terminal; instead of a model it has the tests' scripted service, which
writes 200 tokens per second, and a real store. Measured are, from the key to the end of the frame:
opening a conversation of that many messages of mixed Markdown (the frame with its end, and the
last one), typing while an answer streams, scrolling through the conversation by page and by wheel,
and jumps to its beginning and its end. Then the processor time of an idle minute, and of the
frames of an answer of that many lines (four minutes; ``--fast`` writes it at several times the
rate, each frame with as much more text): those of its first tenth and of its last. On a busy
machine the processor time says more than the time on the clock.

The last line is one JSON object; ends with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import itertools
import json
import math
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pseudo_terminal import CLEAR_LINE, PATIENCE_S, Terminal, percentile

from lfm2chat.chat.turns import Message
from lfm2chat.paths import Paths
from lfm2chat.spec import FinishReason
from lfm2chat.spec.installation import processor_name
from lfm2chat.store import Store

HERE = Path(__file__).resolve()
TOKENS_PER_S = 200.0
DELTAS_PER_S = 30.0
CHARACTERS_PER_TOKEN = 4
KEYS_PER_S = 8.0
SCROLLED_EVERY_S = 0.05
PAGE_UP, PAGE_DOWN, TO_BEGIN, TO_END = b"\x1b[5~", b"\x1b[6~", b"\x1b[1;5H", b"\x1b[1;5F"
WHEEL_UP, WHEEL_DOWN = b"\x1b[<64;60;12M", b"\x1b[<65;60;12M"
OPEN_NEXT, OPEN_PREVIOUS = b"\x1b[1;5B", b"\x1b[1;5A"
LAST = "the very last message"
FIRST = "the very first message"
MOST = {
    "opening_ms": 500.0,
    "key_p99_ms": 50.0,
    "page_p95_ms": 33.0,
    "wheel_p95_ms": 33.0,
    "idle_percent": 1.0,
    # A frame late in an answer may cost so many times what it does early.
    "late_to_early": 1.5,
}


def markdown() -> Iterator[str]:
    """Paragraphs, lists, tables and code without end, as different as those of a model."""
    drawn = random.Random(3)
    words = [
        "the",
        "model",
        "reads",
        "each",
        "message",
        "once",
        "and",
        "keeps",
        "what",
        "it",
        "has",
        "read",
        "for",
        "later",
        "use",
    ]

    def sentence(count: int) -> str:
        return " ".join(drawn.choices(words, k=count)).capitalize() + "."

    for number in itertools.count():
        yield f"## Part {number}\n\n{sentence(40)} **{sentence(4)}** {sentence(20)}\n\n"
        yield "".join(f"- `item_{one}` {sentence(9)}\n" for one in range(5)) + "\n"
        yield f"```python\ndef part_{number}(x: int) -> int:\n"
        yield "".join(f"    x += {one}  # {sentence(4)}\n" for one in range(6))
        yield "    return x\n```\n\n"
        yield "| name | value | note |\n|---|--:|---|\n"
        yield "".join(f"| a{one} | {one * number} | {sentence(3)} |\n" for one in range(4)) + "\n"
        yield f"> {sentence(15)}\n\n1. {sentence(8)}\n2. {sentence(8)}\n\n"


def fill(path: Path, messages: int) -> None:
    """A conversation of that many messages, and a short one that was used after it."""
    Store.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    parts = markdown()
    message = 0
    for number, count in enumerate((messages, 2), start=1):
        connection.execute(
            "INSERT INTO conversation (id, change, title, created_at, updated_at, tip_id) "
            "VALUES (?, ?, ?, 0, ?, ?)",
            (number, number, f"conversation {number}", number, message + count),
        )
        for index in range(count):
            message += 1
            text = "".join(itertools.islice(parts, 3)) if index % 2 else f"Question {index}?"
            text = FIRST if index == 0 and number == 1 else text
            text += LAST if index == count - 1 and number == 1 else ""
            connection.execute(
                "INSERT INTO message (id, conversation_id, parent_id, role, status, created_at, "
                "text) VALUES (?, ?, ?, ?, 'done', 0, ?)",
                (message, number, message - 1 if index else None,
                 "assistant" if index % 2 else "user", text),
            )  # fmt: skip
    connection.execute("COMMIT")
    connection.close()


# --- the app's side -------------------------------------------------------------------------------


def scripted_service() -> Any:
    """The service of the tests."""
    path = HERE.parents[1] / "tests" / "tui" / "conftest.py"
    spec = importlib.util.spec_from_file_location("lfm2chat_scripted_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses in it look for the module that they are of.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.ScriptedService


def writing_service(store: Store, *, fast: float) -> Any:
    """The tests' service, with what ``store`` holds, writing by the clock.

    An answer to a number has that many lines, and comes ``fast`` times as fast; another is written
    until it is stopped.
    """

    class Writing(scripted_service()):  # type: ignore[misc]
        """Writes in a thread, as a model does."""

        def __init__(self) -> None:
            super().__init__()
            # The branch says which message is the last. A turn that is accepted below another than
            # the conversation's own is taken for one aside, and is not shown.
            self.stored = {one.id: replace(one, tip_id=None) for one in store.conversations()}
            self._next = 1_000_000
            self._stopped = threading.Event()

        def messages(self, conversation_id: int) -> list[Message]:
            # Read each time, as the service does, but for what is said here.
            if conversation_id not in {one.id for one, _, _ in self.turns.values()}:
                self.branches[conversation_id] = store.branch(conversation_id)
            return super().messages(conversation_id)  # type: ignore[no-any-return]

        def submit(self, text: str, **options: Any) -> int:
            turn: int = super().submit(text, **options)
            self._stopped.clear()
            threading.Thread(target=self._write, args=(turn, text), daemon=True).start()
            return turn

        def cancel(self, turn: int) -> None:  # noqa: ARG002 - only one is written
            self._stopped.set()

        def _write(self, turn: int, text: str) -> None:
            lines = int(text) if text.isdecimal() else 0
            speed = TOKENS_PER_S * (fast if lines else 1.0)
            step = int(speed / DELTAS_PER_S * CHARACTERS_PER_TOKEN)
            left = written_in(step, lines)
            while not self._stopped.wait(1 / DELTAS_PER_S) and (piece := next(left, "")):
                self.say(turn, piece)
            stopped = self._stopped.is_set()
            self.finish(turn, FinishReason.CANCELLED if stopped else FinishReason.STOP)

    return Writing()


def written_in(step: int, lines: int) -> Iterator[str]:
    """Markdown in pieces of ``step`` characters: ``lines`` of it, or without end for 0."""
    buffer, done = "", 0
    for part in markdown():
        buffer, done = buffer + part, done + part.count("\n")
        while len(buffer) >= step:
            yield buffer[:step]
            buffer = buffer[step:]
        if lines and done >= lines:
            yield buffer
            return


def record_frames(path: Path) -> None:
    """Write down what each frame of an answer costs, in milliseconds of processor time."""
    from lfm2chat.tui.pace import Pace

    begin, end = Pace.begin, Pace.end
    began = [0.0]

    def timed_begin(pace: Pace) -> None:
        began[0] = time.thread_time()
        begin(pace)

    def timed_end(pace: Pace) -> None:
        cost = time.thread_time() - began[0]
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{1000 * cost:.3f}\n")
        end(pace)

    Pace.begin, Pace.end = timed_begin, timed_end  # type: ignore[method-assign]


def run_child(fast: float) -> None:
    """The app on this terminal."""
    from lfm2chat.settings import read_settings
    from lfm2chat.tui.app import SWITCH_S, Lfm2ChatApp

    paths = Paths.from_environment()
    store = Store.open(paths.store)
    record_frames(paths.store.parent / "frames")
    service = writing_service(store, fast=fast)

    def make(emit: Any) -> Any:
        service.emit = emit
        # As where a model is loaded: nothing looks for garbage in what is there by then.
        gc.freeze()
        return service

    sys.setswitchinterval(SWITCH_S)
    Lfm2ChatApp(make, paths=paths, settings=read_settings(paths.config_file)).run()
    store.close()


# --- our side -------------------------------------------------------------------------------------


def scroll(terminal: Terminal, keys: bytes, count: int) -> list[float]:
    """Press ``keys`` so often; the seconds until the end of the frame that came of each."""
    waits = []
    for _ in range(count):
        began = time.perf_counter()
        terminal.send(keys)
        terminal.frame(1.0)
        waits.append(time.perf_counter() - began)
        terminal.read_for(max(0.0, SCROLLED_EVERY_S - waits[-1]))
    return waits


def open_long(terminal: Terminal) -> dict[str, float]:
    """Open the long conversation, several times."""
    shown, last, cost = [], [], []
    for _ in range(5):
        before = terminal.cpu_s()
        terminal.send(OPEN_NEXT)
        one, other = terminal.until_quiet(LAST, 0.7)
        shown.append(one)
        last.append(other)
        cost.append(terminal.cpu_s() - before)
        terminal.send(OPEN_PREVIOUS)
        terminal.read_for(1.0)
    terminal.send(OPEN_NEXT)
    terminal.until_quiet(LAST, 0.7)
    return {
        "opening_shown_ms": 1000 * statistics.median(shown),
        "opening_ms": 1000 * statistics.median(last),
        "opening_cpu_ms": 1000 * statistics.median(cost),
    }


def scroll_long(terminal: Terminal, pages: int) -> dict[str, float]:
    """Up and down by page and by wheel, then jumps."""
    figures: dict[str, float] = {}
    for name, up, down, count in (
        ("page", PAGE_UP, PAGE_DOWN, pages),
        ("wheel", WHEEL_UP, WHEEL_DOWN, 2 * pages),
    ):
        before = terminal.cpu_s()
        waits = scroll(terminal, up, count) + scroll(terminal, down, count)
        figures[f"{name}_p50_ms"] = 1000 * percentile(waits, 0.5)
        figures[f"{name}_p95_ms"] = 1000 * percentile(waits, 0.95)
        figures[f"{name}_max_ms"] = 1000 * max(waits)
        figures[f"{name}_cpu_ms"] = 1000 * (terminal.cpu_s() - before) / len(waits)
        terminal.send(TO_END)
        terminal.read_for(1.0)
    figures["scrolled_mb"] = terminal.memory_mb()
    for name, keys, text in (("begin", TO_BEGIN, FIRST), ("end", TO_END, LAST)):
        terminal.send(keys)
        figures[f"to_{name}_ms"] = 1000 * terminal.until_quiet(text, 0.5)[0]
    return figures


def type_while_streaming(terminal: Terminal, count: int) -> dict[str, float]:
    """Keys into the prompt while an answer comes."""
    terminal.send(b"go on\r")
    terminal.read_for(1.5)
    before, began = terminal.cpu_s(), time.monotonic()
    waits = [terminal.type_key(1 / KEYS_PER_S) for _ in range(count)]
    share = (terminal.cpu_s() - before) / (time.monotonic() - began)
    terminal.send(b"\x1b")
    # Together they would be one key.
    terminal.read_for(1.0)
    terminal.send(CLEAR_LINE)
    terminal.read_for(1.0)
    return {
        "key_p50_ms": 1000 * percentile(waits, 0.5),
        "key_p99_ms": 1000 * percentile(waits, 0.99),
        "streaming_percent": 100 * share,
    }


def stream_long(terminal: Terminal, frames: Path, lines: int) -> dict[str, float]:
    """An answer of ``lines``: what its frames cost."""
    frames.write_text("")
    before = terminal.memory_mb()
    terminal.send(f"{lines}\r".encode())
    # The answer begins when what was written before has ended.
    deadline = time.monotonic() + PATIENCE_S
    while not frames.read_text() and time.monotonic() < deadline:
        terminal.read_for(0.5)
    count = -1
    costs: list[str] = []
    while len(costs) != count:
        count = len(costs)
        terminal.read_for(2.0)
        costs = frames.read_text().split()
    each = list(map(float, costs))
    if not each:
        # What else was measured is still worth something.
        return {"frames": 0}
    tenth = max(1, len(each) // 10)
    early, late = statistics.median(each[:tenth]), statistics.median(each[-tenth:])
    return {
        "frames": len(each),
        "frame_early_cpu_ms": early,
        "frame_late_cpu_ms": late,
        "late_to_early": late / early,
        "answer_mb": terminal.memory_mb() - before,
    }


def measure(options: argparse.Namespace, home: Path) -> dict[str, float]:
    """All of it, in one run of the app."""
    paths = Paths.under(home)
    paths.create()
    fill(paths.store, options.messages)
    columns, rows = map(int, options.size.split("x"))
    command = [sys.executable, str(HERE), "--child", "--fast", str(options.fast)]
    terminal = Terminal(command, {"LFM2CHAT_HOME": str(home)}, columns=columns, rows=rows)
    try:
        terminal.wait_for("ready")
        terminal.synchronize()
        figures = open_long(terminal)
        figures["opened_mb"] = terminal.memory_mb()
        figures |= scroll_long(terminal, options.pages)
        before, began = terminal.cpu_s(), time.monotonic()
        terminal.read_for(options.idle)
        idle_s = time.monotonic() - began
        figures["idle_percent"] = 100 * (terminal.cpu_s() - before) / idle_s
        figures |= type_while_streaming(terminal, options.keys)
        figures |= stream_long(terminal, paths.store.parent / "frames", options.lines)
    finally:
        terminal.close()
    return {name: round(value, 2) for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--lines", type=int, default=5_000, help="of the long answer")
    parser.add_argument("--fast", type=float, default=1.0, help="times the rate, for that answer")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds")
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--pages", type=int, default=60, help="to scroll up, and down again")
    parser.add_argument("--size", default="120x36", help="columns and rows of the terminal")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        run_child(options.fast)
        return 0
    print(f"{processor_name()}, {os.cpu_count()} threads, {options.size}, ", end="")
    print(f"{options.messages:,} messages, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        figures = measure(options, Path(home))
    for name, value in figures.items():
        bound = f"  at most {MOST[name]:g}" if name in MOST else ""
        print(f"  {name:<22}{value:10.1f}{bound}")
    # What was not measured is not kept.
    broken = [name for name, most in MOST.items() if not figures.get(name, math.inf) <= most]
    print("kept" if not broken else f"NOT KEPT: {', '.join(broken)}")
    print(json.dumps({"processor": processor_name(), "size": options.size, **figures}))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
