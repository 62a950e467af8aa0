"""Several models in memory: each answers for whoever asks it, while there is room."""

import time

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.runtime import loaded
from lfm2chat.runtime.commands import Prime
from lfm2chat.runtime.events import (
    ModelFailed,
    ModelLoaded,
    ModelLoading,
    PrefillProgress,
    Scored,
    ScoreEnded,
    TextDelta,
    TurnFailed,
    TurnFinished,
    WarmPlaces,
)
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

SHORT = SamplingParams(max_new_tokens=5, seed=3)
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=200, seed=1)
QUESTION = "Which keys are there, and what does each of them do in the list of conversations?"


@pytest.fixture
def crowded(monkeypatch):
    """So little memory that two models never fit."""
    monkeypatch.setattr(loaded, "free_bytes", lambda _: 2**20)


def names(running):
    return [resident.loaded.name for resident in running.service._worker._residents]


def ask(running, text, conversation=None, model="", sampling=SHORT):
    turn = running.service.submit(
        text, conversation_id=conversation, sampling=sampling, model=model
    )
    return running.finish(turn)


def test_a_turn_may_ask_another_model_and_the_selected_one_stays(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    answer = ask(running, QUESTION, model="Stranger").message

    assert answer.model == "Stranger"
    assert running.store.conversation(answer.conversation_id).model == "Stranger"
    assert running.service.model_name == running.service.loaded.model == "guide"
    assert [(e.model, e.selected) for e in running.seen(ModelLoading)][1:] == [("Stranger", False)]
    assert [(e.model, e.selected) for e in running.seen(ModelLoaded)][1:] == [("Stranger", False)]
    assert ask(running, QUESTION).message.model == "guide"
    assert names(running) == ["guide", "Stranger"]
    assert len(running.seen(ModelLoading)) == 2


def test_two_models_answer_at_once(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    ask(running, QUESTION, model="Stranger")
    turns = {
        running.service.submit(QUESTION, sampling=LONG, model=model): model
        for model in ("guide", "Stranger")
    }
    before = len(running.events)
    ends = [running.wait_for(TurnFinished, TurnFailed) for _ in turns]

    assert {end.turn: end.message.model for end in ends} == turns
    # Neither waited for the other's end.
    told = [e.turn for e in running.events[before:] if isinstance(e, TextDelta)]
    first, last = told.index(told[-1]), len(told) - told[::-1].index(told[0])
    assert first < last


def test_a_model_that_comes_into_a_conversation_reads_it_once_and_says_how_far_it_is(
    run_service, make_model
):
    make_model("Stranger")
    running = run_service()
    conversation = running.begin().conversation_id

    first = ask(running, "Who are you?", conversation, "Stranger")
    second = ask(running, "And who am I?", conversation, "Stranger")

    progress = [e for e in running.seen(PrefillProgress) if e.turn == first.turn]
    assert (progress[0].cached, progress[0].done) == (0, 0)
    assert progress[-1].done == progress[-1].total == first.timing.prompt_tokens
    assert first.timing.cached_tokens == 0
    assert second.timing.cached_tokens >= first.timing.prompt_tokens
    # The one before has not forgotten it either.
    third = ask(running, "How do I quit?", conversation)
    assert third.timing.cached_tokens > first.timing.prompt_tokens // 2
    models = [m.model for m in running.store.branch(conversation)][1::2]
    assert models == ["guide", "guide", "Stranger", "Stranger", "guide"]


def test_selecting_a_model_keeps_the_other_while_there_is_room(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    running.service.select_model("Stranger")
    running.wait_for(ModelLoaded)
    assert names(running) == ["guide", "Stranger"]
    running.service.select_model("guide")
    running.wait_for(ModelLoaded)
    assert ask(running, QUESTION).message.model == running.service.model_name == "guide"


def test_without_room_the_one_used_least_recently_goes_first(run_service, make_model, crowded):
    make_model("Stranger")
    running = run_service()
    ask(running, QUESTION, model="Stranger")
    assert names(running) == ["Stranger"]
    assert running.service.model_name == "guide"
    assert ask(running, QUESTION).message.model == "guide"
    assert names(running) == ["guide"]


def test_without_room_a_turn_waits_for_the_model_that_is_answering(
    run_service, make_model, crowded
):
    make_model("Stranger")
    running = run_service()
    first = running.service.submit(QUESTION, sampling=LONG)
    running.wait_for(TextDelta)
    second = running.service.submit(QUESTION, sampling=SHORT, model="Stranger")

    ends = [running.wait_for(TurnFinished, TurnFailed) for _ in range(2)]

    assert [end.turn for end in ends] == [first, second]
    assert [end.message.model for end in ends] == ["guide", "Stranger"]
    assert ends[0].timing.generated_tokens == LONG.max_new_tokens


def test_a_turn_for_a_model_that_is_not_there_fails_alone(run_service):
    running = run_service()
    failed = ask(running, QUESTION, model="LFM2-350M")

    assert isinstance(failed, TurnFailed)
    assert "pull LFM2-350M" in failed.hint
    assert [event.selected for event in running.seen(ModelFailed)] == [False]
    assert running.service.model_name == "guide"
    assert ask(running, QUESTION).message.model == "guide"


def test_another_model_may_answer_again_go_on_and_answer_an_edit(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    first = ask(running, QUESTION).message
    number, branches = first.conversation_id, running.service.branches
    turns = [
        lambda: branches.regenerate(number, first.id, sampling=SHORT, model="Stranger")[0],
        lambda: branches.continue_answer(number, first.id, sampling=SHORT, model="Stranger"),
        lambda: branches.edit(number, first.parent_id, "No", sampling=SHORT, model="Stranger"),
    ]
    for begin in turns:
        assert running.finish(begin()).message.model == "Stranger"
    assert running.service.model_name == "guide"


def test_new_settings_hold_for_the_next_model_that_comes(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    running.service.take_settings(Settings().changed(context_tokens=777))
    ask(running, QUESTION, model="Stranger")
    told = [(event.model, event.context_tokens) for event in running.seen(ModelLoaded)]
    assert told[1:] == [("Stranger", 777)]
    assert told[0][1] != 777


def test_broken_files_drive_nobody_out(run_service, make_model, crowded):
    folder = make_model("Stranger")
    (folder / "config.json").write_text("{}")
    running = run_service()
    assert isinstance(ask(running, QUESTION, model="Stranger"), TurnFailed)
    assert names(running) == ["guide"]


def test_threads_are_those_of_the_model_that_answers(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    ask(running, QUESTION, model="Stranger")
    for resident, threads in zip(running.service._worker._residents, (1, 2), strict=True):
        object.__setattr__(resident.loaded, "torch_threads", threads)
    seen = []
    for resident in running.service._worker._residents:
        read = resident.loaded.model.next_logits

        def note(*args, read=read, **options):
            seen.append(loaded.torch_threads())
            return read(*args, **options)

        resident.loaded.model.next_logits = note

    ask(running, "How do I quit?")
    assert set(seen) == {1}
    ask(running, "How do I quit?", model="Stranger")
    assert set(seen[-3:]) == {2}


def test_a_deleted_conversation_is_forgotten_by_every_model(run_service, make_model):
    make_model("Stranger")
    running = run_service()
    conversation = ask(running, QUESTION).message.conversation_id
    ask(running, "Who are you?", conversation, "Stranger")
    running.service.delete(conversation).result()
    ask(running, "x")
    ask(running, "x", model="Stranger")

    for resident in running.service._worker._residents:
        held = {context.conversation_id for context in resident.memory.contexts._contexts}
        assert conversation not in held


# --- what is done beside turns is of the selected model ------------------------------------------


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_was_read_ahead_is_still_there_after_another_model_has_answered(
    run_service, make_model
):
    make_model("Stranger")
    running = run_service()
    ask(running, QUESTION, model="Stranger")
    notes = Attachment("notes.txt", "".join(f"Line {i}: {i * 37 % 101}.\n" for i in range(60)))
    worker = running.service._worker
    running.service.prime(None, "What is in the notes", [notes])
    wait_until(lambda: (prime := worker._beside._prime) and prime._primed and prime._primed.places)

    ask(running, QUESTION, model="Stranger")
    turn = running.service.submit("What is in the notes?", attachments=[notes], sampling=SHORT)

    assert running.finish(turn).timing.cached_tokens > 0
    assert worker._beside._prime is None


def test_a_model_without_room_comes_though_the_lens_is_on_the_one_that_goes(
    run_service, make_model, crowded
):
    make_model("Stranger")
    running = run_service()
    long = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=400, seed=1)
    answer = ask(running, QUESTION, sampling=long).message
    request = running.service.lens(answer.conversation_id, answer.id)

    assert ask(running, QUESTION, model="Stranger").message.model == "Stranger"
    assert [e.request for e in running.seen(Scored) + running.seen(ScoreEnded)] == [request]
    assert names(running) == ["Stranger"]


def test_the_lens_brings_the_selected_model_back_and_reading_ahead_does_not(
    run_service, make_model, crowded
):
    make_model("Stranger")
    running = run_service()
    answer = ask(running, QUESTION).message
    ask(running, QUESTION, model="Stranger")

    running.service._worker.put(Prime("guide", answer.tokenizer_hash, tuple(range(400))))
    ask(running, QUESTION, model="Stranger")
    assert names(running) == ["Stranger"]

    running.service.lens(answer.conversation_id, answer.id)
    assert running.wait_for(Scored, ScoreEnded).model == "guide"
    assert names(running) == ["guide"]


def test_a_turn_tells_what_is_warm_in_its_model_and_a_question_what_is_in_the_selected_one(
    run_service, make_model
):
    make_model("Stranger")
    running = run_service()

    def warm(times):
        """What was told the last of so many times; it may come before a turn's end does."""
        while len(running.seen(WarmPlaces)) < times:
            running.next_event()
        return running.seen(WarmPlaces)[times - 1].message_ids

    first = ask(running, QUESTION).message
    assert first.id in warm(1)
    second = ask(running, "Who are you?", first.conversation_id, "Stranger").message
    assert {first.id, second.parent_id} <= warm(2)
    running.service.tell_warm(first.conversation_id)
    assert first.id in (told := warm(3))
    assert second.id not in told
    running.service.select_model("Stranger")
    running.service.tell_warm(first.conversation_id)
    assert second.parent_id in warm(4)
