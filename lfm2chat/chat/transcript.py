r"""A branch of a conversation as a Markdown document that people read and keep.

What it says can be read back (:mod:`lfm2chat.store.imports.transcripts`): front matter in YAML,
then for each message a heading with its speaker, a line of facts where something is known, and the
text between empty lines. A line of a text that looks like one of ours gets a backslash, which
Markdown does not show; one that stood there already gets another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from lfm2chat.chat.attachments import fenced
from lfm2chat.chat.text import SAFE, one_line, safe
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.spec import FinishReason

USER, ASSISTANT = "You", str(Role.ASSISTANT)
HEADING, RULE, TITLE = "## ", "---", 'title: "'
BETWEEN_FACTS = " · "
TIME = "%Y-%m-%dT%H:%M:%SZ"

# JSON has an escape for each character that no terminal may have, and for some a meaning.
_ESCAPES = {code: json.dumps(chr(code))[1:-1] for code in SAFE}
_ENDINGS = "|".join(sorted({*MessageStatus, *FinishReason}))
_FACT = rf"(?:{_ENDINGS}|seed \d+|temperature [-+.\de]+|\d+ tokens|[.\d]+ tokens/s)"
_FACTS = re.compile(rf"\*{_FACT}(?:{BETWEEN_FACTS}{_FACT})*\*")


def markdown(conversation: Conversation, branch: Sequence[Message]) -> str:
    """The document, ending in a newline: safe to print, as :func:`lfm2chat.chat.text.safe` says."""
    return "\n".join([*_front_matter(conversation, branch), *_messages(branch)])


def ending(message: Message) -> str:
    """How an answer ended, if not of itself: a word; empty for one that is complete."""
    if message.status is not MessageStatus.DONE:
        return message.status.value
    if message.finish_reason not in (None, FinishReason.STOP):
        return str(message.finish_reason)
    return ""


def facts(message: Message) -> Iterator[str]:
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


def are_facts(line: str) -> bool:
    """Whether ``line`` is one of facts, as this module writes them."""
    return _FACTS.fullmatch(line) is not None


def speaker(model: str) -> str:
    """The heading of an answer of ``model``; never the user's."""
    name = one_line(model, 200)
    return name if name not in {"", USER} else ASSISTANT


def speakers(models: Iterable[str]) -> frozenset[str]:
    """All headings in a document about ``models``."""
    return frozenset({USER, ASSISTANT, *map(speaker, models)})


def escaped(text: str, headings: frozenset[str]) -> list[str]:
    """The lines of ``text``, where one that looks like ours has a backslash more."""
    lines = text.split("\n")
    return ["\\" * _looks_ours(lines, at, headings) + line for at, line in enumerate(lines)]


def unescaped(lines: Sequence[str], headings: frozenset[str]) -> str:
    """The inverse of :func:`escaped`."""
    return "\n".join(
        line[1:] if line.startswith("\\") and _looks_ours(lines, at, headings) else line
        for at, line in enumerate(lines)
    )


def _looks_ours(lines: Sequence[str], at: int, headings: frozenset[str]) -> bool:
    bare = lines[at].lstrip("\\")
    if at == 0 and are_facts(bare):
        return True
    if bare == RULE:  # Anywhere else it is a rule between paragraphs, as models like them.
        return at + 1 < len(lines) and lines[at + 1].startswith(TITLE)
    return bare.startswith(HEADING) and bare[len(HEADING) :] in headings


def _front_matter(conversation: Conversation, branch: Sequence[Message]) -> Iterator[str]:
    # A JSON text is a YAML text, in which no title can begin anything of its own.
    yield RULE
    yield f"title: {_quoted(conversation.title)}"
    yield f"created: {_time(conversation.created_at)}"
    yield f"updated: {_time(conversation.updated_at)}"
    yield f"models: {_quoted(_models(branch))}"
    if conversation.system_prompt:
        yield f"system_prompt: {_quoted(conversation.system_prompt)}"
    if conversation.sampling is not None:
        yield f"sampling: {json.dumps(conversation.sampling.as_dict())}"
    yield RULE
    yield ""


def _messages(branch: Sequence[Message]) -> Iterator[str]:
    headings = speakers(_models(branch))
    for message in branch:
        yield HEADING + (USER if message.role is Role.USER else speaker(message.model))
        known = BETWEEN_FACTS.join(facts(message))
        yield from ["", f"*{known}*"] if known else []
        # Safe first: a line separator becomes a newline, and what follows it a line.
        yield from ["", *escaped(safe(_with_attachments(message)), headings), ""]


def _with_attachments(message: Message) -> str:
    files = (
        f"Attached: {_plain(file.label)}\n\n{fenced(file.text)}" for file in message.attachments
    )
    return "\n\n".join([message.text, *files])


def _plain(text: str) -> str:
    """``text`` with nothing in it that Markdown would read."""
    return re.sub(r"([\\`*_\[\]<>&])", r"\\\1", text)


def _models(branch: Sequence[Message]) -> list[str]:
    return list(dict.fromkeys(message.model for message in branch if message.model))


def _quoted(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):{TIME}}"
