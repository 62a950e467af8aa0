"""Finding words in every conversation: ranked, with the place that matched.

A search is words, all of which must stand in one message or in a title. ``"as a phrase"`` looks for
the words in that order, ``begin*`` for words that begin so. Letters count without accents and
case. Filters may stand among the words (:mod:`lfm2chat.store.query`).

Titles and messages are searched, the files that go with a message are not: a long one would be
found for every other word.

Writing without spaces (Chinese, Japanese, Thai) has no words that an index could know: where a
search holds such letters, texts are looked through instead, the newest first.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lfm2chat.chat.turns import Role
from lfm2chat.store.names import name_key
from lfm2chat.store.query import Query, parse_query
from lfm2chat.store.reads import HIDDEN
from lfm2chat.store.rows import loaded_text

MOST_HITS = 50
RANKED = 2_000
"""Of so many of the newest matches the best are shown: ranking all that hold "the" takes long."""

_SNIPPET_TOKENS = 16
_AROUND = 40
"""Characters on both sides of a match in a text without spaces."""

# Noncharacters: no text should have them, and a text that does is only highlighted wrongly.
_BEGIN, _END = "\ufdd0", "\ufdd1"
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_WORD = re.compile(r"[^\W_]")
# Kana, Han, Thai, Lao, Khmer, Myanmar.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\U00020000-\U0003134f]"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, and whether it is what was searched for."""

    text: str
    matched: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """One message that holds what was searched for; or a title, then ``message_id`` is None.

    ``snippet`` is raw text around the match, in order.
    """

    conversation_id: int
    title: str
    message_id: int | None
    role: Role | None
    created_at: float
    snippet: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One word, or the words of a phrase; ``prefix`` where the last one may go on."""

    text: str
    prefix: bool = False

    def as_match(self) -> str:
        """In the index's own language: a quoted string, in which nothing has a meaning."""
        quoted = self.text.replace('"', '""')
        return f'"{quoted}"{"*" if self.prefix else ""}'


def terms(query: str, *, typing: bool = False) -> list[Term]:
    """What ``query`` asks for; ``typing``: its last word may still grow."""
    found: list[Term] = []
    query = query.replace("\0", " ")
    for match in _TERM.finditer(query):
        phrase, word = match[1], match[2]
        text = (phrase if phrase is not None else word).strip()
        prefix = word is not None and word.endswith("*")
        if typing and word is not None and match.end() == len(query):
            prefix = True
        if _WORD.search(text):
            found.append(Term(text.encode("utf-8", "replace").decode(), prefix))
    return found


def search(
    connection: sqlite3.Connection, query: str, *, typing: bool = False, limit: int = MOST_HITS
) -> list[Hit]:
    """Titles first, then messages, the best first; none of the trash, no hidden message, none for
    an empty query. Filters alone give the titles of what they let through, the newest first.

    Raises:
        UsageError: A filter has a value that means nothing.
        sqlite3.DatabaseError: An index is damaged (see :mod:`lfm2chat.store.search_index`).
    """
    asked = parse_query(query)
    wanted = terms(asked.words, typing=typing)
    if not wanted and not asked.filtered:
        return []
    narrowing = _narrowing(asked)
    if not wanted or any(_UNSPACED.search(term.text) for term in wanted):
        return list(_look_through(connection, wanted, narrowing, limit))
    match = " ".join(term.as_match() for term in wanted)
    values = narrowing.values | {
        "match": match, "begin": _BEGIN, "end": _END, "tokens": _SNIPPET_TOKENS,
        "ranked": RANKED, "limit": limit,
    }  # fmt: skip
    titles = [_hit(row) for row in connection.execute(narrowing.fill(_TITLES), values)]
    if narrowing.titles_only:
        return titles
    values["limit"] = limit - len(titles)
    return titles + [_hit(row) for row in connection.execute(narrowing.fill(_MESSAGES), values)]


@dataclass(frozen=True, slots=True)
class _Narrowing:
    """The filters as conditions: ``of_title`` and ``of_message`` begin with AND, or are empty."""

    of_title: str
    of_message: str
    values: dict[str, object]
    titles_only: bool

    def fill(self, statement: str) -> str:
        """``statement`` with the conditions in their places. Only where there are any does the
        index have to ask the tables for each match.
        """
        joined = _OF_MATCH if self.of_message else ""
        return (
            statement.replace("{joined}", joined)
            .replace("{of_title}", self.of_title)
            .replace("{of_message}", self.of_message)
        )


def _narrowing(query: Query) -> _Narrowing:
    """Own SQL only; what was typed goes into the values."""
    both: list[str] = []
    values: dict[str, object] = {}
    for index, tag in enumerate(query.tags):
        both.append(
            "EXISTS (SELECT 1 FROM tag WHERE tag.conversation_id = conversation.id "  # noqa: S608 - own words
            f"AND tag.key = :tag{index})"
        )
        values[f"tag{index}"] = name_key(tag)
    if query.pinned:
        both.append("conversation.pinned_at IS NOT NULL")
    if query.archived:
        both.append("conversation.archived_at IS NOT NULL")
    of_title, of_message = list(both), list(both)
    for index, model in enumerate(query.models):
        of_title.append(f"instr(lower(conversation.model), :model{index})")
        of_message.append(
            "instr(lower(iif(message.model <> '', message.model, conversation.model)), "
            f":model{index})"
        )
        values[f"model{index}"] = model.lower()
    for name, sign, moment in (("before", "<", query.before_s), ("after", ">=", query.after_s)):
        if moment is not None:
            of_title.append(f"conversation.created_at {sign} :{name}")
            of_message.append(f"message.created_at {sign} :{name}")
            values[name] = moment
    return _Narrowing(_and(of_title), _and(of_message), values, query.in_title)


