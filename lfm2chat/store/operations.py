"""What can be done to the store. Each function runs inside one transaction of the writer.

Nothing here begins or commits; a raised error rolls the whole operation back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, Role
from lfm2chat.errors import StoreError
from lfm2chat.spec import FinishReason, SamplingParams, Timing
from lfm2chat.store.leases import WriterLease
from lfm2chat.store.reads import (
    conversation_row,
    hidden_ids,
    message_row,
    not_in_conversation,
)
from lfm2chat.store.rows import pack_ids, stored_sampling, stored_text, stored_timing


class Unset(Enum):
    """The default of an argument for which None is a value of its own."""

    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Answer:
    """The final state of an answer; see :meth:`lfm2chat.store.Store.finish_message`."""

    text: str
    status: MessageStatus
    finish_reason: FinishReason | None
    token_ids: tuple[int, ...]
    tokenizer_hash: str
    model: str
    sampling: SamplingParams | None
    seed: int | None
    timing: Timing | None
    error: str


def insert_conversation(
    connection: sqlite3.Connection,
    *,
    title: str,
    model: str,
    system_prompt: str,
    sampling: SamplingParams | None,
    now: float,
) -> int:
    """A conversation without messages; its number is returned."""
    cursor = connection.execute(
        "INSERT INTO conversation "
        "(change, title, created_at, updated_at, model, system_prompt, sampling) "
        "VALUES ((SELECT coalesce(max(change), 0) + 1 FROM conversation), ?, ?, ?, ?, ?, ?)",
        (
            stored_text(title),
            now,
            now,
            stored_text(model),
            stored_text(system_prompt),
            stored_sampling(sampling),
        ),
    )
    return new_id(cursor)


def insert_turn(
    connection: sqlite3.Connection,
    conversation_id: int,
    text: str,
    *,
    attachments: Sequence[Attachment],
    parent_id: int | Unset | None,
    model: str,
    title: str | None,
    lease: WriterLease,
    now: float,
) -> tuple[Conversation, Message, Message]:
    """The user's message and the empty answer below it; the tip moves to the answer.

    ``parent_id`` unset is the tip. A conversation in the trash or the archive comes out of it:
    somebody is talking in it.

    Raises:
        StoreError: Another process is answering in this conversation.
    """
    tip_id = conversation_row(connection, conversation_id).tip_id
    refuse_answered_elsewhere(connection, conversation_id, lease)
    parent_id = tip_id if parent_id is Unset.UNSET else parent_id
    if parent_id is not None:
        require_visible(connection, conversation_id, parent_id)
    user_id = new_id(
        connection.execute(
            "INSERT INTO message (conversation_id, parent_id, role, status, created_at, text) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (conversation_id, parent_id, Role.USER, MessageStatus.DONE, now, stored_text(text)),
        )
    )
    insert_attachments(connection, user_id, attachments)
    assistant_id = insert_answer(
        connection, conversation_id, user_id, model=model, lease=lease, now=now
    )
    conversation = talk(
        connection, conversation_id, tip_id=assistant_id, model=model, title=title, now=now
    )
    return conversation, message_row(connection, user_id), message_row(connection, assistant_id)


def talk(
    connection: sqlite3.Connection,
    conversation_id: int,
    *,
    tip_id: int,
    model: str,
    title: str | None = None,
    now: float,
) -> Conversation:
    """Note that somebody says something in a conversation: it goes to the top of the list, out of
    trash and archive, and its tip to ``tip_id``.
    """
    changes: dict[str, Any] = {"trashed_at": None, "archived_at": None}
    if model:
        changes["model"] = stored_text(model)
    if title is not None:
        changes["title"] = stored_text(title)
    mark_changed(connection, conversation_id, now=now)
    set_columns(connection, conversation_id, changes)
    return move_tip(connection, conversation_id, tip_id)


def move_tip(
    connection: sqlite3.Connection, conversation_id: int, tip_id: int | None
) -> Conversation:
    """Show the branch to ``tip_id``, a visible message of the conversation; None shows nothing."""
    connection.execute(
        "UPDATE message SET visit = 1 + "
        "(SELECT max(visit) FROM message WHERE conversation_id = :conversation) WHERE id = :tip",
        {"conversation": conversation_id, "tip": tip_id},
    )
    return set_columns(connection, conversation_id, {"tip_id": tip_id})


def delete_conversation(
    connection: sqlite3.Connection, conversation_id: int, *, own: WriterLease
) -> None:
    """Delete a conversation and its messages for ever, from the indexes too.

    Raises:
        ConversationNotFoundError: No conversation has that number.
        StoreError: An answer in it is being written, here or by another process.
    """
    conversation_row(connection, conversation_id)
    for row in connection.execute(
        "SELECT writer FROM message WHERE conversation_id = ? AND status = 'writing'",
        (conversation_id,),
    ):
        if is_written(row["writer"], own):
            raise StoreError(
                f"an answer in conversation {conversation_id} is being written",
                hint="stop it first, or wait until it is finished",
            )
    connection.execute("DELETE FROM conversation WHERE id = ?", (conversation_id,))


def insert_chunk(connection: sqlite3.Connection, message_id: int, text: str) -> None:
    """The next piece of an answer that is being written.

    Raises:
        StoreError: The message does not exist or is finished.
    """
    cursor = connection.execute(
        "INSERT INTO chunk (message_id, seq, text) "
        "SELECT id, (SELECT coalesce(max(seq), 0) + 1 FROM chunk WHERE message_id = :id), :text "
        "FROM message WHERE id = :id AND status = 'writing'",
        {"id": message_id, "text": stored_text(text)},
    )
    if cursor.rowcount == 0:
        raise _not_being_written(connection, message_id)


def finish_answer(
    connection: sqlite3.Connection, message_id: int, answer: Answer, *, now: float
) -> Message:
    """The whole answer in one row, its chunks gone.

    A row that is marked interrupted may be finished too: its writer was taken for dead, as
    from inside another container, and lives after all.

    Raises:
        StoreError: The message does not exist or is finished.
    """
    cursor = connection.execute(
        "UPDATE message SET text = ?, status = ?, finish_reason = ?, token_ids = ?, "
        "tokenizer_hash = ?, model = ?, sampling = ?, seed = ?, timing = ?, error = ?, "
        "writer = NULL "
        "WHERE id = ? AND role = 'assistant' AND status IN ('writing', 'interrupted')",
        (
            stored_text(answer.text),
            answer.status,
            answer.finish_reason,
            pack_ids(answer.token_ids),
            answer.tokenizer_hash,
            stored_text(answer.model),
            stored_sampling(answer.sampling),
            answer.seed,
            stored_timing(answer.timing),
            stored_text(answer.error),
            message_id,
        ),
    )
    if cursor.rowcount == 0:
        raise _not_being_written(connection, message_id)
    connection.execute("DELETE FROM chunk WHERE message_id = ?", (message_id,))
    message = message_row(connection, message_id)
    mark_changed(connection, message.conversation_id, now=now)
    return message


def interrupt_answers(connection: sqlite3.Connection, *, own: WriterLease, closing: bool) -> int:
    """Mark answers that nobody writes any more, and keep their flushed text.

    ``closing`` False: those whose process is gone. True: those of ``own`` as well, since this
    store closes. Returns how many there were.
    """
    rows = connection.execute("SELECT id, writer FROM message WHERE status = 'writing'").fetchall()
    abandoned = [row["id"] for row in rows if not is_written(row["writer"], own, closing=closing)]
    for message_id in abandoned:
        connection.execute(
            "UPDATE message SET text = ?, status = ?, finish_reason = ?, writer = NULL "
            "WHERE id = ?",
            (
                stored_text(message_row(connection, message_id).text),
                MessageStatus.INTERRUPTED,
                FinishReason.INTERRUPTED,
                message_id,
            ),
        )
        connection.execute("DELETE FROM chunk WHERE message_id = ?", (message_id,))
    return len(abandoned)


def set_columns(
    connection: sqlite3.Connection, conversation_id: int, changes: dict[str, Any]
) -> Conversation:
    """Set columns of one conversation; the names in ``changes`` are this package's own.

    Raises:
        ConversationNotFoundError: No conversation has that number.
    """
    if changes:
        assignments = ", ".join(f"{name} = ?" for name in changes)
        connection.execute(
            f"UPDATE conversation SET {assignments} WHERE id = ?",  # noqa: S608 - own names
            (*changes.values(), conversation_id),
        )
    return conversation_row(connection, conversation_id)


def mark_changed(connection: sqlite3.Connection, conversation_id: int, *, now: float) -> None:
    """Put a conversation at the top of the list. A counter orders it: clocks jump."""
    connection.execute(
        "UPDATE conversation SET updated_at = ?, "
        "change = (SELECT max(change) + 1 FROM conversation) WHERE id = ?",
        (now, conversation_id),
    )


def require_message(connection: sqlite3.Connection, conversation_id: int, message_id: int) -> None:
    """Refuse a message of another conversation.

    Raises:
        StoreError: ``message_id`` is no message of this conversation.
    """
    row = connection.execute(
        "SELECT 1 FROM message WHERE id = ? AND conversation_id = ?",
        (message_id, conversation_id),
    ).fetchone()
    if row is None:
        raise not_in_conversation(message_id, conversation_id)


def require_visible(connection: sqlite3.Connection, conversation_id: int, message_id: int) -> None:
    """Refuse a message of another conversation, and one that is hidden.

    Raises:
        StoreError: ``message_id`` is no message of this conversation that can be seen.
    """
    require_message(connection, conversation_id, message_id)
    if message_id in hidden_ids(connection, conversation_id):
        raise StoreError(
            f"message {message_id} is deleted, or is below one that is",
            hint="bring the deleted message back first",
        )


def insert_attachments(
    connection: sqlite3.Connection, message_id: int, attachments: Sequence[Attachment]
) -> None:
    """Put files with a message, in this order."""
    connection.executemany(
        "INSERT INTO attachment (message_id, position, name, media_type, text) "
        "VALUES (?, ?, ?, ?, ?)",
        (
            (
                message_id,
                position,
                stored_text(file.name),
                stored_text(file.media_type),
                stored_text(file.text),
            )
            for position, file in enumerate(attachments)
        ),
    )


def insert_answer(
    connection: sqlite3.Connection,
    conversation_id: int,
    user_id: int,
    *,
    model: str,
    lease: WriterLease,
    now: float,
    begun: str = "",
) -> int:
    """The answer that ``lease`` will write, after the text that it begins with."""
    cursor = connection.execute(
        "INSERT INTO message "
        "(conversation_id, parent_id, role, status, created_at, model, writer, text) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            conversation_id,
            user_id,
            Role.ASSISTANT,
            MessageStatus.WRITING,
            now,
            stored_text(model),
            str(lease),
            stored_text(begun),
        ),
    )
    return new_id(cursor)


def refuse_answered_elsewhere(
    connection: sqlite3.Connection, conversation_id: int, own: WriterLease
) -> None:
    """Two processes that answer in one conversation would each not see what the other says."""
    rows = connection.execute(
        "SELECT writer FROM message WHERE conversation_id = ? AND status = 'writing'",
        (conversation_id,),
    )
    for row in rows.fetchall():
        lease = WriterLease.parse(row["writer"] or "")
        if lease is not None and lease.pid != own.pid and lease.is_alive():
            raise StoreError(
                f"another lfm2chat (process {lease.pid}) is answering in this conversation",
                hint="wait until it is finished, or stop it there",
            )


def is_written(writer: str | None, own: WriterLease, *, closing: bool = False) -> bool:
    """Whether somebody writes the answer with that ``writer``; ``closing``: ``own`` does not."""
    lease = WriterLease.parse(writer or "")
    if lease is None:
        return False
    return not closing if lease == own else lease.is_alive()


def _not_being_written(connection: sqlite3.Connection, message_id: int) -> StoreError:
    message = message_row(connection, message_id)
    return StoreError(
        f"message {message_id} is not being written: it is {message.status}",
        hint="only an answer that was begun and is not finished takes text",
    )


def new_id(cursor: sqlite3.Cursor) -> int:
    """The number of the row that ``cursor`` inserted."""
    if cursor.lastrowid is None:
        raise StoreError("SQLite gave no number to a new row", hint="run `lfm2chat doctor`")
    return cursor.lastrowid
