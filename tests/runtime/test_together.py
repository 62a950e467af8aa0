"""Several turns at once: one pass for all that write, and a prompt that several share read once."""

import itertools
from dataclasses import replace

import pytest
import torch

from lfm2chat.chat.turns import MessageStatus, PromptMessage, Role
from lfm2chat.engine import CacheBatch, ChunkPace, PassCosts
from lfm2chat.runtime.beside import InMemory
from lfm2chat.runtime.commands import RunTurn
from lfm2chat.runtime.events import PrefillProgress, TextDelta, TurnFailed, TurnFinished
from lfm2chat.runtime.loaded import load_model
from lfm2chat.runtime.models import guide_entry
from lfm2chat.runtime.places import Places
from lfm2chat.runtime.primed import PrimeSequence
from lfm2chat.runtime.session import TurnSequence
from lfm2chat.runtime.together import SEPARATE_ROUNDS, Turns
from lfm2chat.runtime.warm import WarmContexts
from lfm2chat.settings import Settings
from lfm2chat.spec import FinishReason, SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)
# So hot that the guide never finds its end token.
LONG = SamplingParams(temperature=5.0, min_p=0.0, max_new_tokens=400, seed=1)
QUESTIONS = (
    "How do I rename a conversation?",
    "What is lfm2chat?",
    "How do I quit?",
    "How do I change the model, and where do I see which one is loaded?",
)
PASTE = "These are my notes about the garden behind the house. " * 30


class Watched:
    """A model that notes how many rows and tokens each pass had; ``spoil`` may change logits."""

    def __init__(self, model):
        self.model = model
        self.config, self.dtype, self.device = model.config, model.dtype, model.device
        self.passes = []
        self.spoil = lambda logits: logits
        self.fault = None

    def next_logits(self, input_ids, cache, *, before_layer=None):
        self.passes.append(tuple(input_ids.shape))
        if self.fault is not None and isinstance(cache, CacheBatch):
            raise self.fault
        logits = self.model.next_logits(input_ids, cache, before_layer=before_layer)
        return self.spoil(logits)

    def all_logits(self, input_ids, cache):
        return self.model.all_logits(input_ids, cache)

    @property
    def rows(self):
        return [rows for rows, _ in self.passes]


class Room:
    """The turns of the guide without a thread: each step is one call."""

    def __init__(self, guide):
        self.guide = guide
        self.model = Watched(guide.model)
        self.loaded = loaded = replace(guide, model=self.model, pace=ChunkPace(), costs=PassCosts())
        self.contexts = WarmContexts()
        self.turns = Turns(loaded, self.contexts)
        self.events = []

    def ask(self, number, question, sampling=GREEDY, primed=None):
        messages = (PromptMessage(Role.USER, question),)
        command = RunTurn(turn=number, messages=messages, sampling=sampling)
        turn = TurnSequence(
            command,
            InMemory(self.loaded, self.contexts, None, Places()),
            settings=Settings(),
            emit=self.events.append,
            primed=primed,
            limit_s=self.turns.limit_s,
        )
        self.turns.add(turn)
        return command

    def run(self, *, until=lambda: False):
        while not until() and self.turns.step():
            pass

    def ended(self, number):
        ends = [e for e in self.events if isinstance(e, TurnFinished | TurnFailed)]
        return next((event for event in ends if event.turn == number), None)

    def writing(self, *numbers):
        told = {e.turn for e in self.events if isinstance(e, TextDelta)}
        return told.issuperset(numbers)

    def alone(self, question, sampling=GREEDY):
        """The ids of an answer that no other turn and no context stood beside."""
        other = Room(self.guide)
        other.ask(1, question, sampling)
        other.run()
        return other.ended(1).message.token_ids


@pytest.fixture(scope="module")
def guide():
    return load_model(guide_entry(), Settings())


@pytest.fixture
def room(guide):
    return Room(guide)


def test_four_greedy_answers_at_once_have_the_ids_that_each_has_alone(room):
    for number, question in enumerate(QUESTIONS):
        room.ask(number, question)
    room.run()

    assert 4 in room.model.rows
    for number, question in enumerate(QUESTIONS):
        assert room.ended(number).message.token_ids == room.alone(question)


def test_each_turn_keeps_its_own_seed_length_and_stop(room):
    ways = [
        LONG.changed(seed=3, max_new_tokens=20),
        LONG.changed(seed=4, max_new_tokens=35),
        GREEDY.changed(stop=("conversation",)),
    ]
    for number, way in enumerate(ways):
        room.ask(number, QUESTIONS[0], way)
    room.run()

    ends = [room.ended(number) for number in range(3)]
    assert [end.timing.generated_tokens for end in ends[:2]] == [20, 35]
    assert [end.message.seed for end in ends[:2]] == [3, 4]
    assert ends[0].message.text[:20] != ends[1].message.text[:20]
    assert "conversation" not in ends[2].message.text
    assert ends[2].message.finish_reason is FinishReason.STOP
    assert all(end.timing.decode_s > 0 for end in ends)


def test_who_is_alone_makes_passes_of_one_row_and_batches_begin_and_end_with_the_others(room):
    room.ask(1, QUESTIONS[0], LONG.changed(max_new_tokens=60))
    room.run(until=lambda: room.writing(1))
    assert set(room.model.rows) == {1}

    room.ask(2, QUESTIONS[1], LONG.changed(max_new_tokens=10))
    room.run(until=lambda: room.ended(2))
    assert room.model.rows.count(2) >= 9
    before = len(room.model.passes)
    room.run()

    assert set(room.model.rows[before:]) == {1}
    assert room.ended(1).timing.generated_tokens == 60


