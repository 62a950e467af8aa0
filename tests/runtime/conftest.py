"""A running service whose events a test can wait for."""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from full_contexts import SUMMARISE

from lfm2chat.chat.turns import Message
from lfm2chat.paths import Paths
from lfm2chat.runtime import ChatService, Event
from lfm2chat.runtime.events import ModelFailed, ModelLoaded, TurnFailed, TurnFinished
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store

PATIENCE_S = 60.0
QUESTIONS = ("How do I rename a conversation?", "And how do I delete it?", "What is the guide?")
GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)


class Running:
    """A service with its store, and every event it emitted so far."""

    def __init__(self, paths: Paths, settings: Settings, model: str) -> None:
        self.store = Store.open(paths.store)
        self.events: list[Event] = []
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.service = ChatService(
            paths=paths, settings=settings, store=self.store, emit=self._queue.put
        )
        self.service.start(model)
        self.wait_for(ModelLoaded, ModelFailed)

    def next_event(self) -> Event:
        event = self._queue.get(timeout=PATIENCE_S)
        self.events.append(event)
        return event

    def wait_for(self, *kinds: type) -> Event:
        while True:
            event = self.next_event()
            if isinstance(event, kinds):
                return event

    def finish(self, turn: int) -> TurnFinished | TurnFailed:
        while True:
            event = self.next_event()
            if isinstance(event, TurnFinished | TurnFailed) and event.turn == turn:
                return event

    def say(
        self, text: str, conversation: int | None = None, sampling: SamplingParams | None = None
    ) -> Message:
        turn = self.service.submit(text, conversation_id=conversation, sampling=sampling)
        finished = self.finish(turn)
        assert isinstance(finished, TurnFinished), finished
        return finished.message

    def begin(self) -> Message:
        """Two turns of a new conversation; gives the second answer."""
        first = self.say(QUESTIONS[0], sampling=GREEDY)
        return self.say(QUESTIONS[1], first.conversation_id, GREEDY)

    def go_on(self, answer: Message) -> Message:
        """The third turn, after ``answer``."""
        return self.say(QUESTIONS[2], answer.conversation_id, GREEDY)

    def end(self) -> None:
        assert self.service.close(PATIENCE_S)

    def seen(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def run_service(paths: Paths) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def run(model: str = "guide", **settings: object) -> Running:
        running.append(Running(paths, Settings().changed(**settings), model))
        return running[-1]

    yield run
    for one in running:
        assert one.service.close(PATIENCE_S)


@pytest.fixture
def begun(run_service: Callable[..., Running]) -> Message:
    """The last answer of a conversation that another service held and saved."""
    running = run_service()
    answer = running.begin()
    running.end()
    return answer


@pytest.fixture
def file_of(paths: Paths) -> Callable[[Message], Path]:
    """Where the context of an answer's conversation is saved."""
    return lambda answer: paths.contexts / f"{answer.conversation_id}.cache"


@pytest.fixture
def summarising(run_service: Callable[..., Running]) -> Callable[..., Running]:
    """A service of the guide, which sees 512 tokens and summarises."""
    return lambda model="guide", **settings: run_service(model, **{**SUMMARISE, **settings})


@pytest.fixture
def summary_of(paths: Paths) -> Callable[[int], Path]:
    """Where the summaries of a conversation are kept."""
    return lambda conversation: paths.summaries / f"{conversation}.summary"
