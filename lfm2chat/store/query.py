"""What a search asks for: words, and filters that are written as words.

``tag:work``, ``model:350m``, ``in:title``, ``before:2026-01-01``, ``after:2026``, ``is:pinned``,
``is:archived``; all of them must hold. A value with spaces stands in quotes, ``tag:"to do"``; a
word that only looks like a filter is looked for when it stands in quotes as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from lfm2chat.errors import UsageError

FILTERS = ("tag:x", "model:x", "in:title", "before:2026-01-31", "after:2026-01", "is:pinned",
           "is:archived")  # fmt: skip
"""One example of each, for help and hints."""

_FILTER = re.compile(r'(?<!\S)(tag|model|in|before|after|is):("([^"]*)"?|\S*)', re.IGNORECASE)
_PHRASE = re.compile(r'"[^"]*"?')
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?-?")


@dataclass(frozen=True, slots=True)
class Query:
    """``words`` is what is looked for in texts, as :func:`lfm2chat.store.search.terms` reads it.

    ``tags`` must all be there; ``models`` are parts of a model's name. ``before_s`` and ``after_s``
    are unix seconds in the local time: at or after the one, earlier than the other.
    """

    words: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    in_title: bool = False
    before_s: float | None = None
    after_s: float | None = None
    pinned: bool = False
    archived: bool = False
    filtered: bool = False

    @property
    def empty(self) -> bool:
        """Whether it asks for nothing."""
        return not self.filtered and not self.words.strip()


def parse_query(text: str) -> Query:
    """What ``text`` asks for.

    Raises:
        UsageError: A filter has a value that means nothing.
    """
    query, words, at = Query(), "", 0
    phrases = [match.span() for match in _PHRASE.finditer(text)]
    for match in _FILTER.finditer(text):
        if any(begin < match.start() < end for begin, end in phrases):
            continue
        name = match[1].lower()
        value = (match[3] if match[3] is not None else match[2]).strip()
        if not value:
            raise UsageError(f"{name}: of what?", hint=f"such as {_example(name)}")
        query = replace(_READERS[name](query, value), filtered=True)
        words += text[at : match.start()]
        at = match.end()
    return replace(query, words=(words + text[at:]).strip())


def as_query(arguments: list[str]) -> str:
    """The query that a shell's ``arguments`` were: it took the quotes away, so what came as one
    argument is one phrase, or the value of one filter.
    """
    return " ".join(_quoted(argument) if " " in argument else argument for argument in arguments)


def _quoted(argument: str) -> str:
    match = _FILTER.match(argument)
    if match is not None and '"' not in argument:
        name, _, value = argument.partition(":")
        return f'{name}:"{value}"'
    return f'"{argument}"'


def _tag(query: Query, value: str) -> Query:
    return replace(query, tags=(*query.tags, value))


def _model(query: Query, value: str) -> Query:
    return replace(query, models=(*query.models, value))


def _in(query: Query, value: str) -> Query:
    if value.lower() not in ("title", "titles"):
        raise _unknown("in", value)
    return replace(query, in_title=True)


def _is(query: Query, value: str) -> Query:
    match value.lower():
        case "pinned":
            return replace(query, pinned=True)
        case "archived":
            return replace(query, archived=True)
        case _:
            raise _unknown("is", value)


def _before(query: Query, value: str) -> Query:
    day = _day("before", value)
    return replace(query, before_s=day if query.before_s is None else min(day, query.before_s))


def _after(query: Query, value: str) -> Query:
    day = _day("after", value)
    return replace(query, after_s=day if query.after_s is None else max(day, query.after_s))


_READERS: dict[str, Callable[[Query, str], Query]] = {
    "tag": _tag, "model": _model, "in": _in, "is": _is, "before": _before, "after": _after,
}  # fmt: skip


def _day(name: str, value: str) -> float:
    """The beginning of a day, month or year in the local time, unix seconds."""
    match = _DATE.fullmatch(value)
    try:
        if match is not None:
            year, month, day = match[1], match[2] or 1, match[3] or 1
            return datetime(int(year), int(month), int(day)).astimezone().timestamp()
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{name}:{value} is no date", hint=f"such as {_example(name)}, {name}:2026")


def _example(name: str) -> str:
    return next(example for example in FILTERS if example.startswith(f"{name}:"))


def _unknown(name: str, value: str) -> UsageError:
    known = " and ".join(example for example in FILTERS if example.startswith(f"{name}:"))
    return UsageError(
        f"{name}:{value} is no filter", hint=f"known: {known}; in quotes it is looked for as a word"
    )
