"""How fast is a store that has been used for years?

    python benchmarks/store.py [--messages 100000] [--rounds 20]

A real file with that many messages of about 100 words (drawn as words are in a language: few of
them often), in conversations of 50, one of them of 2,000. Printed are medians: opening the file,
the list, a long conversation, searches of several kinds, and the commit of one finished answer.
The last line is one JSON object; ends with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store
from lfm2chat.store.backups import back_up

LONG = 2_000
PER_CONVERSATION = 50
MOST_MS = {
    "the list": 100.0,
    "a conversation of 2,000": 50.0,
    "search: a rare word": 50.0,
    "search: a frequent word": 50.0,
    "search: two words": 50.0,
    "search: a phrase": 50.0,
    "search: while typing": 50.0,
    "search: a frequent beginning": 50.0,
}


def vocabulary(count: int) -> list[str]:
    """Words that look like words; the first ones are the frequent ones."""
    drawn = random.Random(1)
    parts = ["ka", "lo", "mi", "ten", "sur", "va", "el", "dro", "pin", "qua", "sho", "ber", "un"]
    words = {"".join(drawn.choices(parts, k=drawn.randint(2, 4))) for _ in range(4 * count)}
    return sorted(words, key=lambda word: (len(word), word))[:count]


def fill(path: Path, messages: int, words: Sequence[str]) -> int:
    """Write the messages in a few large transactions; the number of the long conversation."""
    Store.open(path).close()
    drawn = random.Random(2)
    weights = [1 / (rank + 2) for rank in range(len(words))]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    message, sizes = 0, [LONG]
    while sum(sizes) < messages:
        sizes.append(min(PER_CONVERSATION, messages - sum(sizes)))
    for number, size in enumerate(sizes, start=1):
        connection.execute(
            "INSERT INTO conversation (id, change, title, created_at, updated_at, tip_id) "
            "VALUES (?, ?, ?, 0, 0, ?)",
            (number, number, " ".join(drawn.choices(words, weights, k=5)), message + size),
        )
        for index in range(size):
            message += 1
            text = " ".join(drawn.choices(words, weights, k=drawn.randint(20, 180)))
            connection.execute(
                "INSERT INTO message (id, conversation_id, parent_id, role, status, created_at, "
                "text) VALUES (?, ?, ?, ?, 'done', 0, ?)",
                (message, number, message - 1 if index else None,
                 "assistant" if index % 2 else "user", text),
            )  # fmt: skip
    for name in ("message_search", "title_search"):
        connection.execute(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")
    connection.execute("COMMIT")
    connection.close()
    return 1


def median_ms(call: Callable[[], object], rounds: int) -> float:
    """Of ``rounds`` calls, after one that is not counted."""
    call()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def write_turn(store: Store, words: Sequence[str]) -> None:
    """One turn, begun and finished: two commits."""
    text = " ".join(random.choices(words, k=100))
    _, _, answer = store.begin_turn(2, text, model="guide").result()
    store.finish_message(
        answer.id, text=text, status=MessageStatus.DONE, finish_reason=FinishReason.STOP,
        token_ids=(), tokenizer_hash="", model="guide", sampling=None, seed=None, timing=None,
    ).result()  # fmt: skip


def measure(path: Path, messages: int, rounds: int) -> dict[str, float]:
    """Milliseconds for each thing."""
    words = vocabulary(20_000)
    long = fill(path, messages, words)
    figures = {"opening": median_ms(lambda: Store.open(path).close(), rounds)}
    with Store.open(path) as store:
        two = next(iter(store.branch(2))).text.split()
        searches = {
            "a rare word": (words[-1], False),
            "a frequent word": (words[0], False),
            "two words": (f"{words[3]} {words[4000]}", False),
            "a phrase": (f'"{two[4]} {two[5]}"', False),
            "while typing": (words[2000][:4], True),
            "a frequent beginning": (words[0][:2] + "*", False),
        }
        figures["the list"] = median_ms(store.conversations, rounds)
        figures["a conversation of 2,000"] = median_ms(lambda: store.branch(long), rounds)
        for name, (query, typing) in searches.items():
            call = lambda query=query, typing=typing: store.search(query, typing=typing)  # noqa: E731
            figures[f"search: {name}"] = median_ms(call, rounds)
        figures["a turn, two commits"] = median_ms(lambda: write_turn(store, words), rounds)
        figures["a copy"] = median_ms(lambda: back_up(path), 3)
    return {name: round(value, 2) for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data" / "conversations.db"
        figures = measure(path, options.messages, options.rounds)
        size = path.stat().st_size
    print(f"{options.messages:,} messages, {size / 1e6:.0f} MB, SQLite {sqlite3.sqlite_version}")
    for name, value in figures.items():
        bound = f"  at most {MOST_MS[name]:.0f}" if name in MOST_MS else ""
        print(f"  {name:<32}{value:9.1f} ms{bound}")
    broken = [name for name, most in MOST_MS.items() if figures[name] > most]
    print("kept" if not broken else f"NOT KEPT: {', '.join(broken)}")
    print(json.dumps({"messages": options.messages, "bytes": size, "ms": figures}))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
