"""Names that people give: two that differ only in how they are written are one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from lfm2chat.chat.text import safe
from lfm2chat.errors import UsageError
from lfm2chat.store.rows import stored_text

MOST_TAG_CHARACTERS = 40
MOST_TAGS = 32


@dataclass(frozen=True, slots=True)
class Tag:
    """A word that a conversation is found by: ``name`` is one line, ``key`` is it without case."""

    key: str
    name: str


def name_key(name: str) -> str | bytes:
    """The same for two names that differ in case, in spaces, or in how an accent is encoded.

    Raises:
        UsageError: The name is empty.
    """
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    key = " ".join(folded.split())
    if not key:
        raise UsageError("the name is empty", hint="write one")
    return stored_text(key)


def tags_of(names: Iterable[str]) -> tuple[Tag, ...]:
    """The tags that ``names`` make, in the order of their keys: of two that differ only in how
    they are written, the first.

    Raises:
        UsageError: One is empty or too long, or there are too many.
    """
    tags: dict[str, Tag] = {}
    for name in names:
        line = " ".join(safe(name).split())
        if len(line) > MOST_TAG_CHARACTERS:
            raise UsageError(
                f"a tag has {len(line)} characters, at most {MOST_TAG_CHARACTERS} may be there",
                hint="write a shorter one",
            )
        key = str(name_key(line))  # of a safe text, which SQLite can keep
        tags.setdefault(key, Tag(key, line))
    if len(tags) > MOST_TAGS:
        raise UsageError(
            f"{len(tags)} tags, at most {MOST_TAGS} may be there", hint="take some out"
        )
    return tuple(sorted(tags.values(), key=lambda tag: tag.key))
