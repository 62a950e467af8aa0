"""What the conversation list holds, in order: groups by age, and what a filter leaves.

Plain functions of plain values; no Textual.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from lfm2chat.chat.turns import Conversation

PINNED, TODAY, YESTERDAY, WEEK, OLDER = "Pinned", "Today", "Yesterday", "Last 7 days", "Older"
DAYS_OF_WEEK = 7


@dataclass(frozen=True, slots=True)
class Group:
    """Conversations under one heading, in the order of the list."""

    title: str
    entries: tuple[Conversation, ...]


def ordered(conversations: Iterable[Conversation]) -> list[Conversation]:
    """Those that the list shows: none of trash or archive; the pinned ones first, and in both
    parts the one that changed last first.
    """
    shown = [one for one in conversations if one.trashed_at is None and one.archived_at is None]
    return sorted(shown, key=lambda one: (one.pinned_at is None, -one.updated_at, -one.id))


def grouped(conversations: Sequence[Conversation], *, now: float) -> list[Group]:
    """``conversations``, which are :func:`ordered`, by age; ``now`` is unix seconds.

    Days are those of the local calendar. No group is empty.
    """
    today = datetime.fromtimestamp(now, UTC).astimezone().date()
    begins = [
        (TODAY, _midnight(today)),
        (YESTERDAY, _midnight(today - timedelta(days=1))),
        (WEEK, _midnight(today - timedelta(days=DAYS_OF_WEEK))),
    ]
    groups: dict[str, list[Conversation]] = {}
    for entry in conversations:
        title = PINNED
        if entry.pinned_at is None:
            title = next((name for name, at in begins if entry.updated_at >= at), OLDER)
        groups.setdefault(title, []).append(entry)
    return [Group(title, tuple(entries)) for title, entries in groups.items()]


def _midnight(day: date) -> float:
    return datetime.combine(day, time.min).astimezone().timestamp()


def folded(text: str) -> str:
    """``text`` without case and accents: what looks the same when typed in haste is the same."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


class TitleFilter:
    """Finds conversations by words of their titles and tags, and remembers the folded forms."""

    def __init__(self) -> None:
        self._folded: dict[int, tuple[Conversation, str]] = {}

    def matching(self, conversations: Sequence[Conversation], typed: str) -> list[Conversation]:
        """Those whose title and tags together hold every word of ``typed``; the order stays.

        A word with ``#`` in front is one of a tag.
        """
        words = folded(typed).split()
        return [one for one in conversations if self._holds(one, words)]

    def _holds(self, one: Conversation, words: Sequence[str]) -> bool:
        known = self._folded.get(one.id)
        if known is None or known[0] is not one:
            tags = " ".join(f"#{tag}" for tag in one.tags)
            known = (one, folded(f"{one.title}\n{tags}"))
            self._folded[one.id] = known
        return all(word in known[1] for word in words)


def known_tags(conversations: Iterable[Conversation]) -> list[str]:
    """Every tag in use, the most used first; of two that differ in case the first."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for entry in conversations:
        for tag in entry.tags:
            key = tag.casefold()
            names.setdefault(key, tag)
            counts[key] = counts.get(key, 0) + 1
    return [names[key] for key in sorted(counts, key=lambda key: (-counts[key], key))]
