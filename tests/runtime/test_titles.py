"""Titles by the model, in idle time: never over the user's, never something silly."""

import time

import pytest

from lfm2chat.chat.titles import clean_title
from lfm2chat.chat.turns import TitleBy
from lfm2chat.runtime import beside, titling
from lfm2chat.runtime.events import ConversationChanged
from lfm2chat.spec import SamplingParams

SHORT = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=4)


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Renaming a conversation", "Renaming a conversation"),
        ('"Renaming a conversation."\n', "Renaming a conversation"),
        ("\n\n**Title: Cats and dogs**\nThis title says it.", "Cats and dogs"),
        ("# The Conversation Title: Soup", "Soup"),
        ("\u201cÜber Katzen\u201d", "Über Katzen"),
        ("Two\twords", "Two words"),
    ],
)
def test_a_title_is_taken_out_of_what_the_model_says(answer, title):
    assert clean_title(answer) == title


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n ",
        '""',
        "...",
        "I'm sorry, but no",
        "I\u2019m sorry",
        "I cannot name it",
        "As an AI model",
        "Here is a title for you",
        "one two three four five six seven",
        "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverleihung",
    ],
)
def test_what_is_no_title_is_refused(answer):
    assert clean_title(answer) is None


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(beside, "QUIET_S", 0.05)


def wait_until(told):
    end = time.monotonic() + 60
    while not told():
        assert time.monotonic() < end
        time.sleep(0.02)


def untitled(running):
    return running.service._worker._beside._untitled


def test_a_new_conversation_is_named_once_the_model_is_idle(
    quick, run_service, make_model, monkeypatch
):
    monkeypatch.setattr(titling, "clean_title", lambda _: "Made by the model")
    monkeypatch.setattr(titling, "ENDS", frozenset(titling.FinishReason))
    make_model("small")
    running = run_service("small")
    first = running.say("What is this about?", sampling=SHORT)

    changed = running.wait_for(ConversationChanged).conversation

    assert changed.title == "Made by the model"
    assert changed.title_by is TitleBy.MODEL
    assert running.store.conversation(first.conversation_id).title == "Made by the model"
    assert not untitled(running)
    running.say("And then?", first.conversation_id, SHORT)
    assert not untitled(running)


def test_a_title_of_the_user_stays(quick, run_service, make_model, monkeypatch):
    monkeypatch.setattr(beside, "QUIET_S", 1.0)
    make_model("small")
    running = run_service("small")
    first = running.say("What is this about?", sampling=SHORT)
    running.service.rename(first.conversation_id, "Mine").result()
    wait_until(lambda: not untitled(running))

    assert running.store.conversation(first.conversation_id).title == "Mine"


def test_a_turn_ends_it_and_it_is_tried_twice_at_most(quick, run_service, make_model, monkeypatch):
    begun = []

    def endless(self):
        begun.append(self)
        return not self._cancelled and not self._urgent()

    monkeypatch.setattr(titling.TitleSequence, "step", endless)
    make_model("small")
    running = run_service("small")
    first = running.say("What is this about?", sampling=SHORT)
    for tries in (1, 2):
        wait_until(lambda tries=tries: len(set(map(id, begun))) == tries)
        running.say("And?", first.conversation_id, SHORT)
    time.sleep(0.3)

    assert len(set(map(id, begun))) == 2
    assert not untitled(running)


@pytest.mark.parametrize("model", ["guide", "small"])
def test_neither_the_guide_nor_a_setting_that_is_off_makes_titles(
    quick, model, run_service, make_model
):
    make_model("small")
    running = run_service(model, title_by_model=model == "guide")
    message = running.say("What is this about?", sampling=SHORT)
    time.sleep(0.3)

    assert (
        running.service._worker._beside.due_in_s(running.service._worker._loading.memory, 9) is None
    )
    conversation = running.store.conversation(message.conversation_id)
    assert conversation.title == "What is this about?"
    assert conversation.title_by is TitleBy.TEXT
