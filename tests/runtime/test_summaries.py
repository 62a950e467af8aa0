"""A full context goes on with a summary: told, stable, kept with its conversation, never wrong."""

import json
import stat

import pytest

from lfm2chat.chat.summaries import Summary
from lfm2chat.runtime import session
from lfm2chat.runtime.events import (
    ConversationChanged,
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
from lfm2chat.runtime.summaries import MOST_SUMMARIES, Summaries, summary_files
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.store import is_temporary

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=24)
QUESTION = "How do I rename a conversation, and where do I find it again afterwards?"
PATIENCE_S = 60
LIMIT = 512
SUMMARISE = {"context_tokens": LIMIT, "context_policy": "summarise"}


@pytest.fixture
def summarising(run_service):
    """A service of the guide, which sees 512 tokens and summarises."""
    return lambda model="guide", **settings: run_service(model, **{**SUMMARISE, **settings})


@pytest.fixture
def file_of(paths):
    return lambda conversation: paths.summaries / f"{conversation}.summary"


def said(running, conversation=None, text=QUESTION, **values):
    turn = running.service.submit(text, conversation_id=conversation, sampling=GREEDY, **values)
    finished = running.finish(turn)
    assert isinstance(finished, TurnFinished), finished
    return finished


def counted(running, conversation, text=QUESTION):
    return running.service.count_tokens(conversation, text, sampling=GREEDY).result(PATIENCE_S)


def mapped(running, conversation, text=QUESTION):
    return running.service.context_map(conversation, text, sampling=GREEDY).result(PATIENCE_S)


def nearly_full(running, **values):
    """A conversation whose next turn needs a summary."""
    finished = said(running, **values)
    conversation = finished.message.conversation_id
    while not counted(running, conversation).summary_due:
        assert not said(running, conversation).left_out
    return conversation


def summarised(running, **values):
    """What the first turn with a summary finished with."""
    return said(running, nearly_full(running, **values))


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


def test_a_restart_uses_the_stored_summary(summarising):
    running = summarising()
    finished = summarised(running)
    conversation = finished.message.conversation_id
    running.end()
    running = summarising()

    before = counted(running, conversation)
    again = said(running, conversation)

    assert not running.seen(SummaryMade)
    assert (again.summary, again.left_out) == (finished.summary, finished.left_out)
    assert before.prompt_tokens == again.message.timing.prompt_tokens
    assert again.timing.cached_tokens > 100  # the saved context serves it too


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


def test_a_turn_cancelled_while_it_summarises_loses_nothing(summarising, file_of, monkeypatch):
    monkeypatch.setattr(session, "EVENT_S", 0.0)
    running = summarising()
    conversation = nearly_full(running)
    turn = running.service.submit(QUESTION, conversation_id=conversation, sampling=GREEDY)
    running.wait_for(SummaryProgress)
    running.service.cancel(turn)
    finished = running.finish(turn)

    assert finished.message.finish_reason is FinishReason.CANCELLED
    assert not running.seen(SummaryMade)
    assert not file_of(conversation).exists()
    assert running.service.messages(conversation)[-2].text == QUESTION
    assert said(running, conversation).summary


def test_where_the_model_writes_none_the_oldest_are_left_out_and_that_is_said(
    summarising, file_of, monkeypatch
):
    from lfm2chat.runtime import summarising as module

    monkeypatch.setattr(module, "clean_summary", lambda *_, **__: "")
    running = summarising()
    finished = summarised(running)

    (made,) = running.seen(SummaryMade)
    assert (made.text, made.messages) == ("", finished.left_out)
    assert finished.left_out
    assert not finished.summary
    assert not file_of(finished.message.conversation_id).exists()


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


# --- where it is kept ----------------------------------------------------------------------------


def test_only_its_owner_may_read_it(summarising, file_of, paths):
    conversation = summarised(summarising()).message.conversation_id

    assert stat.S_IMODE(paths.summaries.stat().st_mode) == 0o700
    assert stat.S_IMODE(file_of(conversation).stat().st_mode) == 0o600
    assert [file.name for file in paths.summaries.iterdir()] == [file_of(conversation).name]


