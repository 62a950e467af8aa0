"""What can be done to a conversation's tree. Each function runs inside the writer's transaction.

Nothing here deletes: a sibling is added, the tip is moved, a subtree is hidden. As in
:mod:`lfm2chat.store.operations`, whose rows these are, a raised error rolls all back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, PromptMessage, Role
from lfm2chat.errors import StoreError, UsageError
from lfm2chat.spec import FinishReason
from lfm2chat.store.archive import Tree
from lfm2chat.store.leases import WriterLease
from lfm2chat.store.operations import (
    Answer,
    finish_answer,
    insert_answer,
    insert_turn,
    is_written,
    move_tip,
    refuse_answered_elsewhere,
    require_message,
    require_visible,
    talk,
)
from lfm2chat.store.reads import branch_rows, conversation_row, message_row
from lfm2chat.store.trees import insert_tree

_HALF_A_CHARACTER = "\ufffd"

_SUBTREE = """
    WITH RECURSIVE below (id) AS (
        SELECT :message
        UNION ALL
        SELECT message.id FROM below JOIN message ON message.parent_id = below.id
        WHERE message.trashed_at IS NULL
    )
"""
_LAST_LEAF = f"""
    {_SUBTREE}
    SELECT id FROM message WHERE id IN (SELECT id FROM below) AND NOT EXISTS (
        SELECT 1 FROM message AS child
        WHERE child.parent_id = message.id AND child.trashed_at IS NULL
    ) ORDER BY visit DESC, id DESC LIMIT 1
"""  # noqa: S608 - own constants
_WRITERS_BELOW = f"""
    {_SUBTREE}
    SELECT writer FROM message WHERE id IN (SELECT id FROM below) AND status = 'writing'
"""  # noqa: S608 - own constants
_LAST_SIBLING = """
    SELECT id FROM message WHERE conversation_id = ? AND parent_id IS ? AND trashed_at IS NULL
    ORDER BY visit DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """Answers that are to be written below one message of the user.

    ``answers`` are siblings; the tip is the first. ``beginning`` is what they begin with, None
    where they are empty.
    """

    conversation: Conversation
    user: Message
    answers: tuple[Message, ...]
    beginning: PromptMessage | None = None


def edit_question(
    connection: sqlite3.Connection,
    conversation_id: int,
    message_id: int,
    text: str,
    *,
    attachments: Sequence[Attachment] | None,
    model: str,
    lease: WriterLease,
    now: float,
) -> Begun:
    """A sibling of a message of the user, and the empty answer below it.

    ``attachments`` of None are those of the edited message.

    Raises:
        UsageError: The message is not the user's.
        StoreError: It is hidden, or another process is answering in this conversation.
    """
    old = _visible(connection, conversation_id, message_id)
    if old.role is not Role.USER:
        raise UsageError(f"message {message_id} is not yours", hint="edit the answer instead")
    conversation, user, answer = insert_turn(
        connection,
        conversation_id,
        text,
        attachments=old.attachments if attachments is None else attachments,
        parent_id=old.parent_id,
        model=model,
        title=None,
        lease=lease,
        now=now,
    )
    return Begun(conversation, user, (answer,))


def edit_answer(
    connection: sqlite3.Connection,
    conversation_id: int,
    message_id: int,
    text: str,
    *,
    lease: WriterLease,
    now: float,
) -> Conversation:
    """A sibling of an answer, with the user's ``text``; the tip moves to it.

    Raises:
        UsageError: The message is no finished answer.
        StoreError: It is hidden.
    """
    old = _finished_answer(connection, conversation_id, message_id)
    assert old.parent_id is not None
    number = insert_answer(
        connection, conversation_id, old.parent_id, model=old.model, lease=lease, now=now
    )
    answer = Answer(
        text, MessageStatus.DONE, FinishReason.EDITED, (), "", old.model, None, None, None, ""
    )
    finish_answer(connection, number, answer, now=now)
    return talk(connection, conversation_id, tip_id=number, model="", now=now)


def begin_answers(
    connection: sqlite3.Connection,
    conversation_id: int,
    message_id: int,
    *,
    count: int,
    model: str,
    lease: WriterLease,
    now: float,
) -> Begun:
    """``count`` more empty answers to a message of the user, or to the one that an answer is to.

    Raises:
        StoreError: It is hidden, or another process is answering in this conversation.
    """
    user = _visible(connection, conversation_id, message_id)
    if user.role is not Role.USER:
        user = _question_of(connection, user)
    refuse_answered_elsewhere(connection, conversation_id, lease)
    numbers = [
        insert_answer(connection, conversation_id, user.id, model=model, lease=lease, now=now)
        for _ in range(count)
    ]
    conversation = talk(connection, conversation_id, tip_id=numbers[0], model=model, now=now)
    return Begun(conversation, user, tuple(message_row(connection, one) for one in numbers))


