"""Conversations that do not fit any more, said turn by turn through a running service."""

from lfm2chat.runtime.events import TurnFinished
from lfm2chat.spec import SamplingParams

GREEDY = SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=24)
QUESTION = "How do I rename a conversation, and where do I find it again afterwards?"
PATIENCE_S = 60
LIMIT = 512
SUMMARISE = {"context_tokens": LIMIT, "context_policy": "summarise"}


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