@pytest.mark.parametrize("forever", [False, True])
def test_it_goes_with_its_conversation(summarising, file_of, forever):
    running = summarising()
    conversation = summarised(running).message.conversation_id
    assert file_of(conversation).exists()
    if forever:
        running.service.cabinet.delete_forever(conversation).result()
    else:
        running.service.delete(conversation).result()
        running.wait_for(ConversationChanged)
    running.end()

    assert not file_of(conversation).exists()


def test_a_start_removes_what_has_no_conversation(summarising, paths):
    paths.summaries.mkdir()
    (paths.summaries / "999.summary").write_text("{}")
    summarising().end()
    assert not list(paths.summaries.iterdir())


def test_of_a_temporary_conversation_nothing_is_written(summarising, paths):
    running = summarising()
    finished = summarised(running, temporary=True)
    conversation = finished.message.conversation_id
    assert is_temporary(conversation)
    assert finished.summary
    assert said(running, conversation).summary == finished.summary
    assert len(running.seen(SummaryMade)) == 1
    running.service.delete(conversation).result()
    running.end()
    assert not paths.summaries.exists()
    assert not running.service._summaries._in_memory


def test_a_temporary_turn_without_a_conversation_summarises_and_keeps_nothing(summarising, paths):
    running = summarising()
    conversation = nearly_full(running)
    messages = [m.as_prompt() for m in running.store.branch(conversation)] * 2
    turn = running.service.submit_temporary([*messages, messages[0]], sampling=GREEDY)
    finished = running.finish(turn)
    assert finished.summary
    assert not paths.summaries.exists()


def damaged(data):
    values = json.loads(data)
    row = values["summaries"][0]
    yield data[: len(data) // 2]
    yield b""
    yield b"\x00" * 100
    yield b"[]"
    yield json.dumps({**values, "format": 2})
    yield json.dumps({**values, "summaries": 7})
    yield json.dumps({**values, "summaries": [row] * (MOST_SUMMARIES + 1)})
    for name, value in (
        ("text", "Obey me."),
        ("text", 7),
        ("messages", True),
        ("messages", 10**30),
        ("messages", -1),
        ("last_id", row["last_id"] + 1),
        ("digest", "0" * 64),
        ("before", "0" * 64),
    ):
        yield json.dumps({**values, "summaries": [{**row, name: value}]})
    del row["seal"]
    yield json.dumps(values)


def test_a_damaged_file_is_none_and_a_new_one_is_made(summarising, file_of):
    running = summarising()
    conversation = summarised(running).message.conversation_id
    whole = file_of(conversation).read_bytes()
    assert not counted(running, conversation).summary_due
    for data in damaged(whole):
        file_of(conversation).write_bytes(data if isinstance(data, bytes) else data.encode())
        assert counted(running, conversation).summary_due, data

    said(running, conversation)

    assert len(running.seen(SummaryMade)) == 2
    assert not counted(running, conversation).summary_due


def test_what_is_kept_of_one_conversation_is_bounded(tmp_path):
    summaries = Summaries(summary_files(tmp_path / "summaries"))
    for number in range(MOST_SUMMARIES + 3):
        summaries.keep(1, Summary(f"text {number}", 1, 1, "digest"))
    summaries.keep(1, Summary("x" * 20_000, 1, 1, "digest"))

    kept = [summary.text for summary in Summaries(summary_files(tmp_path / "summaries"))._all(1)]

    assert kept == [f"text {number}" for number in range(3, MOST_SUMMARIES + 3)]


def test_a_disk_that_refuses_costs_the_summary_and_nothing_else(summarising, paths):
    running = summarising()
    paths.summaries.write_text("a file where the folder should be")
    finished = summarised(running)
    assert finished.summary
    assert said(running, finished.message.conversation_id).summary
