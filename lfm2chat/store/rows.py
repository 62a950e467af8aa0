"""Rows to dataclasses and back: text of any kind, token ids, JSON.

Text is kept lossless. SQLite's TEXT cannot hold a lone surrogate, which Python makes of a bad
byte on the command line or in a file name, so such a text is stored as a BLOB (UTF-8 with
``surrogatepass``); every other text is stored as TEXT, which can be searched.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role, TitleBy
from lfm2chat.errors import Lfm2ChatError, StoreError
from lfm2chat.spec import FinishReason, SamplingParams, Timing

CONVERSATION_COLUMNS = """
    id, title, created_at, updated_at, tip_id, system_prompt, model, sampling, draft, trashed_at,
    pinned_at, archived_at, title_by,
    (SELECT count(*) FROM message WHERE conversation_id = conversation.id) AS message_count
"""
MESSAGE_COLUMNS = """
    message.id, conversation_id, parent_id, role, text, status, created_at, model, token_ids,
    tokenizer_hash, finish_reason, sampling, seed, timing, error, trashed_at,
    EXISTS (SELECT 1 FROM attachment WHERE message_id = message.id) AS has_attachments
"""

_SAMPLING_NAMES = frozenset(field.name for field in fields(SamplingParams))


class RowReader:
    """Makes the dataclasses of one answer to one question; not shared between threads.

    Most messages of a conversation have the same sampling parameters, so each different JSON
    text is parsed once.
    """

    def __init__(self) -> None:
        self._known: dict[str, SamplingParams] = {}

    def conversation(self, row: sqlite3.Row, *, tags: Sequence[str | bytes] = ()) -> Conversation:
        """The conversation in a row of ``CONVERSATION_COLUMNS``; ``tags`` are the names of its
        tags, in order.

        Raises:
            StoreError: The row holds what no version of lfm2chat writes.
        """
        try:
            return Conversation(
                id=row["id"],
                title=loaded_text(row["title"]),
                created_at=row["created_at"],
                updated_at=row["updated_at"],
                tip_id=row["tip_id"],
                system_prompt=loaded_text(row["system_prompt"]),
                model=loaded_text(row["model"]),
                sampling=self.sampling(row["sampling"]),
                draft=loaded_text(row["draft"]),
                trashed_at=row["trashed_at"],
                message_count=row["message_count"],
                pinned_at=row["pinned_at"],
                archived_at=row["archived_at"],
                title_by=TitleBy(row["title_by"]),
                tags=tuple(loaded_text(name) for name in tags),
            )
        except (ValueError, TypeError, AttributeError, Lfm2ChatError) as error:
            raise _damaged("conversation", row["id"], error) from error

    def message(
        self, row: sqlite3.Row, *, chunks: str = "", attachments: Sequence[sqlite3.Row] = ()
    ) -> Message:
        """The message in a row of ``MESSAGE_COLUMNS``; ``chunks`` is its flushed text so far,
        ``attachments`` are the rows of its files.

        Raises:
            StoreError: The row holds what no version of lfm2chat writes.
        """
        (
            id_, conversation_id, parent_id, role, text, status, created_at, model, token_ids,
            tokenizer_hash, finish_reason, sampling, seed, timing, error_text, trashed_at, _,
        ) = row  # fmt: skip
        try:
            return Message(
                id=id_,
                conversation_id=conversation_id,
                parent_id=parent_id,
                role=Role(role),
                text=loaded_text(text) + chunks,
                status=MessageStatus(status),
                created_at=created_at,
                model=loaded_text(model),
                token_ids=unpack_ids(token_ids),
                tokenizer_hash=loaded_text(tokenizer_hash),
                finish_reason=None if finish_reason is None else FinishReason(finish_reason),
                sampling=self.sampling(sampling),
                seed=seed,
                timing=None if timing is None else Timing.from_dict(json.loads(timing)),
                error=loaded_text(error_text),
                attachments=tuple(
                    Attachment(*(loaded_text(value) for value in file)) for file in attachments
                ),
                trashed_at=trashed_at,
            )
        except (ValueError, TypeError, AttributeError, struct.error, Lfm2ChatError) as error:
            raise _damaged("message", id_, error) from error

    def sampling(self, text: str | None) -> SamplingParams | None:
        """The inverse of :func:`stored_sampling`."""
        if text is None:
            return None
        if text not in self._known:
            values: dict[str, Any] = json.loads(text)
            # A later version of the same schema may know more parameters.
            known = {name: value for name, value in values.items() if name in _SAMPLING_NAMES}
            self._known[text] = SamplingParams.from_dict(known)
        return self._known[text]


def stored_text(text: str) -> str | bytes:
    """``text`` as SQLite can keep it without loss."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def loaded_text(value: str | bytes) -> str:
    """The inverse of :func:`stored_text`."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def stored_sampling(sampling: SamplingParams | None) -> str | None:
    """JSON with ASCII escapes, so stop texts of any kind are kept."""
    return None if sampling is None else json.dumps(sampling.as_dict())


def stored_timing(timing: Timing | None) -> str | None:
    """The counts and seconds as JSON."""
    return None if timing is None else json.dumps(timing.as_dict())


def pack_ids(token_ids: Sequence[int]) -> bytes | None:
    """Token ids as uint32, little-endian; None for none.

    Raises:
        struct.error: An id is negative or above 2**32 - 1.
    """
    return struct.pack(f"<{len(token_ids)}I", *token_ids) if token_ids else None


def unpack_ids(blob: bytes | None) -> tuple[int, ...]:
    """The inverse of :func:`pack_ids`.

    Raises:
        struct.error: The length is no multiple of four.
    """
    return struct.unpack(f"<{len(blob) // 4}I", blob) if blob else ()


def _damaged(kind: str, number: object, error: Exception) -> StoreError:
    return StoreError(
        f"{kind} {number} in the store cannot be read: {error}",
        hint="the store is damaged, or a newer lfm2chat wrote it: run `lfm2chat doctor`",
    )
