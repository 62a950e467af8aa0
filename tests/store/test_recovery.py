"""An answer belongs to the process that writes it, until that process is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.errors import StoreError
from lfm2chat.spec import FinishReason
from lfm2chat.store import Store
from lfm2chat.store.leases import WriterLease

CHILD = Path(__file__).with_name("writing_child.py")

posix = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and /proc")


@contextlib.contextmanager
def _child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.fixture
def writer() -> str:
    return str(WriterLease.of_this_process())


@posix
def test_answer_of_a_killed_process_is_interrupted_with_its_text(path):
    """The child is not reaped yet: a zombie has a number and a start time, and writes no more."""
    with _child(path, 1) as child:
        last = 0, 0
        for line in child.stdout:
            words = line.split()
            if words[0] == "flush":
                last = int(words[1]), int(words[2])
                break
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with Store.open(path) as store:
            message = store.message(last[0])
            assert message.status in (MessageStatus.INTERRUPTED, MessageStatus.DONE)
            assert len(message.text) >= last[1]
            writing = [m for c in store.conversations() for m in store.branch(c.id)]
            assert MessageStatus.WRITING not in {m.status for m in writing}


def test_answer_of_a_living_other_process_is_left_alone(path):
    with _child(path, 1) as child:
        # The first turn is acknowledged; the child streams on beside us.
        assert any(line.startswith("turn") for line in child.stdout)
        seen: set[MessageStatus] = set()
        for _ in range(5):
            with Store.open(path) as store:
                store.create_conversation(title="mine").result()
                tips = [store.message(c.tip_id) for c in store.conversations() if c.tip_id]
                seen |= {tip.status for tip in tips}
        assert MessageStatus.WRITING in seen
        assert MessageStatus.INTERRUPTED not in seen
        # It never got an error from our opening, writing and closing.
        assert child.poll() is None


def test_while_another_process_answers_in_a_conversation_nothing_is_said_in_it(path, finish):
    with Store.open(path) as store:
        conversation, _, assistant = store.begin_conversation("q", title="t", model="m").result()
        answers = [
            sys.executable,
            "-c",
            (
                "import sys; from pathlib import Path; from lfm2chat.store import Store\n"
                "store = Store.open(Path(sys.argv[1]))\n"
                "store.begin_turn(int(sys.argv[2]), 'from afar', model='m').result()\n"
                "print('begun', flush=True); sys.stdin.read(); store.close()"
            ),
            str(path),
        ]
        finish(store, assistant.id)
        with subprocess.Popen(
            [*answers, str(conversation.id)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            assert child.stdout.readline() == "begun\n"
            with pytest.raises(StoreError, match=f"process {child.pid}") as caught:
                store.begin_turn(conversation.id, "mine", model="m").result()
            assert "stop it there" in caught.value.hint
            store.begin_conversation("elsewhere I may", title="t", model="m").result()
            child.stdin.close()
        said = store.begin_turn(conversation.id, "mine", model="m").result()
        assert said[1].text == "mine"


def test_two_processes_write_one_store_at_once(path):
    with _child(path, 1, 40) as first, _child(path, 2, 40) as second:
        with Store.open(path) as store:
            for _ in range(40):
                store.create_conversation(title="mine").result()
        for child in (first, second):
            out, _ = child.communicate("")
            assert child.returncode == 0
            assert out.count("done") == 40
    with Store.open(path) as store:
        conversations = store.conversations()
        assert sum(c.title == "mine" for c in conversations) == 40
        assert sum(c.message_count for c in conversations) == 160
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_many_processes_make_one_store_at_once(path):
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(path, seed, 1)) for seed in range(6)]
        for child in children:
            out, _ = child.communicate("")
            assert child.returncode == 0
            assert "done" in out
    with Store.open(path) as store:
        assert sum(c.message_count for c in store.conversations()) == 12


def test_closing_marks_own_unfinished_answers_interrupted(path):
    store = Store.open(path)
    conversation, _, answer = store.begin_conversation("q", title="t", model="m").result()
    store.append_text(answer.id, "as far as ")
    store.append_text(answer.id, "this")
    store.close()
    with Store.open(path) as store:
        message = store.branch(conversation.id)[-1]
        assert message.text == "as far as this"
        assert message.status is MessageStatus.INTERRUPTED
        assert message.finish_reason is FinishReason.INTERRUPTED
        assert store.conversation(conversation.id) == conversation


def test_second_store_of_this_process_leaves_the_first_one_alone(store, path, finish):
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    with Store.open(path) as second:
        assert second.message(answer.id).status is MessageStatus.WRITING
    store.append_text(answer.id, "goes on").result()
    assert finish(store, answer.id).status is MessageStatus.DONE


def test_writer_that_was_taken_for_dead_can_finish_its_answer(store, finish):
    """From inside another container its process number means nothing."""
    _, _, answer = store.begin_conversation("q", title="t", model="m").result()
    store._writer.submit(
        lambda c: c.execute("UPDATE message SET writer = '999999999:1:x'")
    ).result()
    with Store.open(store.path) as other:
        assert other.message(answer.id).status is MessageStatus.INTERRUPTED
    assert finish(store, answer.id, "whole").text == "whole"
    assert store.message(answer.id).status is MessageStatus.DONE


@pytest.mark.parametrize("lease", ["", "nobody", "4194999:1:x", "-1:2:x", "²:1:x"])
def test_answer_without_a_living_writer_is_interrupted(path, lease):
    first = Store.open(path)
    _, _, answer = first.begin_conversation("q", title="t", model="m").result()
    for piece in ("half ", "an ", "answer \ud83d"):
        first.append_text(answer.id, piece).result()
    first._writer.submit(lambda c: c.execute("UPDATE message SET writer = ?", (lease,))).result()
    with Store.open(path) as store:
        message = store.message(answer.id)
        assert message.status is MessageStatus.INTERRUPTED
        assert message.text == "half an answer \ud83d"
    first.close()


def test_lease_survives_being_stored(writer):
    lease = WriterLease.parse(writer)
    assert str(lease) == writer
    assert lease.is_alive()
    assert lease.pid == os.getpid()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times from /proc")
def test_reused_process_number_is_not_the_writer(writer):
    lease = WriterLease.parse(writer)
    assert not WriterLease(lease.pid, str(int(lease.started) - 1), lease.instance).is_alive()


def test_two_stores_of_one_process_have_different_leases():
    assert WriterLease.of_this_process() != WriterLease.of_this_process()
