"""What fills a conversation's context, as rows and as a bar. Plain values, no widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from lfm2chat.chat.shares import ContextMap
from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Message, Role

TEXT_LENGTH = 100


class Kind(Enum):
    """What a part of the context is."""

    SYSTEM = "system prompt"
    SUMMARY = "the summary"
    QUESTION = "your messages"
    ANSWER = "answers"
    FILE = "files"
    TEMPLATE = "the template"
    RESERVED = "kept for the answer"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one kind, of one message where ``text`` says which. ``seen`` is False where the
    model does not get to read it.
    """

    kind: Kind
    tokens: int
    text: str = ""
    seen: bool = True


def parts(found: ContextMap, messages: Sequence[Message]) -> list[Part]:
    """Every part in the order of the prompt; ``messages`` are those of the shown branch.

    The parts that are seen, with what is kept and what is free, are the limit; where the prompt is
    too long nothing is free.
    """
    told = [one for one in messages if one.text or one.role is not Role.ASSISTANT]
    rows = [Part(Kind.SYSTEM, found.system_tokens)] if found.system_tokens else []
    if found.summary:
        text = one_line(found.summary, TEXT_LENGTH)
        rows.append(Part(Kind.SUMMARY, found.summary_tokens, text))
    for number, share in enumerate(found.shares):
        message = told[number] if number < len(told) else None
        names = [file.label for file in message.attachments] if message is not None else []
        for place, tokens in enumerate(share.file_tokens):
            name = names[place] if place < len(names) else "a file of the draft"
            rows.append(Part(Kind.FILE, tokens, one_line(name, TEXT_LENGTH), share.seen))
        if share.text_tokens:
            text = one_line(message.text, TEXT_LENGTH) if message is not None else "what is typed"
            kind = Kind.ANSWER if share.role is Role.ASSISTANT else Kind.QUESTION
            rows.append(Part(kind, share.text_tokens, text, share.seen))
    rows.append(Part(Kind.TEMPLATE, found.template_tokens))
    rows.append(Part(Kind.RESERVED, found.reserved))
    free = max(0, found.limit - found.reserved - found.prompt_tokens)
    return [*rows, Part(Kind.FREE, free)]


def totals(rows: Sequence[Part]) -> dict[Kind, int]:
    """Tokens of each kind that the model gets to read, in the order of the prompt."""
    found = dict.fromkeys(Kind, 0)
    for part in rows:
        if part.seen:
            found[part.kind] += part.tokens
    return {kind: tokens for kind, tokens in found.items() if tokens}


def bar(shares: dict[Kind, int], width: int) -> list[tuple[Kind, int]]:
    """How many of ``width`` cells each kind fills: together all of them, and none of them none,
    as long as there are cells enough.
    """
    total = sum(shares.values())
    if not total or width <= 0:
        return []
    cells = {kind: max(1, width * tokens // total) for kind, tokens in shares.items()}
    while sum(cells.values()) != width:
        over = sum(cells.values()) > width
        # What is largest feels a cell least.
        largest = max(cells, key=lambda kind: cells[kind])
        if over and cells[largest] == 1:
            break
        cells[largest] += -1 if over else 1
    return list(cells.items())
