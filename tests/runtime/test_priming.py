"""Reading ahead while the user types: a turn reads less, and says the very same."""

import threading
import time
from dataclasses import replace

import pytest
import torch

from lfm2chat.chat.attachments import Attachment
from lfm2chat.engine import ChunkPace, prefill
from lfm2chat.runtime import primed as primed_module
from lfm2chat.runtime.events import ModelLoaded, PrefillProgress, TextDelta
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.models import guide_entry
from lfm2chat.runtime.primed import PrimeSequence
from lfm2chat.runtime.warm import WarmContext, WarmContexts
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
DRAWN = SamplingParams(temperature=1.2, min_p=0.0, max_new_tokens=60, seed=7)
NOTES = Attachment(
    "notes.txt", "".join(f"Line {i}: the {i * 37 % 101} is here.\n" for i in range(45))
)
QUESTION = "How do I rename a conversation?"


@pytest.fixture(scope="module")
def loaded():
    # Chunks of one length, however slow the machine is today.
    return replace(load_model(guide_entry(), Settings()), pace=ChunkPace(limit_s=1e9))


def ids_of(loaded, text):
    return loaded.tokenizer.encode_plain(text)


def read(loaded, context, ids):
    """The logits after ``ids``, as a turn reads them."""
    reading = prefill(loaded.model, ids[context.cache.position :], context.cache, pace=loaded.pace)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            context.feed(ids[len(context.ids) :])
            context.mark()
            return stop.value


def begun(loaded, ids):
    """A pool with one context that has read ``ids``."""
    contexts = WarmContexts()
    context = WarmContext(loaded.new_cache())
    read(loaded, context, ids)
    contexts.give(context)
    return contexts


def sequence_of(loaded, contexts):
    return PrimeSequence(loaded, contexts, saved=None, urgent=lambda: False)


def run(sequence, ids):
    sequence.aim(tuple(ids))
    while sequence.step():
        pass


PAST = "In the beginning there was another text. " * 60
TYPED = "word by word and line by line it grows, " * 80


@pytest.mark.parametrize("before", [0, 40, 300], ids=["new", "short", "long"])
@pytest.mark.parametrize("change", ["nothing", "the end", "a word in the middle", "everything"])
def test_numbers_are_those_of_a_turn_that_read_everything_itself(loaded, before, change):
    past = ids_of(loaded, PAST)[:before]
    typed = [*past, *ids_of(loaded, TYPED)]
    middle = before + 300
    sent = {
        "nothing": typed,
        "the end": [*typed[:-30], *ids_of(loaded, "and so it ended")],
        "a word in the middle": [*typed[:middle], 5, 6, 7, *typed[middle + 2 :]],
        "everything": [*past, *ids_of(loaded, "Something else. " * 50)],
    }[change]
    plain = begun(loaded, past) if past else WarmContexts()
    ahead = begun(loaded, past) if past else WarmContexts()
    sequence = sequence_of(loaded, ahead)
    run(sequence, typed)
    primed = sequence.take()
    assert primed is not None

    expected = plain.take(sent) or WarmContext(loaded.new_cache())
    truth = read(loaded, expected, sent)
    context = ahead.take(sent) or WarmContext(loaded.new_cache())
    primed.lend(context, sent)
    spared = context.cache.position - before
    logits = read(loaded, context, sent)

    assert torch.equal(logits, truth)
    for mine, theirs in zip(context.cache.tensors(), expected.cache.tensors(), strict=True):
        assert torch.equal(mine, theirs)
    assert context.ids == expected.ids == sent
    assert (spared >= 256) == (change != "everything")
    assert context.marks.keys() == expected.marks.keys()


def test_a_newer_draft_keeps_the_chunks_that_it_shares(loaded, monkeypatch):
    read_tokens = []
    plain = primed_module.prefill

    def counted(model, ids, cache, **rest):
        read_tokens.append(len(ids))
        return plain(model, ids, cache, **rest)

    monkeypatch.setattr(primed_module, "prefill", counted)
    typed = ids_of(loaded, TYPED)
    sequence = sequence_of(loaded, WarmContexts())
    run(sequence, typed[:400])
    assert read_tokens == [256]
    run(sequence, typed[:600])
    assert read_tokens == [256, 256]
    run(sequence, [*typed[:300], 5, 6, *typed[300:700]])

    assert read_tokens == [256, 256, 256]
    assert [length for length, _ in sequence.take().places] == [256, 512]


