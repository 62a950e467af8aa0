"""How soon does an answer stop, and how soon is the app gone when it is told to go?

    python benchmarks/stopping.py [--models guide 350M] [--presses 100] [--ends 10]

The real app in a real pseudo-terminal, over the real service, engine and store. The guide has its
own weights, the other models made-up ones of the published size, packed; each pass is the real
one, and only what is said is replaced, by numbered words: so an answer has no end of its own, and
of each word that was drawn it can be told whether it was saved.

Esc is pressed at some moment while an answer is written, and while a long prompt is read (not by
the guide: that has read any before a key is pressed). Measured from the key: until the service is
told (``asked``: Textual waits 100 ms for what may come after the byte of Esc), until the engine has
let go (no token comes after that), until the message is stored as stopped, until the screen says
so; and how many tokens came after the service was told. Then the app gets SIGTERM, SIGHUP, or its
terminal is closed, while an answer is written: until the process is gone, its exit code, and
whether all that was drawn is in the store.

The last line is one JSON object; ends with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pseudo_terminal import PATIENCE_S, Terminal, percentile
from screen import make_up, prepare, script

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.paths import Paths
from lfm2chat.spec import FinishReason
from lfm2chat.spec.installation import processor_name
from lfm2chat.store import Store

HERE = Path(__file__).resolve()
TOKENS = 20_000
WORDS = 10_000
PROMPT_CHARACTERS = 40_000
STOP, NEW = b"\x1b", b"\x0e"  # Esc; ctrl+n
PASTE = b"\x1b[200~%s\x1b[201~"
WORD = re.compile(r"w(\d{5})")
STYLE = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")
ENDS: dict[str, tuple[Callable[[Terminal], None], int]] = {
    "sigterm": (lambda terminal: terminal.signal(signal.SIGTERM), 143),
    "sighup": (lambda terminal: terminal.signal(signal.SIGHUP), 129),
    "closed": (Terminal.hang_up, 129),
}
MOST = {
    "ended_p95_ms": 150.0,
    "ended_p99_ms": 300.0,
    "tokens_after": 1.0,
    "gone_max_ms": 2000.0,
    "wrong_codes": 0.0,
    "unsaved": 0.0,
}


# --- the app's side -------------------------------------------------------------------------------


def numbered_words() -> str:
    """Words that each stand once, in paragraphs."""
    words = [f"w{number:05}" + ("\n\n" if number % 40 == 39 else " ") for number in range(WORDS)]
    return "".join(words)


def record_turns(path: Path) -> None:
    """Write down each turn's end: when a stop was asked for, when the engine let go, when it was
    stored, and how many tokens came after it was asked for.
    """
    from lfm2chat.runtime import ChatService
    from lfm2chat.runtime.recorder import TurnRecorder

    cancel, write, finish = ChatService.cancel, TurnRecorder.write, TurnRecorder.finish
    asked = [math.inf]
    written: list[float] = []

    def noted_cancel(service: ChatService, turn: int) -> None:
        asked[0] = time.monotonic()
        cancel(service, turn)

    def noted_write(recorder: TurnRecorder, text: str) -> None:
        written.append(time.monotonic())
        write(recorder, text)

    def noted_finish(recorder: TurnRecorder, answer: Any, **values: Any) -> None:
        ended, then = time.monotonic(), values.pop("then")
        count = answer.timing.generated_tokens
        # The last piece is the rest of the text, with no token of its own.
        after = sum(one > asked[0] for one in written[:count])
        line = {"asked": asked[0], "ended": ended, "tokens": count, "after": after}
        line["reason"] = answer.finish_reason
        asked[0] = math.inf
        written.clear()

        def committed(message: Any) -> None:
            line["stored"] = time.monotonic()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            then(message)

        finish(recorder, answer, then=committed, **values)

    ChatService.cancel = noted_cancel  # type: ignore[method-assign]
    TurnRecorder.write = noted_write  # type: ignore[method-assign]
    TurnRecorder.finish = noted_finish  # type: ignore[method-assign]


def run_child(size: str, precision: str) -> None:
    """The command `lfm2chat` on this terminal, with another model."""
    from lfm2chat.__main__ import main as run_command

    make_up(size, precision, numbered_words())
    record_turns(Paths.from_environment().store.parent / "turns")
    sys.argv = ["lfm2chat", "--model", "guide"]
    run_command()


# --- our side -------------------------------------------------------------------------------------


class App:
    """The app with the model ``size``, ready in a home of its own."""

    def __init__(self, size: str, options: argparse.Namespace, home: Path) -> None:
        self.paths = Paths.under(prepare(home, TOKENS))
        self._turns = self.paths.store.parent / "turns"
        self._turns.touch()
        columns, rows = map(int, options.size.split("x"))
        line = [sys.executable, str(HERE), "--child", "--models", size]
        line += ["--precision", options.precision]
        environment = {"LFM2CHAT_HOME": str(home)}
        self.terminal = Terminal(line, environment, columns=columns, rows=rows)
        self.terminal.wait_for("ready")
        self.terminal.synchronize()

    def say(self, text: bytes, *, until: str) -> bytes:
        """Say ``text`` in a new conversation and read until a match of ``until`` is drawn; all
        that was.
        """
        self.terminal.send(NEW)
        self.terminal.read_for(0.3)
        self.terminal.send(PASTE % text)
        self.terminal.read_for(0.1)
        self.terminal.send(b"\r")
        return self._read_until(until)

    def stop(self) -> dict[str, float] | None:
        """Press the key; milliseconds until each thing was done, None where the answer ended by
        itself before.
        """
        before = len(self._lines())
        pressed = time.monotonic()
        self.terminal.send(STOP)
        self._read_until("stopped|ready")
        shown = time.monotonic()
        while len(lines := self._lines()) == before:
            if time.monotonic() - pressed > PATIENCE_S:
                raise TimeoutError("the answer was not stored")
            self.terminal.read_for(0.05)
        turn = json.loads(lines[-1])
        if turn["reason"] != FinishReason.CANCELLED:
            return None
        times = {"asked": turn["asked"], "ended": turn["ended"], "stored": turn["stored"]}
        since = {name: 1000 * (at - pressed) for name, at in {**times, "shown": shown}.items()}
        return {**since, "tokens": turn["tokens"], "after": turn["after"]}

    def _read_until(self, pattern: str) -> bytes:
        data, deadline = b"", time.monotonic() + PATIENCE_S
        while not re.search(pattern.encode(), STYLE.sub(b"", data)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{pattern!r} was not drawn")
            data += self.terminal.read(0.05)
        return data

    def _lines(self) -> list[str]:
        return self._turns.read_text(encoding="utf-8").splitlines()


def stop_writing(app: App, presses: int) -> list[dict[str, float]]:
    """Stop that many answers, each some moment after its first words."""
    found = []
    for _ in range(presses):
        app.say(b"go on", until=r"w\d{5}")
        app.terminal.read_for(random.uniform(0.1, 0.8))
        found.append(app.stop())
    return [one for one in found if one is not None]


def stop_reading(app: App, presses: int) -> list[dict[str, float]]:
    """Stop that many times while a prompt is read that no other begins like."""
    found = []
    for number in range(presses):
        prompt = f"{number} {random.random()}\n{script()}"[:PROMPT_CHARACTERS]
        app.say(prompt.encode(), until=r"reading")
        app.terminal.read_for(random.uniform(0.1, 1.5))
        found.append(app.stop())
    return [one for one in found if one is not None and not one["tokens"]]


def summary_of(stops: Sequence[dict[str, float]]) -> dict[str, float]:
    """Medians and percentiles of what :meth:`App.stop` gave."""
    figures: dict[str, float] = {"presses": len(stops)}
    for name in ("asked", "ended", "stored", "shown"):
        values = [one[name] for one in stops]
        for share in (50, 95, 99):
            # What was not measured is not kept.
            value = percentile(values, share / 100) if values else math.inf
            figures[f"{name}_p{share}_ms"] = value
    figures["tokens_after"] = max((one["after"] for one in stops), default=math.inf)
    return figures


def end_app(size: str, way: str, options: argparse.Namespace) -> dict[str, float]:
    """Have the app end while an answer is written."""
    end, code = ENDS[way]
    with tempfile.TemporaryDirectory() as home:
        app = App(size, options, Path(home))
        try:
            drawn = app.say(b"go on", until=r"w\d{5}")
            drawn += app.terminal.read_for(random.uniform(0.2, 1.2))
            began = time.monotonic()
            end(app.terminal)
            ended, last = app.terminal.wait_for_end()
            gone = time.monotonic() - began
        finally:
            app.terminal.close()
        with Store.open(app.paths.store) as store:
            conversation = store.last_conversation()
            message = store.branch(conversation.id)[-1] if conversation else None
    text = message.text if message else ""
    shown = STYLE.sub(b"", drawn + last).decode(errors="replace")
    missing = set(WORD.findall(shown)) - set(WORD.findall(text))
    stored = message is not None and message.status is not MessageStatus.WRITING
    return {
        "gone_ms": 1000 * gone,
        "wrong_code": float(ended != code),
        "unsaved": len(missing) if stored else math.inf,
        "shown": len(set(WORD.findall(shown))),
    }


def measure_ends(size: str, way: str, options: argparse.Namespace) -> dict[str, float]:
    """Have the app end so often in one way."""
    runs = [end_app(size, way, options) for _ in range(options.ends)]
    gone = [one["gone_ms"] for one in runs]
    return {
        "ends": len(runs),
        "gone_median_ms": statistics.median(gone),
        "gone_max_ms": max(gone),
        "wrong_codes": sum(one["wrong_code"] for one in runs),
        "unsaved": sum(one["unsaved"] for one in runs),
        "words_shown": sum(one["shown"] for one in runs),
    }


def measure(size: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All of one model."""
    results: dict[str, dict[str, float]] = {}
    if options.presses:
        with tempfile.TemporaryDirectory() as home:
            app = App(size, options, Path(home))
            try:
                results["stop while it writes"] = summary_of(stop_writing(app, options.presses))
                if size != "guide":
                    found = stop_reading(app, options.presses)
                    results["stop while it reads"] = summary_of(found)
            finally:
                app.terminal.close()
    if options.ends:
        results |= {way: measure_ends(size, way, options) for way in ENDS}
    return {
        what: {name: round(value, 1) for name, value in figures.items()}
        for what, figures in results.items()
    }


def tell(results: dict[str, dict[str, float]]) -> bool:
    """Print what was measured of one model; whether every promise is kept."""
    kept = True
    for what, figures in results.items():
        print(f"  {what}")
        for name, value in figures.items():
            line = f"    {name:<18}{value:10.1f}"
            if name in MOST:
                kept_here = value <= MOST[name]
                kept &= kept_here
                line += f"  at most {MOST[name]:g}: {'kept' if kept_here else 'NOT KEPT'}"
            print(line)
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["guide", "350M"])
    parser.add_argument("--precision", default="int4")
    parser.add_argument("--presses", type=int, default=100, help="of the key, for each kind")
    parser.add_argument("--ends", type=int, default=10, help="of the app, in each way")
    parser.add_argument("--size", default="120x36", help="columns and rows of the terminal")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        run_child(options.models[0], options.precision)
        return 0
    random.seed(1)
    print(f"{processor_name()}, {os.cpu_count()} threads, load {os.getloadavg()[0]:.1f}")
    kept, results = True, {}
    for size in options.models:
        print(size)
        results[size] = measure(size, options)
        kept &= tell(results[size])
    print(json.dumps({"processor": processor_name(), **results}))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
