"""A conversation as a tree, through the real service and the guide: what is read, what is kept."""

from __future__ import annotations

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.errors import StoreError, UsageError
from lfm2chat.runtime.events import (
    ConversationChanged,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.spec import FinishReason, SamplingParams
from tests.runtime.conftest import GREEDY, QUESTIONS, Running

# What is read again after going back: the convolutions of the guide reach so far.
AGAIN = 24
# So hot that the guide never finds its end token.
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=1500, seed=1)
HOT = {"temperature": 3.0, "min_p": 0.0, "max_new_tokens": 48}


@pytest.fixture
def running(run_service) -> Running:
    return run_service(precision="float32")


def _finished(running: Running, turn: int) -> Message:
    finished = running.finish(turn)
    assert isinstance(finished, TurnFinished), finished
    return finished.message


def _read(message: Message) -> int:
    return message.timing.prompt_tokens - message.timing.cached_tokens


def _shown(running: Running, conversation: int) -> list[int]:
    return [message.id for message in running.service.messages(conversation)]


def test_an_edited_question_is_a_sibling_and_only_what_changed_is_read(running):
    answer = running.begin()
    conversation = answer.conversation_id
    first, _, old, _ = running.service.messages(conversation)

    turn = running.service.branches.edit(
        conversation, old.id, "And how do I export it?", sampling=GREEDY
    )
    edited = _finished(running, turn)

    accepted = running.seen(TurnAccepted)[-1]
    assert accepted.user.text == "And how do I export it?"
    assert accepted.user.parent_id == old.parent_id
    assert _read(edited) <= AGAIN + len("And how do I export it?")
    assert running.service.branches.siblings(conversation) == {
        first.id: (first.id,),
        first.id + 1: (first.id + 1,),
        accepted.user.id: (old.id, accepted.user.id),
        edited.id: (edited.id,),
    }


def test_an_edited_first_question_begins_anew_and_keeps_its_files(running):
    turn = running.service.submit("What is in it?", attachments=[Attachment("a.txt", "a zebra")])
    old = _finished(running, turn)
    (question, _) = running.service.messages(old.conversation_id)

    turn = running.service.branches.edit(old.conversation_id, question.id, "What else?")
    _finished(running, turn)

    (edited, _) = running.service.messages(old.conversation_id)
    assert (edited.parent_id, edited.text) == (None, "What else?")
    assert edited.attachments == question.attachments


def test_regenerating_reads_almost_nothing_and_greedily_says_the_same(running):
    old = running.say(QUESTIONS[0], sampling=GREEDY)
    (turn,) = running.service.branches.regenerate(old.conversation_id, old.id, sampling=GREEDY)
    new = _finished(running, turn)

    assert (new.parent_id, new.text) == (old.parent_id, old.text)
    assert _read(new) <= AGAIN
    assert _shown(running, old.conversation_id) == [old.parent_id, new.id]


def test_several_answers_are_written_together_and_the_first_is_shown(running):
    old = running.say(QUESTIONS[0], sampling=GREEDY)
    turns = running.service.branches.regenerate(
        old.conversation_id, old.parent_id, sampling=GREEDY, count=3
    )
    with pytest.raises(UsageError, match="still being answered"):
        running.service.branches.regenerate(old.conversation_id, old.id)
    answers = {}
    while len(answers) < 3:
        finished = running.wait_for(TurnFinished)
        answers[finished.turn] = finished.message

    assert set(answers) == set(turns)
    assert running.service.turns_of(old.conversation_id) == ()
    assert [answers[turn].text for turn in turns] == [old.text] * 3
    siblings = running.service.branches.siblings(old.conversation_id)
    first, second, third = (answers[turn].id for turn in turns)
    assert siblings[first] == (old.id, first, second, third)
    assert _shown(running, old.conversation_id)[-1] == first


def _again(running: Running, old: Message, sampling: SamplingParams, count: int) -> list[Message]:
    """So many answers to the same question, in the order of their turns."""
    turns = running.service.branches.regenerate(
        old.conversation_id, old.id, sampling=sampling, count=count
    )
    answers = {}
    while len(answers) < count:
        finished = running.wait_for(TurnFinished)
        answers[finished.turn] = finished.message
    return [answers[turn] for turn in turns]


