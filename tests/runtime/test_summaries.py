"""A full context goes on with a summary: told, stable, kept with its conversation, never wrong."""

import pytest
from full_contexts import GREEDY, LIMIT, QUESTION, counted, mapped, nearly_full, said, summarised

from lfm2chat.runtime import session
from lfm2chat.runtime.events import (
    Scored,
    ScoreEnded,
    SummaryMade,
    SummaryProgress,
    TextDelta,
    TurnFailed,
    TurnFinished,
    WarmPlaces,
)
from lfm2chat.runtime.steps import Answer
from lfm2chat.spec import FinishReason

# --- what the user is told -----------------------------------------------------------------------


def test_a_full_context_goes_on_with_a_summary_and_says_so(summarising):
    running = summarising(system_prompt="Be brief.")
    finished = summarised(running)

    (made,) = running.seen(SummaryMade)
    assert made.turn == finished.turn
    assert made.messages == finished.left_out > 0
    assert made.text == finished.summary != ""
    progress = [event.share for event in running.seen(SummaryProgress)]
    assert progress == sorted(progress)
    assert all(0 <= share <= 1 for share in progress)
    assert {event.messages for event in running.seen(SummaryProgress)} == {made.messages}
    told = [e for e in running.events if isinstance(e, SummaryProgress | SummaryMade | TextDelta)]
    own = [event for event in told if event.turn == finished.turn]
    assert own.index(made) == len(progress)


def test_a_count_is_what_the_turn_reports_and_at_most_that_where_a_summary_comes_first(
    summarising,
):
    running = summarising()
    conversation = nearly_full(running)
    for _ in range(12):
        before = counted(running, conversation)
        finished = said(running, conversation)
        prompt_tokens = finished.message.timing.prompt_tokens
        assert before.fits
        assert before.summarised == bool(finished.summary)
        assert before.left_out == finished.left_out > 0
        if before.summary_due:
            assert prompt_tokens <= before.prompt_tokens <= LIMIT
        else:
            assert prompt_tokens == before.prompt_tokens
    assert len(running.seen(SummaryMade)) > 1


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_the_map_shows_the_summary_and_adds_up_to_the_prompt(summarising, system):
    running = summarising(system_prompt=system)
    conversation = nearly_full(running)
    due = mapped(running, conversation)
    assert (due.summary_due, due.summary, due.left_out, due.fits) == (True, "", 0, False)
    said(running, conversation)

    found = mapped(running, conversation)
    finished = said(running, conversation)

    assert found.summary == finished.summary
    assert found.left_out == finished.left_out
    seen = sum(share.text_tokens for share in found.shares if share.seen)
    parts = found.system_tokens + found.summary_tokens + found.template_tokens + seen
    assert parts == found.prompt_tokens == finished.message.timing.prompt_tokens
    assert bool(found.system_tokens) == bool(system)
    assert found.fits
    assert not found.summary_due


def test_the_model_reads_the_summary_in_the_systems_message(summarising):
    running = summarising(system_prompt="Be brief.")
    finished = summarised(running)
    memory = running.service._worker._loading.memory
    asked = len(running.store.branch(finished.message.conversation_id)) // 2
    running.end()  # the context is given back after the turn is told to be over

    ids = memory.contexts._contexts[-1].ids
    read = memory.loaded.tokenizer.decode(ids, skip_special_tokens=False)

    assert "Be brief.\n\n[Summary" in read
    assert finished.summary in read
    assert read.count(QUESTION) == asked - finished.left_out // 2


@pytest.mark.parametrize("model", ["small", "smaller"])
def test_whatever_a_model_writes_no_turn_fails_and_each_says_what_it_saw(
    summarising, make_model, model
):
    make_model(model)
    running = summarising(model)
    conversation = nearly_full(running)
    for _ in range(12):
        running.events.clear()
        finished = said(running, conversation)
        assert finished.left_out
        assert finished.context_used <= LIMIT
        for made in running.seen(SummaryMade):
            assert (made.text, made.messages) == (finished.summary, finished.left_out)


