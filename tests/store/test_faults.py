"""Writers killed at random, migrations killed at each statement, disks full at each commit."""

from __future__ import annotations

import contextlib
import os
import random
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lfm2chat.store import Store
from lfm2chat.store.migrations import NEWEST_VERSION

HERE = Path(__file__).parent
Acknowledged = runpy.run_path(str(HERE / "test_kill.py"))["Acknowledged"]
check = runpy.run_path(str(HERE / "test_kill.py"))["_check"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")

# Also what lies in chunks still: the first start that lives joins them.
MESSAGES = """
    SELECT id, CAST(text || coalesce((SELECT group_concat(text, '') FROM
        (SELECT text FROM chunk WHERE message_id = message.id ORDER BY seq)), '') AS BLOB)
    FROM message ORDER BY id
"""
MIGRATES_AND_DIES = textwrap.dedent("""
    import os, signal, sqlite3, sys
    from lfm2chat.store import Store, db

    left = int(sys.argv[2])

    def dies(statement):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = db._connect
    def traced(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(dies)
        return connection
    db._connect = traced
    from pathlib import Path
    Store.open(Path(sys.argv[1])).close()
""")


def _kill_pairs(path: Path, kills: int) -> None:
    """Two processes write one store; each time one of them is killed, and another begins."""
    draw = random.Random(kills)
    heard = Acknowledged()

    def begin(seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "writing_child.py"), str(path), str(seed)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def kill(child: subprocess.Popen[str]) -> None:
        child.send_signal(signal.SIGKILL)
        assert child.stdout is not None
        with child:
            for line in child.stdout:  # said before it died
                heard.read(line)

    pair = [begin(-1), begin(-2)]
    for seed in range(kills):
        at = draw.randrange(2)
        # The pipe of a child that is not read fills, and it waits: both are read.
        for child in pair:
            assert child.stdout is not None
            for _ in range(draw.randint(1, 40)):
                heard.read(child.stdout.readline())
        time.sleep(draw.uniform(0, 0.003))
        kill(pair[at])
        pair[at] = begin(seed)
    for child in pair:
        kill(child)
    with Store.open(path) as store:
        interrupted = check(store, heard)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM chunk").fetchone() == (0,)
    print(
        f"{kills} kills of one of two writers: {heard.lines} acknowledged commits, "
        f"{len(heard.users)} turns, {interrupted} interrupted, 0 lost, 0 integrity failures"
    )
    assert len(heard.users) >= kills // 2


def test_ten_kills_of_one_of_two_writers_lose_nothing_acknowledged(path):
    _kill_pairs(path, 10)


@pytest.mark.long
def test_thousand_kills_of_one_of_two_writers_lose_nothing_acknowledged(path):
    _kill_pairs(path, 1000)


def _kill_starts(tmp_path: Path, schema: int, every: int) -> None:
    """A released schema, brought up to date by a process that dies at its n-th statement."""
    dump = (HERE / "fixtures" / f"schema_{schema}.sql").read_text(encoding="utf-8")
    path = tmp_path / "x.db"
    killed, statement, newest = 0, 1, False
    while not newest:
        for name in tmp_path.iterdir():
            shutil.rmtree(name) if name.is_dir() else name.unlink()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(dump)
            before = connection.execute(MESSAGES).fetchall()
        command = [sys.executable, "-c", MIGRATES_AND_DIES, str(path), str(statement)]
        code = subprocess.run(command, check=False).returncode
        newest = code == 0
        killed += not newest
        statement += every
        assert code in (0, -signal.SIGKILL)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            assert version in (schema, NEWEST_VERSION)
            assert connection.execute(MESSAGES).fetchall() == before
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with Store.open(path) as store:
            kept = [*store.conversations(), *store.conversations(trashed=True)]
            assert kept
    print(f"schema {schema}: {killed} kills, at every {every}. statement of the start, 0 lost")
    assert killed * every > 20


SCHEMAS = range(1, NEWEST_VERSION)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_start_that_is_killed_at_a_statement_leaves_the_old_store_or_the_new_one(
    tmp_path, schema
):
    _kill_starts(tmp_path, schema, 11)


@pytest.mark.long
@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_start_that_is_killed_at_any_statement_leaves_the_old_store_or_the_new_one(
    tmp_path, schema
):
    _kill_starts(tmp_path, schema, 1)


def _fill_disks(tmp_path: Path, commits: int, *, size_mb: int) -> None:
    """``size_mb`` must hold what so many commits leave in the log: only ballast fills the disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    script = (
        f"mount -t tmpfs -o size={size_mb}m tmpfs '{folder}' && "
        f"exec '{sys.executable}' '{HERE / 'filling_child.py'}' '{folder}' {commits}"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], check=False, capture_output=True, text=True
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no file system of our own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    print(done.stdout.strip())


needs_namespaces = pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")


@needs_namespaces
def test_a_disk_that_fills_at_any_of_the_first_commits_loses_nothing(tmp_path):
    _fill_disks(tmp_path, 6, size_mb=2)


@pytest.mark.long
@needs_namespaces
def test_a_disk_that_fills_at_any_of_many_commits_loses_nothing(tmp_path):
    _fill_disks(tmp_path, 200, size_mb=24)
