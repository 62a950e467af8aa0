"""Fills the disk under a store at each commit in turn; run inside a mount namespace of its own.

    python filling_child.py FOLDER COMMITS

FOLDER is a small file system of its own. For each number of commits up to COMMITS a new store
takes so many, then the disk is filled to its last byte and one more commit is tried until it is
refused; with space again it must go through. Prints one line of figures.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path

from lfm2chat.errors import DiskFullError
from lfm2chat.store import Store


def fill(ballast: Path) -> None:
    """Take every byte that is free."""
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def refused_at(store: Store, said: list[str]) -> int:
    """Commit until the disk refuses; how many commits went through before."""
    for done in range(1000):
        text = f"question {len(said)} " + "long " * 200
        try:
            store.begin_conversation(text, title="t", model="m").result()
        except DiskFullError:
            return done
        said.append(text)
    raise AssertionError("a full disk never refused")


def main() -> None:
    folder, commits = Path(sys.argv[1]), int(sys.argv[2])
    refusals = kept = 0
    for before in range(commits):
        path, ballast = folder / "x.db", folder / "ballast"
        said: list[str] = []
        with Store.open(path) as store:
            for _ in range(before):
                text = f"question {len(said)}"
                store.begin_conversation(text, title="t", model="m").result()
                said.append(text)
            fill(ballast)
            refused_at(store, said)
            refusals += 1
            # What is on the disk can be read while the disk is full.
            assert len(store.conversations(limit=10_000)) == len(said)
            ballast.unlink()
            store.begin_conversation("after", title="t", model="m").result()
            said.append("after")
        with Store.open(path) as store:
            found = [
                store.branch(conversation.id)[0].text
                for conversation in store.conversations(limit=10_000)
            ]
        assert sorted(found) == sorted(said)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept += len(said)
        for file in folder.iterdir():
            file.unlink()
    print(f"{refusals} full disks, {kept} commits acknowledged, 0 lost, 0 integrity failures")


if __name__ == "__main__":
    main()