def begin_continuation(
    connection: sqlite3.Connection,
    conversation_id: int,
    message_id: int,
    text: str | None,
    *,
    model: str,
    lease: WriterLease,
    now: float,
) -> Begun:
    """A sibling of an answer that begins with ``text`` (None: that of the answer).

    Raises:
        UsageError: The message is no finished answer.
        StoreError: It is hidden, or another process is answering in this conversation.
    """
    old = _finished_answer(connection, conversation_id, message_id)
    user = _question_of(connection, old)
    refuse_answered_elsewhere(connection, conversation_id, lease)
    # A character of which only the first bytes were written: it is written once more, whole.
    begun = (old.text if text is None else text).removesuffix(_HALF_A_CHARACTER)
    number = insert_answer(
        connection, conversation_id, user.id, model=model, lease=lease, now=now, begun=begun
    )
    conversation = talk(connection, conversation_id, tip_id=number, model=model, now=now)
    beginning = replace(old.as_prompt(), text=begun)
    return Begun(conversation, user, (message_row(connection, number),), beginning)


def fork(
    connection: sqlite3.Connection,
    conversation_id: int,
    message_id: int,
    *,
    title: Callable[[str], str],
    now: float,
) -> Conversation:
    """A new conversation with the path to ``message_id``; ``title`` makes its title of the old.

    Raises:
        UsageError: A message of the path is being written.
        StoreError: The message is hidden.
    """
    require_visible(connection, conversation_id, message_id)
    path = branch_rows(connection, conversation_id, message_id)
    if any(message.status is MessageStatus.WRITING for message in path):
        raise UsageError(
            "that answer is still being written", hint="wait until it is finished, or stop it"
        )
    old = conversation_row(connection, conversation_id)
    twin = replace(
        old, title=title(old.title), created_at=now, updated_at=now, tip_id=message_id, draft="",
        trashed_at=None, pinned_at=None, archived_at=None, tags=(),
    )  # fmt: skip
    return insert_tree(connection, Tree(twin, tuple(path)))


def select(connection: sqlite3.Connection, conversation_id: int, message_id: int) -> Conversation:
    """Show the branch through ``message_id``, down to the leaf below it that was shown last.

    Raises:
        StoreError: It is hidden.
    """
    require_visible(connection, conversation_id, message_id)
    return move_tip(connection, conversation_id, _last_leaf(connection, message_id))


def hide(
    connection: sqlite3.Connection,
    conversation_id: int,
    message_id: int,
    *,
    own: WriterLease,
    now: float,
) -> Conversation:
    """Hide a message and all below it; a tip in there moves to a sibling, else to the parent.

    Raises:
        UsageError: An answer in there is being written.
        StoreError: It is hidden already.
    """
    message = _visible(connection, conversation_id, message_id)
    writers = connection.execute(_WRITERS_BELOW, {"message": message_id})
    if any(is_written(row["writer"], own) for row in writers):
        raise UsageError("an answer in that branch is being written", hint="stop it first, or wait")
    shown = branch_rows(connection, conversation_id, None)
    connection.execute("UPDATE message SET trashed_at = ? WHERE id = ?", (now, message_id))
    if message_id not in {one.id for one in shown}:
        return conversation_row(connection, conversation_id)
    row = connection.execute(_LAST_SIBLING, (conversation_id, message.parent_id)).fetchone()
    tip = message.parent_id if row is None else _last_leaf(connection, row["id"])
    return move_tip(connection, conversation_id, tip)


def unhide(connection: sqlite3.Connection, conversation_id: int, message_id: int) -> Conversation:
    """Bring a hidden message back and show it; below one that stays hidden, it waits for that.

    Raises:
        StoreError: It is in another conversation.
    """
    require_message(connection, conversation_id, message_id)
    connection.execute("UPDATE message SET trashed_at = NULL WHERE id = ?", (message_id,))
    try:
        return select(connection, conversation_id, message_id)
    except StoreError:
        return conversation_row(connection, conversation_id)


def _last_leaf(connection: sqlite3.Connection, message_id: int) -> int:
    row = connection.execute(_LAST_LEAF, {"message": message_id}).fetchone()
    return int(row["id"])


def _visible(connection: sqlite3.Connection, conversation_id: int, message_id: int) -> Message:
    require_visible(connection, conversation_id, message_id)
    return message_row(connection, message_id)


def _finished_answer(
    connection: sqlite3.Connection, conversation_id: int, message_id: int
) -> Message:
    message = _visible(connection, conversation_id, message_id)
    if message.role is not Role.ASSISTANT or message.status is MessageStatus.WRITING:
        raise UsageError(
            f"message {message_id} is no finished answer", hint="wait, or choose an answer"
        )
    _question_of(connection, message)
    return message


def _question_of(connection: sqlite3.Connection, answer: Message) -> Message:
    """The message above an answer. An imported conversation may begin with an answer."""
    if answer.parent_id is None:
        raise UsageError(
            f"message {answer.id} answers nothing", hint="choose an answer with a message above it"
        )
    return message_row(connection, answer.parent_id)
