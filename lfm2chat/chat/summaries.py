"""Summaries that a model makes of a conversation's beginning: asked for, and shown to it again.

A summary stands for the first messages of a branch. It says which they are, and carries a digest of
them and of the summary that it was made from: a branch that says anything else there has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.thoughts import without_thought
from lfm2chat.chat.tokenizer import Tokenizer, without_surrogates
from lfm2chat.chat.turns import PromptMessage, Role
from lfm2chat.chat.window import message_tokens

_BEGIN: Final = "[Summary of the earlier part of this conversation, which is no longer shown]"
_END: Final = "[End of the summary]"
_CUT: Final = " \u2026"
SPARE_TOKENS: Final = 8
"""Where a text is cut or put together, its parts may take a few tokens more than the whole."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands for the first ``messages`` messages of a branch, the system's not counted.

    Attributes:
        text: What the model wrote, raw.
        messages: How many messages it stands for.
        last_id: The number of the last of them.
        digest: That of all of them and of ``before``.
        before: The seal of the summary that it was made from; "" where there was none.
    """

    text: str
    messages: int
    last_id: int
    digest: str
    before: str = ""

    @property
    def seal(self) -> str:
        """What no other summary has."""
        return _hash(self.digest, self.text)

    def stands_for(self, ids: Sequence[int], messages: Sequence[PromptMessage]) -> bool:
        """Whether it stands for the beginning of these messages, and something follows."""
        count = self.messages
        return (
            0 < count < len(messages)
            and ids[count - 1] == self.last_id
            and digest(ids[:count], messages[:count], self.before) == self.digest
        )


def digest(ids: Sequence[int], messages: Sequence[PromptMessage], before: str) -> str:
    """The digest of messages with their numbers, and of the seal of an earlier summary."""
    parts = [before]
    for number, message in zip(ids, messages, strict=True):
        parts += [str(number), message.role.value, message.text]
    return _hash(*parts)


def _hash(*parts: str) -> str:
    found = hashlib.sha256()
    for part in parts:
        data = without_surrogates(part).encode()
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


# --- in the prompt --------------------------------------------------------------------------------


def with_summary(system_prompt: str, summary: str) -> str:
    """The system's message with a summary behind it; nothing in the summary ends it."""
    lines = (line for line in summary.splitlines() if line.strip() not in (_BEGIN, _END))
    told = "\n".join((_BEGIN, *lines, _END))
    return f"{system_prompt}\n\n{told}" if system_prompt else told


def split_system(
    messages: Sequence[PromptMessage],
) -> tuple[str, Sequence[PromptMessage]]:
    """The system prompt ("" for none), and the messages after it."""
    if messages and messages[0].role is Role.SYSTEM:
        return messages[0].text, messages[1:]
    return "", messages


def summarised(
    messages: Sequence[PromptMessage], summary: str, left_out: int
) -> tuple[PromptMessage, ...]:
    """``messages`` with ``summary`` in place of the first ``left_out`` after the system's."""
    system, rest = split_system(messages)
    told = PromptMessage(Role.SYSTEM, with_summary(system, summary))
    return (told, *rest[left_out:])


# --- asking for one -------------------------------------------------------------------------------


def summary_question(
    system_prompt: str, before: str, messages: Sequence[PromptMessage], *, words: int
) -> tuple[PromptMessage, ...]:
    """What a model is asked for a summary of ``messages`` and of the summary ``before`` them.

    It begins as the conversation's own prompt does: what is in memory of it need not be read again.
    """
    shown = with_summary(system_prompt, before) if before else system_prompt
    earlier = " Keep what the summary of the earlier part says." if before else ""
    ask = (
        f"Summarise our conversation so far in at most {words} words, so that it can go on from the"
        f" summary alone: names, numbers, decisions, what is still open.{earlier}"
        " Answer with the summary alone, in the language of the conversation."
    )
    head = (PromptMessage(Role.SYSTEM, shown),) if shown else ()
    return (*head, *messages, PromptMessage(Role.USER, ask))


def in_parts(
    messages: Sequence[PromptMessage], template: ChatTemplate, most_tokens: int
) -> list[tuple[PromptMessage, ...]]:
    """``messages`` in parts of at most ``most_tokens``; one that is longer is taken to pieces."""
    parts: list[tuple[PromptMessage, ...]] = []
    held: list[PromptMessage] = []
    total = 0
    for message in messages:
        needed = message_tokens(message, template.tokenizer)
        if held and total + needed > most_tokens:
            parts.append(tuple(held))
            held, total = [], 0
        if needed > most_tokens:
            pieces = _pieces(message, template.tokenizer, most_tokens - SPARE_TOKENS)
            parts += [(piece,) for piece in pieces]
        else:
            held.append(message)
            total += needed
    return [*parts, tuple(held)] if held else parts


def _pieces(message: PromptMessage, tokenizer: Tokenizer, size: int) -> list[PromptMessage]:
    text = without_surrogates(message.text)
    starts = [start for _, start in tokenizer.plain_offsets(text)][::size]
    ends = [*starts[1:], len(text)]
    return [
        PromptMessage(message.role, text[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]


def clean_summary(answer: str, tokenizer: Tokenizer, *, whole: bool, most_tokens: int) -> str:
    """The summary in what a model answered, of at most ``most_tokens``; "" where there is none.

    One that was cut off, in being written (not ``whole``) or here, ends with dots that say so.
    """
    text = without_surrogates(without_thought(answer)).strip()
    if not any(character.isalnum() for character in text):
        return ""
    shown = text if whole else text + _CUT
    keep = most_tokens
    while len(tokenizer.encode_plain(shown)) > most_tokens:
        keep -= 1
        starts = [start for _, start in tokenizer.plain_offsets(text)]
        text = text[: starts[keep]].rstrip() if keep < len(starts) else text
        if keep <= 0:
            return ""
        shown = text + _CUT
    return shown
