"""One thread, one transaction per operation, and a full disk that passes."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from lfm2chat.errors import DiskFullError, StoreError
from lfm2chat.store import Store
from lfm2chat.store.writer import CHECKPOINT_BYTES, QUIET_S


def test_writes_run_in_order_on_one_named_thread(store):
    names = [store._writer.submit(lambda _: threading.current_thread().name) for _ in range(3)]
    assert {name.result() for name in names} == {"lfm2chat-store"}
    made = [store.create_conversation(title=str(n)) for n in range(50)]
    assert [f.result().id for f in made] == sorted(f.result().id for f in made)


def test_writes_from_many_threads_all_arrive(store):
    def write() -> None:
        for _ in range(20):
            store.create_conversation(title="t").result()
            store.conversations(limit=1)

    threads = [threading.Thread(target=write) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.conversations()) == 100


def test_future_is_done_only_after_the_commit(store, path):
    """Another connection sees the row as soon as the callback runs."""
    seen: list[int] = []

    def look(_: object) -> None:
        with contextlib.closing(sqlite3.connect(path)) as other:
            seen.append(other.execute("SELECT count(*) FROM conversation").fetchone()[0])

    future = store.create_conversation(title="t")
    future.add_done_callback(look)
    future.result()
    store.create_conversation(title="after the callback").result()
    assert seen[0] >= 1


def test_failed_operation_is_rolled_back_and_the_thread_lives_on(store):
    def half(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO conversation (change, title, created_at, updated_at) VALUES (1, 'x', 0, 0)"
        )
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        store._writer.submit(half).result()
    assert store.conversations() == []
    assert store.create_conversation(title="after").result().id == 1


def test_queued_write_cannot_be_cancelled(store):
    """An `await` that is cancelled cancels the future behind it: the text would be gone."""
    gate = threading.Event()
    store._writer.submit(lambda _: gate.wait())
    future = store.create_conversation(title="kept")
    assert not future.cancel()
    gate.set()
    assert future.result().title == "kept"


def test_close_writes_what_is_queued(path):
    store = Store.open(path)
    futures = [store.create_conversation(title=str(n)) for n in range(100)]
    store.close()
    assert all(future.done() for future in futures)
    with Store.open(path) as again:
        assert len(again.conversations()) == 100


def test_closed_store_answers_with_an_error_and_closes_twice(path):
    store = Store.open(path)
    store.conversations()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed already"):
        store.create_conversation(title="late").result()
    with pytest.raises(StoreError, match="closed already"):
        store.conversations()


def test_close_leaves_one_file_and_no_thread(path):
    with Store.open(path) as store:
        store.create_conversation(title="t").result()
        store.conversations()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert "lfm2chat-store" not in {thread.name for thread in threading.enumerate()}


def test_connections_of_ended_threads_are_closed(store):
    for _ in range(5):
        thread = threading.Thread(target=store.conversations)
        thread.start()
        thread.join()
    store.conversations()
    assert len(store._readers._of_thread) == 1


def _limit_pages(store: Store, extra: int | None) -> None:
    """Let SQLite itself answer SQLITE_FULL: the file may have ``extra`` more pages."""

    def limit(connection: sqlite3.Connection) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={2**31 if extra is None else used + extra}")

    store._writer.submit(limit).result()


def test_full_disk_is_an_error_of_the_write_and_passes_with_space(store, finish):
    conversation, _, answer = store.begin_conversation("q", title="t", model="m").result()
    store.append_text(answer.id, "kept").result()
    _limit_pages(store, 0)
    with pytest.raises(DiskFullError) as caught:
        store.append_text(answer.id, "x" * 100_000).result()
    assert "free some space" in caught.value.hint
    with pytest.raises(DiskFullError):
        finish(store, answer.id, "y" * 100_000)
    assert store.branch(conversation.id)[-1].text == "kept"
    _limit_pages(store, None)
    assert finish(store, answer.id, "y" * 100_000).text == "y" * 100_000


def test_write_lock_of_another_program_is_an_error_that_passes(store, path):
    # One statement cannot change the timeout of a transaction that waits; this one is before it.
    store._writer.submit(lambda c: c.execute("PRAGMA busy_timeout=20").fetchone()).result()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program keeps"):
            store.create_conversation(title="t").result()
        assert store.conversations() == []
        other.execute("ROLLBACK")
    assert store.create_conversation(title="t").result().title == "t"


@pytest.mark.parametrize("replace", [False, True], ids=["removed", "replaced"])
def test_file_that_lost_its_name_takes_no_more_writes(path, replace):
    """SQLite would go on writing into it, and say that all is well."""
    with Store.open(path) as store:
        store.create_conversation(title="t").result()
        path.rename(path.with_name("elsewhere.db"))
        if replace:
            path.write_bytes(b"")
        with pytest.raises(StoreError, match="removed or replaced"):
            store.create_conversation(title="t").result()


def test_long_log_is_moved_into_the_database(store, path):
    wal = Path(f"{path}-wal")
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    longest = 0
    for _ in range(12):
        store.append_text(answer.id, "x" * (CHECKPOINT_BYTES // 8)).result()
        longest = max(longest, wal.stat().st_size)
    store.create_conversation(title="waits for the checkpoint").result()
    assert longest < 2 * CHECKPOINT_BYTES
    assert path.stat().st_size >= CHECKPOINT_BYTES
    assert len(store.message(answer.id).text) == 12 * (CHECKPOINT_BYTES // 8)


def test_reader_that_stays_delays_no_checkpoint_for_ever(store, path):
    """A busy checkpoint is tried again later; the writes go on."""
    store._writer.submit(lambda c: c.execute("PRAGMA busy_timeout=20").fetchone()).result()
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM chunk").fetchall()
        for _ in range(12):
            store.append_text(answer.id, "x" * (CHECKPOINT_BYTES // 8)).result()
    assert len(store.message(answer.id).text) == 12 * (CHECKPOINT_BYTES // 8)


def test_work_for_a_quiet_time_waits_until_nothing_is_written(store):
    order: list[str] = []
    quiet = store._writer.submit_when_quiet(lambda _: order.append("quiet"))
    end = time.monotonic() + 1.5 * QUIET_S
    while time.monotonic() < end:
        store._writer.submit(lambda _: order.append("write")).result()
        time.sleep(QUIET_S / 8)
    assert "quiet" not in order
    quiet.result(timeout=10 * QUIET_S)
    assert order[-1] == "quiet"


def test_writes_go_on_at_once_while_work_waits_for_a_quiet_time(store):
    waiting = store._writer.submit_when_quiet(lambda _: None)
    started = time.monotonic()
    store.create_conversation(title="t").result()
    assert time.monotonic() - started < QUIET_S
    assert not waiting.done()


def test_work_that_is_cancelled_while_it_waits_is_not_done_and_ends_nothing(store):
    done: list[str] = []
    cancelled = store._writer.submit_when_quiet(lambda _: done.append("cancelled"))
    assert cancelled.cancel()
    store._writer.submit_when_quiet(lambda _: done.append("kept")).result(10 * QUIET_S)
    assert done == ["kept"]
    store.create_conversation(title="t").result(10 * QUIET_S)


def test_closing_cancels_what_waits_for_a_quiet_time(path):
    with Store.open(path) as store:
        waiting = store._writer.submit_when_quiet(lambda _: None)
    assert waiting.cancelled()
    assert store._writer.submit_when_quiet(lambda _: None).cancelled()