def _and(conditions: Sequence[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)


_OF_MATCH = """
    JOIN message ON message.id = message_search.rowid
    JOIN conversation ON conversation.id = message.conversation_id
"""

_TITLES = """
    WITH found AS MATERIALIZED (
        SELECT rowid AS id, rank AS score,
            CAST(snippet(title_search, 0, :begin, :end, '…', :tokens) AS BLOB) AS snippet
        FROM title_search WHERE title_search MATCH :match ORDER BY rank LIMIT :ranked
    )
    SELECT conversation.id AS conversation_id, title, NULL AS message_id, NULL AS role,
        created_at, snippet
    FROM found JOIN conversation ON conversation.id = found.id
    WHERE trashed_at IS NULL {of_title} ORDER BY score LIMIT :limit
"""

# Ranked among the newest matches; the text around a match is cut out for those that are shown.
_MESSAGES = f"""
    WITH RECURSIVE {HIDDEN}, newest AS MATERIALIZED (
        SELECT message_search.rowid AS id, bm25(message_search) AS score
        FROM message_search {{joined}} WHERE message_search MATCH :match {{of_message}}
        ORDER BY message_search.rowid DESC LIMIT :ranked
    ), best AS MATERIALIZED (
        SELECT message.id AS id, score, conversation_id, role, title, message.created_at AS created
        FROM newest JOIN message ON message.id = newest.id
        JOIN conversation ON conversation.id = conversation_id
        WHERE conversation.trashed_at IS NULL AND message.id NOT IN (SELECT id FROM hidden)
        ORDER BY score, message.id DESC LIMIT :limit
    )
    SELECT conversation_id, title, best.id AS message_id, role, created AS created_at,
        CAST(snippet(message_search, 0, :begin, :end, '…', :tokens) AS BLOB) AS snippet
    FROM best JOIN message_search ON message_search.rowid = best.id
    WHERE message_search MATCH :match
    ORDER BY score, best.id DESC
"""  # noqa: S608 - own constants

_NEWEST_TITLES = """
    SELECT id AS conversation_id, title, NULL AS message_id, NULL AS role, created_at, title AS text
    FROM conversation WHERE trashed_at IS NULL {of_title} {holds}
    ORDER BY change DESC LIMIT :limit
"""

_NEWEST = f"""
    WITH RECURSIVE {HIDDEN}
    SELECT conversation_id, title, message.id AS message_id, role,
        message.created_at AS created_at, text AS text
    FROM message JOIN conversation ON conversation.id = conversation_id
    WHERE conversation.trashed_at IS NULL AND status <> 'writing'
        AND message.id NOT IN (SELECT id FROM hidden) {{of_message}} {{holds}}
    ORDER BY message.id DESC LIMIT :limit
"""  # noqa: S608 - own constants


def _look_through(
    connection: sqlite3.Connection, wanted: Sequence[Term], narrowing: _Narrowing, limit: int
) -> Iterator[Hit]:
    texts = [term.text.removesuffix("*") for term in wanted]
    values = narrowing.values | {f"text{index}": text for index, text in enumerate(texts)}

    def rows(statement: str, column: str, most: int) -> list[sqlite3.Row]:
        holds = _and([f"instr({column}, :text{index})" for index in range(len(texts))])
        statement = narrowing.fill(statement).replace("{holds}", holds)
        return connection.execute(statement, values | {"limit": most}).fetchall()

    found = rows(_NEWEST_TITLES, "title", limit)
    if texts and not narrowing.titles_only:
        found += rows(_NEWEST, "text", limit - len(found))
    for row in found:
        yield _hit(row, _cut_out(loaded_text(row["text"]), texts))


def _cut_out(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    """The text around the first of ``words``, with each place where one stands."""
    if not words:
        return (Piece(text, matched=False),)
    first = min((at for word in words if (at := text.find(word)) >= 0), default=0)
    begin, end = max(0, first - _AROUND), first + 3 * _AROUND
    around = text[begin:end]
    parts = re.split("(" + "|".join(map(re.escape, words)) + ")", around)
    pieces = [Piece(part, bool(index % 2)) for index, part in enumerate(parts) if part]
    before = [Piece("…", matched=False)] if begin else []
    after = [Piece("…", matched=False)] if end < len(text) else []
    return (*before, *pieces, *after)


def _hit(row: sqlite3.Row, snippet: tuple[Piece, ...] | None = None) -> Hit:
    if snippet is None:
        snippet = _pieces(row["snippet"].decode("utf-8", "replace"))
    return Hit(
        row["conversation_id"],
        loaded_text(row["title"]),
        row["message_id"],
        Role(row["role"]) if row["role"] else None,
        row["created_at"],
        snippet,
    )


def _pieces(marked: str) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for index, part in enumerate(marked.split(_BEGIN)):
        matched, end, rest = part.partition(_END) if index else ("", "", part)
        if not end:
            matched, rest = "", matched + rest
        pieces += [Piece(matched, matched=True)] if matched else []
        pieces += [Piece(rest, matched=False)] if rest else []
    return tuple(pieces)
