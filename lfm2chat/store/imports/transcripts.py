"""Our own Markdown documents, read back: the inverse of :mod:`lfm2chat.chat.transcript`.

A file may hold several, one after the other. What the document does not say is not made up: token
ids, timing and all of the sampling but the seed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from lfm2chat.chat import transcript
from lfm2chat.chat.turns import MessageStatus, Role
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.store.archive import LATEST_TIME, Tree
from lfm2chat.store.imports.fields import text, texts
from lfm2chat.store.imports.trees import Node, refused, tree_of

_KEYS = (transcript.TITLE, "created: ", "updated: ", "models: [")


def is_ours(lines: Sequence[str], at: int = 0) -> bool:
    """Whether a document of ours begins at line ``at``."""
    return lines[at] == transcript.RULE and all(
        line.startswith(key) for line, key in zip(lines[at + 1 : at + 5], _KEYS, strict=False)
    )


def read_transcripts(lines: Sequence[str]) -> list[Tree]:
    """The conversations in the lines of a file that begins with a document of ours.

    Raises:
        ArchiveError: One of them cannot be meant; it says which, and what is wrong.
    """
    if not lines[-1]:  # What follows the last newline is no line.
        lines = lines[:-1]
    begins = [at for at, line in enumerate(lines) if line == transcript.RULE and is_ours(lines, at)]
    trees = []
    for number, (begin, end) in enumerate(pairwise([*begins, len(lines)]), start=1):
        try:
            trees.append(_read(lines[begin:end], number))
        except (ValueError, RecursionError, Lfm2ChatError) as error:
            raise refused(number, "", error) from error
    return trees


def _read(lines: Sequence[str], number: int) -> Tree:
    if transcript.RULE not in lines[1:]:
        raise ValueError("its front matter has no end")
    body = lines.index(transcript.RULE, 1) + 1
    about = dict(_entry(line) for line in lines[1:body - 1] if line)  # fmt: skip
    models = texts(about, "models")
    created = _time(about, "created")
    sampling = about.get("sampling")
    if sampling is not None and not isinstance(sampling, dict):
        raise ValueError("sampling is no JSON object")
    return tree_of(
        _nodes(lines[body:], models, created),
        number=number,
        current=None,
        title=text(about, "title"),
        created_at=created,
        updated_at=_time(about, "updated"),
        system_prompts=[text(about, "system_prompt")],
        sampling=None if sampling is None else SamplingParams.from_dict(sampling),
    )


def _entry(line: str) -> tuple[str, Any]:
    name, colon, value = line.partition(": ")
    if not colon:
        raise ValueError("a line of its front matter has no value")
    return name, value if name in {"created", "updated"} else json.loads(value)


def _time(about: dict[str, Any], name: str) -> float:
    when = datetime.strptime(text(about, name), transcript.TIME).replace(tzinfo=UTC).timestamp()
    if abs(when) > LATEST_TIME:
        raise ValueError(f"{name} is no time of a conversation")
    return when


def _nodes(lines: Sequence[str], models: Sequence[str], created: float) -> list[Node]:
    headings = transcript.speakers(models)
    names = {transcript.speaker(model): model for model in reversed(models)}
    marks = [
        at
        for at, line in enumerate(lines)
        if line.startswith(transcript.HEADING) and line[len(transcript.HEADING) :] in headings
    ]
    nodes: list[Node] = []
    for begin, end in pairwise([*marks, len(lines)]):
        name = lines[begin][len(transcript.HEADING) :]
        user = name == transcript.USER
        said, facts = _parts(lines[begin + 1 : end], user=user)
        status, reason, seed = _known(facts)
        nodes.append(
            Node(
                str(len(nodes) + 1),
                nodes[-1].key if nodes else None,
                Role.USER if user else Role.ASSISTANT,
                transcript.unescaped(said, headings),
                created,
                "" if user else names.get(name, ""),
                status,
                seed=seed,
                finish_reason=reason,
            )
        )
    return nodes


def _parts(lines: Sequence[str], *, user: bool) -> tuple[Sequence[str], list[str]]:
    """The lines of a text without the empty ones around it, and the facts above it."""
    facts: list[str] = []
    if lines and not lines[0]:
        lines = lines[1:]
    if not user and lines and transcript.are_facts(lines[0]):
        facts, lines = lines[0].strip("*").split(transcript.BETWEEN_FACTS), lines[1:]
        lines = lines[1:] if lines and not lines[0] else lines
    return (lines[:-1] if len(lines) > 1 and not lines[-1] else lines), facts


def _known(facts: Sequence[str]) -> tuple[MessageStatus, FinishReason | None, int | None]:
    status, reason, seed = MessageStatus.DONE, None, None
    for fact in facts:
        if fact in {*MessageStatus}:
            status = MessageStatus(fact)
        elif fact in {*FinishReason}:
            reason = FinishReason(fact)
        elif fact.startswith("seed "):
            seed = int(fact.removeprefix("seed "))
    if seed is not None and seed >= 2**63:
        raise ValueError(f"the seed {seed} is too large")
    # An answer that was being written when it was exported has no writer here.
    return (
        status if status is not MessageStatus.WRITING else MessageStatus.INTERRUPTED,
        reason,
        seed,
    )
