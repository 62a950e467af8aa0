"""kill -9 in the middle of answers: nothing that was acknowledged is lost."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.paths import Paths
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store

CHILD = Path(__file__).with_name("answering_child.py")
BEHIND_S = 0.5
# The promise is half a second; a machine that runs other tests beside this one gets more.
GRACE_S = 4.5


def kill_once(paths: Paths, chance: random.Random) -> tuple[int, int]:
    """Run a child, kill it, check the store; gives how many messages and answers it had."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(CHILD)], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        lines: list[str] = []
        target = chance.randrange(2, 25)
        for line in child.stdout:
            lines.append(line)
            if len(lines) >= target:
                break
        time.sleep(chance.random() * 0.4)
        child.kill()
        killed_at = time.monotonic()
        lines += child.stdout.read().splitlines(keepends=True)
    assert len(lines) >= target, lines
    whole = [line.split() for line in lines if line.endswith("\n")]
    return check(paths, whole, killed_at)


def check(paths: Paths, lines: list[list[str]], killed_at: float) -> tuple[int, int]:
    acknowledged = [(int(line[1]), int(line[2])) for line in lines if line[0] == "ACK"]
    done = {int(line[1]): int(line[2]) for line in lines if line[0] == "DONE"}
    with Store.open(paths.store) as store:
        for user_id, assistant_id in acknowledged:
            assert store.message(user_id).text.endswith("of this process")
            answer = store.message(assistant_id)
            if assistant_id in done:
                assert answer.status is MessageStatus.DONE
                assert len(answer.text) == done[assistant_id]
        last = store.message(acknowledged[-1][1])
        if last.id not in done and last.status is not MessageStatus.DONE:
            assert last.status is MessageStatus.INTERRUPTED
            assert last.finish_reason is FinishReason.INTERRUPTED
            assert len(last.text) >= due(lines, killed_at)
    with sqlite3.connect(paths.store) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    return len(acknowledged), len(done)


def due(lines: list[list[str]], killed_at: float) -> int:
    """Characters of the last answer that were shown long enough before the kill."""
    start = max(i for i, line in enumerate(lines) if line[0] == "ACK")
    limit = killed_at - BEHIND_S - GRACE_S
    shown = [
        int(line[2]) for line in lines[start:] if line[0] == "SHOWN" and float(line[1]) < limit
    ]
    return max(shown, default=0)


def kill_many(paths: Paths, count: int, seed: int) -> None:
    chance = random.Random(seed)
    totals = [kill_once(paths, chance) for _ in range(count)]
    messages = sum(total[0] for total in totals)
    print(f"{count} kills, {messages} messages acknowledged, 0 lost")
    with Store.open(paths.store) as store:
        assert len(store.conversations()) >= messages
        assert not [c for c in store.conversations() if store.branch(c.id)[-1].status == "writing"]


def test_ten_kills_lose_nothing(paths):
    kill_many(paths, 10, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_hundred_kills_lose_nothing(paths):
    kill_many(paths, 100, seed=2)