# --- it is stable --------------------------------------------------------------------------------


def test_the_same_summary_is_shown_until_no_more_fits_and_nothing_is_read_again(summarising):
    running = summarising()
    finished = summarised(running)
    conversation = finished.message.conversation_id
    while not counted(running, conversation).summary_due:
        before, finished = finished, said(running, conversation)
        assert (finished.summary, finished.left_out) == (before.summary, before.left_out)
        assert finished.timing.cached_tokens >= before.context_used - 1
    newer = said(running, conversation)

    first, second = running.seen(SummaryMade)
    assert second.messages == newer.left_out > first.messages


def test_what_leaves_is_summed_up_on_what_was_read(summarising, monkeypatch):
    from lfm2chat.runtime import summarising as module

    answers = []
    plain = module.answer

    def watched(*values, **facts):
        for step in plain(*values, **facts):
            answers.append(step)
            yield step

    monkeypatch.setattr(module, "answer", watched)
    summarised(summarising())

    asked = next(step for step in answers if isinstance(step, Answer)).timing
    assert asked.cached_tokens > asked.prompt_tokens // 2


def test_what_is_warm_is_known_behind_a_summary(summarising):
    running = summarising()
    finished = summarised(running)
    conversation = finished.message.conversation_id
    running.service.tell_warm(conversation)
    warm = running.wait_for(WarmPlaces).message_ids

    assert finished.message.id in warm


def test_the_lens_reads_what_the_answer_was_written_after(summarising):
    running = summarising(precision="float32")
    finished = summarised(running)
    message = finished.message
    running.service.lens(message.conversation_id, message.id)

    scored = running.wait_for(Scored, ScoreEnded)

    assert isinstance(scored, Scored), scored
    # It was written greedily: each token is the likeliest one there, and nowhere else.
    assert all(token.alternatives[0].id == token.id for token in scored.tokens)


# --- branches ------------------------------------------------------------------------------------


def test_an_edit_after_what_it_stands_for_uses_it_and_one_before_does_not(summarising):
    running = summarising()
    finished = summarised(running)
    conversation = finished.message.conversation_id
    branch = running.service.messages(conversation)
    after = branch[-2]

    again = f"{QUESTION} Again?"
    turn = running.service.branches.edit(conversation, after.id, again, sampling=GREEDY)
    edited = running.finish(turn)
    assert (edited.summary, edited.left_out) == (finished.summary, finished.left_out)

    inside = branch[2]
    turn = running.service.branches.edit(conversation, inside.id, QUESTION, sampling=GREEDY)
    assert not running.finish(turn).left_out
    while not counted(running, conversation).summary_due:
        assert not said(running, conversation).summary  # short enough to be shown whole
    said(running, conversation)
    assert len(running.seen(SummaryMade)) == 2


def test_two_answers_at_once_share_one_summary(summarising):
    running = summarising()
    conversation = nearly_full(running)
    turn = running.service.submit(QUESTION, conversation_id=conversation, sampling=GREEDY)
    running.service.cancel(turn)
    cancelled = running.finish(turn).message
    running.events.clear()
    turns = running.service.branches.regenerate(conversation, cancelled.id, count=2)
    ends = {}
    while len(ends) < 2:
        event = running.wait_for(TurnFinished, TurnFailed)
        ends[event.turn] = event

    assert set(ends) == set(turns)
    assert len(running.seen(SummaryMade)) == 1
    assert len({(end.summary, end.left_out) for end in ends.values()}) == 1


def test_an_answer_goes_on_behind_a_summary(summarising):
    running = summarising()
    message = summarised(running).message
    turn = running.service.branches.continue_answer(
        message.conversation_id, message.id, sampling=GREEDY
    )

    finished = running.finish(turn)

    assert isinstance(finished, TurnFinished), finished
    assert finished.summary
    assert finished.message.text.startswith(message.text)


# --- texts that are too long ---------------------------------------------------------------------


