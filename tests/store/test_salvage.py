"""A damaged store is set aside, never deleted, and what can be read of it comes back."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lfm2chat.errors import StoreError
from lfm2chat.store import Store
from lfm2chat.store.backups import back_up
from lfm2chat.store.salvage import _rows, _tolerant


def _fill(path: Path, conversations: int, words: int = 60) -> None:
    draw = random.Random(1)
    with Store.open(path) as store:

        def fill(connection: sqlite3.Connection) -> None:
            for number in range(1, conversations + 1):
                connection.execute(
                    "INSERT INTO conversation (id, change, title, created_at, updated_at, tip_id) "
                    "VALUES (?, ?, ?, 1, 1, ?)",
                    (number, number, f"title {number}", number * 20),
                )
                for at in range(20):
                    text = " ".join(f"w{draw.randrange(5000)}" for _ in range(words))
                    parent = (number - 1) * 20 + at if at else None
                    connection.execute(
                        "INSERT INTO message (conversation_id, parent_id, role, status, "
                        "created_at, text) VALUES (?, ?, ?, 'done', 1, ?)",
                        (number, parent, ("user", "assistant")[at % 2], text),
                    )

        store._writer.submit(fill).result()


OPENS = """
import sys
from pathlib import Path
from lfm2chat.store import Store
with Store.open(Path(sys.argv[1])) as store:
    print(len(store.conversations()))
"""


def _aside(path: Path) -> list[Path]:
    found = sorted(path.parent.glob(f"{path.name}.corrupt-*"))
    return [one for one in found if not one.name.endswith(("-wal", "-shm"))]


def _counts(store: Store) -> tuple[int, int]:
    conversations = store.conversations()
    return len(conversations), sum(one.message_count for one in conversations)


@pytest.mark.parametrize("content", [os.urandom(20_000), b"hello", b"# notes\n" * 500])
def test_file_that_is_no_database_is_set_aside_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with Store.open(path) as store:
        assert store.create_conversation(title="t").result().id == 1
        assert "0 conversations" in store.notice.message
    (aside,) = _aside(path)
    assert str(aside) in store.notice.hint
    assert aside.read_bytes() == content
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600 or os.name != "posix"
    with Store.open(path) as store:
        assert store.notice is None


def test_half_a_store_gives_back_its_half(path):
    _fill(path, 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 512 * 512])
    content = path.read_bytes()
    with Store.open(path) as store:
        conversations, messages = _counts(store)
        assert 0 < messages < 1200
        assert f"{messages} messages" in store.notice.message
        for one in store.conversations():
            store.branch(one.id)
        store.begin_conversation("more", title="more", model="m").result()
    assert [one.read_bytes() for one in _aside(path)] == [content]
    assert conversations > 0


@pytest.mark.parametrize("seed", range(6))
def test_scribbles_cost_only_what_they_hit(path, seed):
    _fill(path, 60)
    draw = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(50):
        at = draw.randrange(4096, len(content) - 512)
        content[at : at + 512] = draw.randbytes(512)
    path.write_bytes(content)
    with contextlib.closing(_tolerant(path)) as source:
        readable = sum(1 for row in _rows(source, "message", "id", 1200))
    with Store.open(path) as store:
        conversations, messages = _counts(store)
        if store.notice is None:
            assert conversations == 60
        else:
            # A row that reads but says what no row says is none.
            assert readable - 60 <= messages <= 1200
            assert [one.read_bytes() for one in _aside(path)] == [bytes(content)]
            for one in store.conversations():
                store.branch(one.id)
        store.begin_conversation("more", title="more", model="m").result()


def test_copy_takes_the_place_of_a_store_that_nothing_can_be_read_of(path):
    _fill(path, 3)
    copy = back_up(path)
    path.write_bytes(os.urandom(path.stat().st_size))
    with Store.open(path) as store:
        assert _counts(store) == (3, 60)
        assert copy.name in store.notice.message
    assert copy.exists()


def test_log_goes_aside_with_its_file(path):
    _fill(path, 3)
    path.write_bytes(os.urandom(20_000))
    Path(f"{path}-wal").write_bytes(b"log" * 100)
    with Store.open(path) as store:
        assert _counts(store) == (0, 0)
    (aside,) = _aside(path)
    assert Path(f"{aside}-wal").read_bytes() == b"log" * 100


def test_garbage_for_a_log_shows_the_last_full_commits(path):
    _fill(path, 3)
    Path(f"{path}-wal").write_bytes(os.urandom(50_000))
    with Store.open(path) as store:
        assert _counts(store) == (3, 60)
        assert store.notice is None


def test_other_programs_damaged_database_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA application_id=77")
        other.execute("CREATE TABLE x (y)")
        other.execute("INSERT INTO x VALUES (zeroblob(50000))")
        other.commit()
    path.write_bytes(path.read_bytes()[:8192])
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"damaged|another program"):
        Store.open(path)
    assert path.read_bytes() == content
    assert _aside(path) == []


def test_two_processes_that_start_at_once_set_it_aside_once(path):
    _fill(path, 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 512 * 512])
    command = [
        sys.executable, "-c",
        OPENS,
        str(path),
    ]  # fmt: skip
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert len(_aside(path)) == 1


def test_large_damaged_store_opens_soon(path, capsys):
    _fill(path, 1100)
    size = path.stat().st_size
    os.truncate(path, size // 2 // 4096 * 4096)
    began = time.monotonic()
    with Store.open(path) as store:
        took = time.monotonic() - began
        assert _counts(store)[1] > 0
    with capsys.disabled():
        print(f" {size / 1e6:.0f} MB, cut to half, opened in {took:.1f} s", end="")
