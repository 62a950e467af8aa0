"""A branch of a conversation as a Markdown document that people read and keep."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from lfm2chat.chat.attachments import fenced
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.spec import FinishReason


def markdown(conversation: Conversation, branch: Sequence[Message]) -> str:
    """The document, ending in a newline: front matter in YAML, then a heading for each message.

    Texts are raw, as they are stored: whoever prints them passes all of it through
    :func:`lfm2chat.chat.text.safe`.
    """
    return "\n".join([*_front_matter(conversation, branch), *_messages(branch)])


def ending(message: Message) -> str:
    """How an answer ended, if not of itself: a word; empty for one that is complete."""
    if message.status is not MessageStatus.DONE:
        return message.status.value
    if message.finish_reason not in (None, FinishReason.STOP):
        return str(message.finish_reason)
    return ""


def _front_matter(conversation: Conversation, branch: Sequence[Message]) -> Iterator[str]:
    # A JSON text is a YAML text, in which no title can begin anything of its own.
    yield "---"
    yield f"title: {_quoted(conversation.title)}"
    yield f"created: {_time(conversation.created_at)}"
    yield f"updated: {_time(conversation.updated_at)}"
    models = dict.fromkeys(message.model for message in branch if message.model)
    yield f"models: {json.dumps(list(models), ensure_ascii=False)}"
    if conversation.system_prompt:
        yield f"system_prompt: {_quoted(conversation.system_prompt)}"
    if conversation.sampling is not None:
        yield f"sampling: {json.dumps(conversation.sampling.as_dict())}"
    yield "---"
    yield ""


def _messages(branch: Sequence[Message]) -> Iterator[str]:
    for message in branch:
        yield f"## {'You' if message.role is Role.USER else message.model or message.role}"
        facts = list(_facts(message))
        yield from ["", f"*{' · '.join(facts)}*"] if facts else []
        yield from ["", message.text.rstrip("\n"), ""]
        for file in message.attachments:
            yield from [f"Attached: {_plain(file.label)}", "", fenced(file.text), ""]


def _facts(message: Message) -> Iterator[str]:
    """What is known of an answer; nothing that was not measured."""
    if message.role is not Role.ASSISTANT:
        return
    if how := ending(message):
        yield how
    if message.seed is not None:
        yield f"seed {message.seed}"
    if message.sampling is not None:
        yield f"temperature {message.sampling.temperature:g}"
    if message.timing is not None:
        yield f"{message.timing.generated_tokens} tokens"
        if message.timing.decode_rate is not None:
            yield f"{message.timing.decode_rate:.1f} tokens/s"


def _plain(text: str) -> str:
    """``text`` with nothing in it that Markdown would read."""
    return re.sub(r"([\\`*_\[\]<>&])", r"\\\1", text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
