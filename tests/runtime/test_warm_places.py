"""Which messages need not be read again, told without anybody waiting for it."""

from __future__ import annotations

import time

from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.runtime.events import WarmPlaces
from lfm2chat.store.archive import Tree
from tests.runtime.conftest import GREEDY, QUESTIONS, Running


def _warm(running: Running, conversation: int) -> frozenset[int]:
    running.service.tell_warm(conversation)
    while (told := running.wait_for(WarmPlaces)).conversation_id != conversation:
        pass
    return told.message_ids


def _ids(running: Running, conversation: int) -> set[int]:
    return {message.id for message in running.service.messages(conversation)}


def test_after_each_turn_what_was_read_is_told_to_be_warm(run_service):
    running = run_service()
    for question in QUESTIONS[:2]:
        told = len(running.seen(WarmPlaces))
        last = running.store.last_conversation()
        answer = running.say(question, last and last.id, GREEDY)
        # Told by the model's thread, while the store's tells that the turn is over.
        while len(running.seen(WarmPlaces)) == told:
            running.next_event()
        assert running.seen(WarmPlaces)[-1] == WarmPlaces(
            answer.conversation_id, frozenset(_ids(running, answer.conversation_id))
        )


def test_the_branch_that_was_left_stays_warm(run_service):
    running = run_service()
    answer = running.begin()
    old = _ids(running, answer.conversation_id)
    question = running.service.messages(answer.conversation_id)[2]
    turn = running.service.branches.edit(
        answer.conversation_id, question.id, "And how do I export it?", sampling=GREEDY
    )
    running.finish(turn)
    new = _ids(running, answer.conversation_id)
    assert _warm(running, answer.conversation_id) == old | new


def test_what_is_on_disk_is_warm_after_a_restart(run_service, begun):
    running = run_service()
    assert _warm(running, begun.conversation_id) == _ids(running, begun.conversation_id)


def test_what_nobody_has_read_is_cold(run_service):
    running = run_service()
    messages = [
        Message(n + 1, 1, n or None, (Role.USER, Role.ASSISTANT)[n % 2], f"words {n}",
                MessageStatus.DONE, 1.0)
        for n in range(4)
    ]  # fmt: skip
    (added,) = running.store.add_conversations(
        [Tree(Conversation(1, "t", 1.0, 1.0, tip_id=4), tuple(messages))]
    ).result()
    assert _warm(running, added.id) == frozenset()
    asked = running.say(QUESTIONS[0], added.id, GREEDY)
    assert _warm(running, added.id) == _ids(running, added.id)
    # The same words in another conversation are as warm.
    forked = running.service.branches.fork(added.id, asked.id).result()
    assert _warm(running, forked.id) == _ids(running, forked.id)


def test_of_a_deleted_conversation_nothing_is_warm(run_service):
    running = run_service()
    answer = running.say(QUESTIONS[0], sampling=GREEDY)
    assert answer.id in _warm(running, answer.conversation_id)
    running.service.delete(answer.conversation_id).result()
    running.service.restore(answer.conversation_id).result()
    # What was told of the turn by itself, and for the question before, may still be on its way.
    told = [_warm(running, answer.conversation_id) for _ in range(3)]
    assert answer.id not in told[-1]


def test_telling_costs_no_rendering_after_a_turn(run_service, monkeypatch):
    running = run_service()
    answer = running.begin()
    template = running.service._worker._loading.memory.loaded.template
    rendered: list[int] = []
    build = type(template).build
    monkeypatch.setattr(
        type(template), "build", lambda *a, **k: rendered.append(1) or build(*a, **k)
    )
    started = time.monotonic()
    for _ in range(20):
        assert answer.id in _warm(running, answer.conversation_id)
    assert not rendered
    assert time.monotonic() - started < 10
