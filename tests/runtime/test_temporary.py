"""A temporary conversation goes on like any other, and is in no file, then or later."""

import contextlib
import logging
import sqlite3

import pytest

from lfm2chat.chat.attachments import Attachment
from lfm2chat.errors import ConversationNotFoundError
from lfm2chat.paths import Paths
from lfm2chat.runtime.events import ConversationChanged, TurnAccepted, TurnFinished
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store, is_temporary

CANARY = "zyzzyvaxolotl"
GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0)


def _files_with_canary(paths: Paths) -> list[str]:
    home = paths.data.parent
    return [
        path.name
        for path in home.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


@pytest.fixture
def logged(paths):
    """All that is logged goes into the file of the log, as it does in the app."""
    handler = logging.FileHandler(paths.log_file, encoding="utf-8")
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(handler)
    handler.close()


def _begin(running, text: str, **values: object) -> TurnFinished:
    turn = running.service.submit(text, temporary=True, sampling=GREEDY, **values)
    finished = running.finish(turn)
    assert isinstance(finished, TurnFinished), finished
    return finished


@pytest.mark.usefixtures("logged")
def test_no_file_holds_a_word_of_it(run_service, paths):
    running = run_service()
    long = f"How do I rename {CANARY}? " * 8  # long enough for its context to be saved
    file = Attachment(f"{CANARY}.txt", CANARY)
    first = _begin(running, long, system_prompt=CANARY, attachments=[file]).message
    number = first.conversation_id
    assert is_temporary(number)
    second = running.say("And how do I delete it?", number, GREEDY)
    assert second.timing.cached_tokens > first.timing.prompt_tokens
    running.service.rename(number, f"The {CANARY}").result()
    running.service.save_draft(number, CANARY).result()
    running.service.set_sampling(number, GREEDY).result()
    assert running.service.conversation(number).title == f"The {CANARY}"
    assert running.service.messages(number)[0].text == long

    assert _files_with_canary(paths) == []
    running.service.delete(number).result()
    running.end()
    assert _files_with_canary(paths) == []
    assert not paths.contexts.exists() or not list(paths.contexts.iterdir())


def test_no_list_names_it_and_the_next_service_does_not_know_it(run_service):
    running = run_service()
    kept = running.say("What is the guide?")
    number = _begin(running, "What is lfm2chat?").message.conversation_id
    assert [one.id for one in running.service.conversations()] == [kept.conversation_id]
    assert running.service.conversations(trashed=True) == []
    assert running.store.last_conversation().id == kept.conversation_id
    running.end()
    with pytest.raises(ConversationNotFoundError):
        run_service().service.conversation(number)


def test_it_answers_as_a_kept_one_does(run_service):
    running = run_service()
    kept = running.say("What is lfm2chat?", None, GREEDY)
    assert _begin(running, "What is lfm2chat?").message.text == kept.text


def test_it_is_deleted_and_brought_back_while_the_service_runs(run_service):
    running = run_service()
    number = _begin(running, "What is lfm2chat?").message.conversation_id
    running.service.delete(number).result()
    assert running.wait_for(ConversationChanged).conversation.trashed_at is not None
    running.service.restore(number).result()
    assert running.wait_for(ConversationChanged).conversation.trashed_at is None


def test_it_goes_on_where_the_store_can_only_be_read(run_service, paths):
    Store.open(paths.store).close()
    with contextlib.closing(sqlite3.connect(paths.store)) as connection:
        connection.execute("PRAGMA user_version=99")
    running = run_service()
    _begin(running, "What is lfm2chat?")
    assert is_temporary(running.seen(TurnAccepted)[0].conversation.id)