def test_answers_at_once_with_a_locked_seed_differ_and_come_again(running):
    hot = SamplingParams(**HOT, seed=7)
    old = running.say(QUESTIONS[0], sampling=hot)
    first = _again(running, old, hot, 3)
    second = _again(running, old, hot, 3)

    assert [answer.seed for answer in first] == [7, 8, 9]
    assert [answer.sampling.seed for answer in first] == [7, 8, 9]
    assert first[0].text == old.text
    assert len({answer.text for answer in first}) == 3
    assert [answer.text for answer in second] == [answer.text for answer in first]
    # What is stored with an answer makes it again, alone.
    (alone,) = _again(running, old, first[2].sampling, 1)
    assert (alone.text, alone.seed) == (first[2].text, 9)


def test_answers_at_once_with_a_seed_of_the_settings_differ_too(run_service):
    running = run_service(precision="float32", sampling={**HOT, "seed": 7})
    old = running.say(QUESTIONS[0], sampling=GREEDY)
    answers = _again(running, old, None, 2)
    assert [answer.seed for answer in answers] == [7, 8]
    assert answers[0].text != answers[1].text


@pytest.mark.parametrize("count", [0, 9])
def test_as_many_answers_as_nobody_wants_are_refused(running, count):
    old = running.say(QUESTIONS[0], sampling=GREEDY)
    with pytest.raises(UsageError, match="answers at once"):
        running.service.branches.regenerate(old.conversation_id, old.id, count=count)
    assert running.service.turn_of(old.conversation_id) is None


def _cut(running: Running, tokens: int) -> Message:
    """An answer that ended before its time."""
    return running.say(QUESTIONS[0], sampling=GREEDY.changed(max_new_tokens=tokens))


def test_a_continued_answer_is_the_one_that_nobody_cut_and_nothing_of_it_is_read_again(running):
    whole = running.say(QUESTIONS[0], sampling=GREEDY)
    cut = _cut(running, 16)
    assert len(cut.token_ids) == 16
    assert cut.finish_reason is FinishReason.LENGTH
    shown = len(running.seen(TextDelta))

    turn = running.service.branches.continue_answer(cut.conversation_id, cut.id, sampling=GREEDY)
    went_on = _finished(running, turn)

    assert (went_on.text, went_on.token_ids) == (whole.text, whole.token_ids)
    assert went_on.parent_id == cut.parent_id
    assert _read(went_on) <= 8  # its last token, and as far as the convolutions reach
    accepted = running.seen(TurnAccepted)[-1]
    streamed = "".join(event.text for event in running.seen(TextDelta)[shown:])
    assert accepted.assistant.text + streamed == whole.text
    assert running.store.message(cut.id).text == cut.text


def test_an_answer_goes_on_after_its_edited_last_words(running):
    cut = _cut(running, 12)
    begun = cut.text[:-6] + " and"

    turn = running.service.branches.continue_answer(
        cut.conversation_id, cut.id, text=begun, sampling=GREEDY
    )
    went_on = _finished(running, turn)

    assert went_on.text.startswith(begun)
    assert running.service.messages(cut.conversation_id)[-1] == went_on
    assert _read(went_on) <= AGAIN + 8
    # The stored ids are those of the whole answer: the next turn reads none of it again.
    later = running.say(QUESTIONS[1], cut.conversation_id, GREEDY)
    assert _read(later) <= AGAIN + len(QUESTIONS[1])


def test_a_stopped_continuation_keeps_its_beginning(running):
    cut = _cut(running, 8)
    turn = running.service.branches.continue_answer(cut.conversation_id, cut.id, sampling=LONG)
    running.wait_for(TextDelta)
    running.service.cancel(turn)
    stopped = _finished(running, turn)
    assert stopped.finish_reason is FinishReason.CANCELLED
    assert stopped.text.startswith(cut.text)
    assert stopped.token_ids[:8] == cut.token_ids


def test_an_edited_answer_is_a_sibling_that_says_so(running):
    old = running.say(QUESTIONS[0], sampling=GREEDY)
    running.service.branches.edit_answer(old.conversation_id, old.id, "Press F1.").result()

    edited = running.service.messages(old.conversation_id)[-1]
    assert (edited.text, edited.finish_reason) == ("Press F1.", FinishReason.EDITED)
    assert edited.status is MessageStatus.DONE
    assert edited.parent_id == old.parent_id
    running.wait_for(ConversationChanged)
    later = running.say(QUESTIONS[1], old.conversation_id, GREEDY)
    assert [m.text for m in running.service.messages(old.conversation_id)][1] == "Press F1."
    assert later.text