def test_what_is_longer_than_the_model_sees_is_read_part_by_part(summarising, monkeypatch):
    monkeypatch.setattr(session, "EVENT_S", 0.0)
    running = summarising(context_tokens=8192)
    conversation = said(running, text=QUESTION * 60).message.conversation_id
    for _ in range(4):
        said(running, conversation, QUESTION * 5)
    running.end()
    running = summarising()

    finished = said(running, conversation)

    (made,) = running.seen(SummaryMade)
    assert made.text == finished.summary != ""
    progress = [event.share for event in running.seen(SummaryProgress)]
    assert progress == sorted(progress)
    assert len(progress) > 100  # many questions of up to 64 tokens each
    assert finished.message.timing.prompt_tokens < LIMIT


def test_without_room_for_a_summary_the_oldest_are_left_out(summarising):
    running = summarising(context_tokens=128)
    conversation = said(running, text="How do I quit?").message.conversation_id
    for _ in range(6):
        finished = said(running, conversation, "How do I quit?")
    assert finished.left_out
    assert not finished.summary
    assert {event.text for event in running.seen(SummaryMade)} <= {""}


def test_a_last_message_that_is_too_long_by_itself_fails_as_it_did(summarising):
    running = summarising()
    conversation = summarised(running).message.conversation_id
    assert not counted(running, conversation, "words " * 900).fits
    turn = running.service.submit("words " * 900, conversation_id=conversation)
    assert "are free for the prompt" in running.finish(turn).message


def test_the_hint_of_a_full_context_names_the_policy(run_service):
    running = run_service(context_tokens=160)
    conversation = None
    while True:
        turn = running.service.submit(QUESTION, conversation_id=conversation, sampling=GREEDY)
        finished = running.finish(turn)
        if isinstance(finished, TurnFailed):
            break
        conversation = finished.message.conversation_id
    assert "summarise" in finished.hint


# --- it ends otherwise ---------------------------------------------------------------------------


def test_a_turn_cancelled_while_it_summarises_loses_nothing(summarising, summary_of, monkeypatch):
    monkeypatch.setattr(session, "EVENT_S", 0.0)
    running = summarising()
    conversation = nearly_full(running)
    turn = running.service.submit(QUESTION, conversation_id=conversation, sampling=GREEDY)
    running.wait_for(SummaryProgress)
    running.service.cancel(turn)
    finished = running.finish(turn)

    assert finished.message.finish_reason is FinishReason.CANCELLED
    assert not running.seen(SummaryMade)
    assert not summary_of(conversation).exists()
    assert running.service.messages(conversation)[-2].text == QUESTION
    assert said(running, conversation).summary


def test_where_the_model_writes_none_the_oldest_are_left_out_and_that_is_said(
    summarising, summary_of, monkeypatch
):
    from lfm2chat.runtime import summarising as module

    monkeypatch.setattr(module, "clean_summary", lambda *_, **__: "")
    running = summarising()
    finished = summarised(running)

    (made,) = running.seen(SummaryMade)
    assert (made.text, made.messages) == ("", finished.left_out)
    assert finished.left_out
    assert not finished.summary
    assert not summary_of(finished.message.conversation_id).exists()


def test_where_the_memory_ends_the_oldest_are_left_out(summarising, monkeypatch):
    from lfm2chat.runtime import summarising as module

    def full(*_, **__):
        raise MemoryError
        yield

    monkeypatch.setattr(module, "answer", full)
    running = summarising()
    finished = summarised(running)

    assert finished.left_out
    assert not finished.summary


def test_other_turns_get_their_share_meanwhile(summarising, monkeypatch):
    monkeypatch.setattr(session, "EVENT_S", 0.0)
    running = summarising()
    conversation = nearly_full(running)
    running.events.clear()
    full = running.service.submit(QUESTION, conversation_id=conversation, sampling=GREEDY)
    running.wait_for(SummaryProgress)
    other = running.service.submit("What is it?", sampling=GREEDY)
    running.finish(full)

    kinds = [e for e in running.events if isinstance(e, SummaryMade | TextDelta)]
    (made,) = running.seen(SummaryMade)
    assert any(event.turn == other for event in kinds[: kinds.index(made)])
