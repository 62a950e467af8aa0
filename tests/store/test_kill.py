"""SIGKILL at random moments loses nothing that was acknowledged (promises P1 to P3)."""

from __future__ import annotations

import contextlib
import os
import random
import runpy
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store

CHILD = Path(__file__).with_name("writing_child.py")
_child_names = runpy.run_path(str(CHILD))
answer_text, user_text = _child_names["answer_text"], _child_names["user_text"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


CHECK_ALL_EVERY = 20


@dataclass
class Acknowledged:
    """What the children said that the disk has."""

    lines: int = 0
    users: dict[int, tuple[int, str]] = field(default_factory=dict)  # conversation and text
    flushed: dict[int, int] = field(default_factory=dict)  # answer to characters
    done: dict[int, int] = field(default_factory=dict)

    def read(self, line: str) -> None:
        match line.split():
            case ["turn", conversation, user, assistant, label]:
                self.users[int(user)] = int(conversation), user_text(label)
                self.flushed[int(assistant)] = 0
            case ["flush", assistant, length]:
                self.flushed[int(assistant)] = int(length)
            case ["done", assistant, length]:
                self.done[int(assistant)] = int(length)
        self.lines += 1

    def add(self, other: Acknowledged) -> None:
        """Remember what ``other`` heard."""
        self.lines += other.lines
        self.users |= other.users
        self.flushed |= other.flushed
        self.done |= other.done


def _kill_once(path: Path, seed: int, draw: random.Random, heard: Acknowledged) -> None:
    """Start a child, read a random number of its lines, wait a little, kill it."""
    command = [sys.executable, str(CHILD), str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        if draw.random() < 0.1:
            time.sleep(draw.uniform(0, 0.15))  # while it starts, opens and recovers
        else:
            for _ in range(draw.randint(1, 80)):
                heard.read(child.stdout.readline())
            time.sleep(draw.uniform(0, 0.003))
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:  # said before it died
            heard.read(line)
    assert child.returncode == -signal.SIGKILL


def _check(store: Store, heard: Acknowledged) -> int:
    """Every acknowledged fact is there; returns how many answers were interrupted."""
    interrupted = 0
    for user, acknowledged in heard.users.items():
        message = store.message(user)
        assert (message.conversation_id, message.text) == acknowledged
    for assistant, length in heard.flushed.items():
        message = store.message(assistant)
        # Committed but not yet said: at most a little more than was acknowledged.
        assert message.text == answer_text(assistant, len(message.text))
        assert len(message.text) >= length
        if message.status is MessageStatus.INTERRUPTED:
            assert message.finish_reason is FinishReason.INTERRUPTED
            assert assistant not in heard.done
            interrupted += 1
        else:
            assert message.status is MessageStatus.DONE
            assert len(message.token_ids) == len(message.text) // 4
    for assistant, length in heard.done.items():
        assert store.message(assistant).status is MessageStatus.DONE
        assert len(store.message(assistant).text) == length
    return interrupted


def _kill_many(path: Path, kills: int) -> None:
    draw = random.Random(kills)
    heard = Acknowledged()
    for seed in range(kills):
        latest = Acknowledged()
        _kill_once(path, seed, draw, latest)
        heard.add(latest)
        with Store.open(path) as store:
            _check(store, latest)
            if seed % CHECK_ALL_EVERY == CHECK_ALL_EVERY - 1 or seed == kills - 1:
                # All that was ever said: after each kill that would grow with the square.
                interrupted = _check(store, heard)
            for conversation in store.conversations(limit=3):
                branch = store.branch(conversation.id)
                assert branch[-1].id == conversation.tip_id
                assert MessageStatus.WRITING not in {message.status for message in branch}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT count(*) FROM chunk").fetchone() == (0,)
        rows = connection.execute("SELECT count(*) FROM message").fetchone()[0]
    print(
        f"{kills} kills: {heard.lines} acknowledged commits, {len(heard.users)} turns, "
        f"{len(heard.done)} finished, {interrupted} interrupted, {rows} messages, 0 lost"
    )
    assert heard.users
    assert interrupted


def test_hundred_kills_lose_nothing_acknowledged(path):
    _kill_many(path, 100)


@pytest.mark.long
def test_thousand_kills_lose_nothing_acknowledged(path):
    _kill_many(path, 1000)