def test_a_fork_holds_the_path_and_shares_what_was_read(running):
    answer = running.begin()
    first = running.service.messages(answer.conversation_id)[1]
    running.service.set_sampling(answer.conversation_id, GREEDY).result()

    forked = running.service.branches.fork(answer.conversation_id, first.id).result()

    assert forked.title.endswith(" (fork)")
    assert forked.sampling == GREEDY
    copies = running.service.messages(forked.id)
    assert [m.token_ids for m in copies] == [(), first.token_ids]
    assert copies[-1].timing == first.timing
    again = running.say(QUESTIONS[1], forked.id, GREEDY)
    assert again.text == answer.text
    assert _read(again) <= AGAIN
    assert running.store.conversation(answer.conversation_id).tip_id == answer.id


def test_walking_siblings_and_asking_on_reads_nothing_again(running):
    answer = running.begin()
    conversation = answer.conversation_id
    branches = running.service.branches
    old = running.service.messages(conversation)[2]
    turn = branches.edit(conversation, old.id, "And how do I export it?", sampling=GREEDY)
    edited = _finished(running, turn)

    for tip in (answer, edited, answer):
        branches.select(conversation, tip.parent_id).result()
        assert _shown(running, conversation)[-1] == tip.id
        asked = running.say(QUESTIONS[2], conversation, GREEDY)
        assert _read(asked) <= AGAIN + len(QUESTIONS[2])
        branches.delete_message(conversation, asked.parent_id).result()


def test_hidden_messages_are_neither_shown_nor_read_and_come_back(running):
    answer = running.begin()
    conversation = answer.conversation_id
    branches = running.service.branches
    first, reply, question, _ = running.service.messages(conversation)

    hidden = branches.delete_message(conversation, question.id).result()
    assert hidden.tip_id == reply.id
    running.wait_for(ConversationChanged)
    assert len(branches.tree(conversation).messages) == 4
    with pytest.raises(StoreError, match="deleted"):
        branches.select(conversation, answer.id).result()
    (turn,) = branches.regenerate(conversation, answer.id)
    assert isinstance(running.finish(turn), TurnFailed)
    assert running.service.turn_of(conversation) is None

    assert branches.restore_message(conversation, question.id).result().tip_id == answer.id
    assert _shown(running, conversation) == [first.id, reply.id, question.id, answer.id]


def test_nothing_else_begins_where_an_answer_is_being_written(running):
    first = running.say(QUESTIONS[0], sampling=GREEDY)
    conversation, branches = first.conversation_id, running.service.branches
    turn = running.service.submit(QUESTIONS[1], conversation_id=conversation, sampling=LONG)
    written = running.wait_for(TurnAccepted).assistant
    starts = (
        lambda: branches.edit(conversation, first.parent_id, "x"),
        lambda: branches.regenerate(conversation, first.id),
        lambda: branches.continue_answer(conversation, first.id),
    )
    for start in starts:
        with pytest.raises(UsageError, match="still being answered"):
            start()
    for change in (
        branches.delete_message(conversation, first.id),
        branches.fork(conversation, written.id),
        branches.edit_answer(conversation, written.id, "x"),
    ):
        with pytest.raises(UsageError):
            change.result()
    running.service.cancel(turn)
    assert _finished(running, turn).id == written.id


@pytest.mark.parametrize("start", ["edit", "regenerate", "continue_answer"])
def test_a_message_of_the_wrong_kind_fails_its_turn_and_frees_the_conversation(running, start):
    answer = running.say(QUESTIONS[0], sampling=GREEDY)
    branches = running.service.branches
    turn = {
        "edit": lambda: branches.edit(answer.conversation_id, answer.id, "x"),
        "regenerate": lambda: branches.regenerate(answer.conversation_id, 10**6)[0],
        "continue_answer": lambda: branches.continue_answer(
            answer.conversation_id, answer.parent_id
        ),
    }[start]()
    failed = running.finish(turn)
    assert isinstance(failed, TurnFailed)
    assert failed.hint
    assert running.service.turn_of(answer.conversation_id) is None
    with pytest.raises(UsageError, match="empty"):
        branches.edit(answer.conversation_id, answer.parent_id, " ")


def test_a_temporary_conversation_is_a_tree_too(running):
    turn = running.service.submit(QUESTIONS[0], temporary=True, sampling=GREEDY)
    old = _finished(running, turn)
    conversation, branches = old.conversation_id, running.service.branches
    (turn,) = branches.regenerate(conversation, old.id, sampling=GREEDY)
    new = _finished(running, turn)
    assert branches.siblings(conversation)[new.id] == (old.id, new.id)
    branches.delete_message(conversation, new.id).result()
    assert _shown(running, conversation) == [old.parent_id, old.id]
    forked = branches.fork(conversation, old.id).result()
    assert [m.role for m in running.service.messages(forked.id)] == [Role.USER, Role.ASSISTANT]
    assert running.store.conversations() == []
