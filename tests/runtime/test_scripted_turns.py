"""Turns whose tokens are written by the test: nothing said, memory that ends, and very many."""

import gc
import os
import threading
from pathlib import Path

import pytest
from scripted_engine import engine

from lfm2chat.chat.turns import MessageStatus
from lfm2chat.runtime.events import TurnFailed, TurnFinished
from lfm2chat.spec import FinishReason


@pytest.fixture
def scripted(monkeypatch, run_service):
    """A service of the guide that says what ``say`` of the last message gives."""

    def run(say):
        running = run_service()
        from lfm2chat.runtime import session  # after the worker has: it imports torch

        monkeypatch.setattr(session, "answer", engine(lambda messages: say(messages[-1].text)))
        return running

    return run


def test_an_answer_of_no_token_is_an_empty_answer_and_the_next_one_is_heard(scripted):
    running = scripted(lambda asked: [] if asked == "nothing" else ["so", "me"])
    empty = running.say("nothing")
    assert (empty.text, empty.status, empty.finish_reason) == (
        "",
        MessageStatus.DONE,
        FinishReason.STOP,
    )
    assert running.say("something", empty.conversation_id).text == "some"


def test_memory_that_ends_in_a_turn_ends_the_turn_alone(scripted):
    def say(asked):
        yield "a beginning"
        if asked == "too much":
            raise MemoryError

    running = scripted(say)
    turn = running.service.submit("too much")
    failed = running.finish(turn)
    assert isinstance(failed, TurnFailed)
    assert failed.message == "the memory is full"
    (conversation,) = running.service.conversations()
    asked, told = running.service.messages(conversation.id)
    assert (asked.text, told.text) == ("too much", "a beginning")
    assert told.status is MessageStatus.FAILED
    assert running.say("less", conversation.id).text == "a beginning"


def test_a_fault_of_the_engine_ends_the_turn_alone(scripted):
    def say(asked):
        if asked == "panic":
            raise BaseException("DefaultCPUAllocator")  # noqa: TRY002 - as a Rust panic comes
        yield "fine"

    running = scripted(say)
    assert isinstance(running.finish(running.service.submit("panic")), TurnFailed)
    assert running.say("calm").text == "fine"


def footprint() -> tuple[int, int, int]:
    """Resident bytes, open files and threads of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    size = os.sysconf("SC_PAGE_SIZE")
    return pages * size, len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("first", "tokens"),
    [(2_000, 20_000), pytest.param(100_000, 1_000_000, marks=pytest.mark.long)],
)
def test_nothing_grows_with_the_tokens(scripted, paths, first, tokens):
    words = [f"word{number} " for number in range(1000)]
    running = scripted(lambda _: words)
    conversation = None
    done, before = 0, (0, 0, 0)
    while done < tokens:
        # A conversation of ten turns at most: what grows is not its branch.
        if done % (10 * len(words)) == 0:
            conversation = None
        finished = running.finish(running.service.submit("go on", conversation_id=conversation))
        assert isinstance(finished, TurnFinished)
        conversation = finished.message.conversation_id
        running.events.clear()
        done += len(words)
        if done == first:
            before = footprint()
    resident, files, threads = footprint()
    # The promise is 5 % over the long run; a short one gives the allocator 16 MB to find its size.
    assert resident <= max(before[0] * 1.05, before[0] + (16 << 20))
    assert (files, threads) == before[1:]
    wal = paths.store.with_name(paths.store.name + "-wal")
    assert wal.stat().st_size <= 8 << 20