def test_a_waiting_turn_stops_it_within_a_layer_and_keeps_what_is_whole(loaded):
    waiting = threading.Event()
    looks = []

    def urgent():
        looks.append(1)
        return waiting.is_set() or len(looks) > 12

    sequence = PrimeSequence(loaded, WarmContexts(), saved=None, urgent=urgent)
    sequence.aim(tuple(ids_of(loaded, TYPED)))
    assert sequence.step()
    assert not sequence.step()
    assert [length for length, _ in sequence.take().places] == [256]


def test_live_contexts_do_not_change(loaded):
    past = ids_of(loaded, PAST)[:100]
    contexts = begun(loaded, past)
    before = contexts.nbytes
    run(sequence_of(loaded, contexts), [*past[:60], *ids_of(loaded, TYPED)])

    context = contexts.take([*past, 5])
    assert context.ids == past
    assert context.cache.length == context.cache.position == len(past)
    assert not context.branches
    assert contexts.nbytes == 0
    assert context.nbytes == before


# --- through the service ----------------------------------------------------------------------


def wait_until_read(running):
    """Until the worker has nothing to do and something was read ahead."""
    end = time.monotonic() + 60
    worker = running.service._worker
    while time.monotonic() < end:
        prime = worker._beside._prime
        primed = prime._primed if prime is not None else None
        # A sequence that is being stepped is not in the scheduler: being idle says too little.
        if primed is not None and primed.places and worker._idle:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was read ahead")


def begin(running, sampling):
    first = running.say(QUESTION, sampling=sampling)
    return first.conversation_id


def test_a_turn_reads_less_and_answers_the_same(run_service):
    plain, ahead = run_service(), run_service()
    number, other = begin(plain, DRAWN), begin(ahead, DRAWN)
    ahead.service.prime(other, "And what is in the", [NOTES])
    wait_until_read(ahead)
    answers = []
    for running, conversation in ((plain, number), (ahead, other)):
        turn = running.service.submit(
            "And what is in the notes?",
            conversation_id=conversation,
            attachments=[NOTES],
            sampling=DRAWN,
        )
        answers.append(running.finish(turn).message)

    assert answers[0].text == answers[1].text
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[1].timing.cached_tokens >= answers[0].timing.cached_tokens + 256
    third = [
        running.say("And then?", conversation, DRAWN)
        for running, conversation in ((plain, number), (ahead, other))
    ]
    assert third[0].token_ids == third[1].token_ids


def test_another_turn_than_the_one_typed_answers_the_same(run_service):
    running = run_service()
    truth = running.say(QUESTION, sampling=DRAWN).token_ids
    other = run_service()
    other.service.prime(None, "Something else entirely", [NOTES])
    wait_until_read(other)

    assert other.say(QUESTION, sampling=DRAWN).token_ids == truth
    assert other.service._worker._beside._prime is None


def test_nothing_is_written_and_nothing_told(run_service, paths):
    running = run_service()
    number = begin(running, GREEDY)
    running.service.save_draft(number, "").result()
    told = len(running.events)
    canary = Attachment("canary.txt", "zyzzyvaxolotl " * 200)
    running.service.prime(number, "zyzzyvaxolotl", [canary])
    wait_until_read(running)

    assert running.service.close(60)
    assert len(running.events) == told
    home = paths.data.parent
    for path in home.rglob("*"):
        assert not path.is_file() or b"zyzzyvaxolotl" not in path.read_bytes(), path


def test_the_setting_switches_it_off(run_service):
    running = run_service(prime_while_typing=False)
    running.service.prime(None, "text", [NOTES])

    assert running.service._counter._thread is None
    assert Settings().prime_while_typing


def test_a_model_that_goes_takes_what_was_read_ahead_along(run_service, make_model):
    make_model("other")
    running = run_service()
    running.service.prime(None, "text", [NOTES])
    wait_until_read(running)
    running.service.select_model("other")
    running.wait_for(ModelLoaded)
    assert running.service._worker._beside._prime is None


def test_while_a_turn_runs_nothing_is_read_ahead(run_service):
    running = run_service()
    long = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=150, seed=1)
    turn = running.service.submit("Tell me everything", sampling=long)
    running.wait_for(TextDelta)
    running.service.prime(None, "text", [NOTES])
    running.finish(turn)
    wait_until_read(running)
    assert not [e for e in running.seen(PrefillProgress) if e.turn != turn]
