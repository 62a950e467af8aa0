"""Titles that a model makes: what it is asked, and what of its answer may be one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Message, PromptMessage, Role

MOST_WORDS: Final = 6
MOST_CHARACTERS: Final = 60
_READ_CHARACTERS: Final = 800
"""Of each message: what a conversation is about is said at its beginning."""

_ASK: Final = (
    f"Give this conversation a title of at most {MOST_WORDS} words. "
    "Answer with the title alone, in the language of the conversation."
)
_LABEL: Final = re.compile(
    r"^(?:the )?(?:conversation )?(?:title|titel|titre)\s*(?:is)?\s*:\s*", re.IGNORECASE
)
_AROUND: Final = " \t\"'`*_#\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb\u2039\u203a"
_REFUSAL: Final = re.compile(
    r"^(?:i'?m |i am |i can(?:no|')t|i do not|i don't|i won't|sorry|as an ai|unfortunately"
    r"|sure\b|of course\b|here(?:'s| is)\b|certainly\b)",
    re.IGNORECASE,
)


def title_question(branch: Sequence[Message]) -> tuple[PromptMessage, ...]:
    """What a model is asked for the title of the conversation that begins with ``branch``."""
    said = [
        PromptMessage(message.role, message.as_prompt().text[:_READ_CHARACTERS])
        for message in branch[:2]
    ]
    return (*said, PromptMessage(Role.USER, _ASK))


def clean_title(answer: str) -> str | None:
    """The title in what a model answered; None where that is none: empty, too long, a refusal."""
    lines = [line for line in map(str.strip, answer.splitlines()) if line]
    if not lines:
        return None
    # One character more than is allowed, to see that it is too long.
    title = one_line(lines[0], MOST_CHARACTERS * 4).strip(_AROUND)
    title = _LABEL.sub("", title).strip(_AROUND)
    title = title.removesuffix(".").rstrip(_AROUND)
    if not any(character.isalnum() for character in title) or _REFUSAL.match(
        title.replace("\u2019", "'")
    ):
        return None
    if len(title) > MOST_CHARACTERS or len(title.split()) > MOST_WORDS:
        return None
    return title