def test_cancelling_one_leaves_the_others_whole(room):
    first = room.ask(1, "Tell me everything", LONG)
    room.ask(2, QUESTIONS[1])
    room.ask(3, QUESTIONS[2])
    room.run(until=lambda: room.writing(1, 2, 3))
    first.cancel.set()
    room.run()

    assert room.ended(1).message.finish_reason is FinishReason.CANCELLED
    assert room.ended(2).message.token_ids == room.alone(QUESTIONS[1])
    assert room.ended(3).message.token_ids == room.alone(QUESTIONS[2])


def test_broken_numbers_in_one_row_end_that_turn_alone(room):
    for number in range(3):
        room.ask(number, QUESTIONS[number])
    room.run(until=lambda: 3 in room.model.rows)

    def spoil(logits):
        if len(logits) == 3:
            logits[1] = torch.nan
            room.model.spoil = lambda logits: logits
        return logits

    room.model.spoil = spoil
    room.run()

    assert isinstance(room.ended(1), TurnFailed)
    assert "not finite" in room.ended(1).message
    for number in (0, 2):
        assert room.ended(number).message.token_ids == room.alone(QUESTIONS[number])


def test_a_shared_pass_that_fails_costs_nobody_the_answer(room, caplog):
    room.model.fault = RuntimeError("no memory for so many rows")
    for number in range(2):
        room.ask(number, QUESTIONS[number])
    room.run()

    assert "each goes on alone" in caplog.text
    assert 1 <= room.model.rows.count(2) <= 1 + sum(room.model.rows) // SEPARATE_ROUNDS
    for number in range(2):
        assert room.ended(number).message.token_ids == room.alone(QUESTIONS[number])


def test_a_newcomer_is_read_in_chunks_between_the_tokens_of_the_others(room):
    room.ask(1, QUESTIONS[0], LONG)
    room.run(until=lambda: room.writing(1))
    before = len(room.model.passes)
    room.ask(2, PASTE)
    room.run(until=lambda: room.writing(2))

    tokens = [tokens for _, tokens in room.model.passes[before:]]
    chunks = [place for place, count in enumerate(tokens) if count > 1]
    assert len(chunks) > 1
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(chunks))


def test_answers_to_one_prompt_read_it_once(room):
    for number in range(4):
        room.ask(number, PASTE, LONG.changed(seed=number, max_new_tokens=12))
    room.run()

    timings = [room.ended(number).timing for number in range(4)]
    assert timings[0].cached_tokens == 0
    for number, timing in enumerate(timings[1:], 1):
        assert timing.prompt_tokens > 300
        assert timing.prefilled_tokens <= 32
        progress = [e for e in room.events if isinstance(e, PrefillProgress) and e.turn == number]
        assert progress[0].cached == timing.cached_tokens
    texts = {room.ended(number).message.text for number in range(4)}
    assert len(texts) == 4


def test_copies_of_a_prompt_answer_as_the_one_that_read_it(room):
    for number in range(3):
        room.ask(number, PASTE + QUESTIONS[0])
    room.run()

    answers = {room.ended(number).message.token_ids for number in range(3)}
    assert answers == {room.alone(PASTE + QUESTIONS[0])}


def test_answers_to_a_prompt_that_was_read_ahead_share_that(room):
    prompt = room.guide.template.build([PromptMessage(Role.USER, PASTE)]).ids
    ahead = PrimeSequence(room.loaded, room.contexts, saved=None, urgent=lambda: False)
    ahead.aim(prompt)
    while ahead.step():
        pass
    room.ask(1, PASTE, primed=ahead.take())
    room.ask(2, PASTE)
    room.run()

    timings = [room.ended(number).timing for number in (1, 2)]
    assert timings[0].cached_tokens >= 256
    assert timings[1].prefilled_tokens <= 32
    for number in (1, 2):
        assert room.ended(number).message.token_ids == room.alone(PASTE)


def test_a_prompt_whose_reader_is_stopped_is_read_by_the_next(room):
    first = room.ask(1, PASTE)
    room.ask(2, PASTE, GREEDY.changed(max_new_tokens=5))
    room.turns.step()
    first.cancel.set()
    room.run()

    assert room.ended(1).message.finish_reason is FinishReason.CANCELLED
    assert room.ended(2).timing.generated_tokens == 5


def test_a_short_question_does_not_wait_for_a_long_prompt(room):
    room.ask(1, PASTE * 4, GREEDY.changed(max_new_tokens=5))
    room.ask(2, QUESTIONS[2], GREEDY.changed(max_new_tokens=5))
    room.run()

    order = [e.turn for e in room.events if isinstance(e, TurnFinished)]
    assert order == [2, 1]


def test_four_conversations_through_the_service_are_each_stored_as_alone(run_service):
    running = run_service()
    turns = [running.service.submit(question, sampling=GREEDY) for question in QUESTIONS]
    answers = {}
    while len(answers) < len(turns):
        event = running.wait_for(TurnFinished, TurnFailed)
        answers[event.turn] = event.message

    for turn, question in zip(turns, QUESTIONS, strict=True):
        assert answers[turn].status is MessageStatus.DONE
        assert running.say(question, sampling=GREEDY).text == answers[turn].text
