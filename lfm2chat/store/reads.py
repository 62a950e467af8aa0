"""What can be asked of the store. Each function runs on any connection and writes nothing.

Where one answer takes several statements, the caller holds a transaction, so that all of them
see the same state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from lfm2chat.chat.turns import Conversation, Message, MessageStatus
from lfm2chat.errors import ConversationNotFoundError, StoreError
from lfm2chat.store.rows import CONVERSATION_COLUMNS, MESSAGE_COLUMNS, RowReader, loaded_text

_CONVERSATION = f"SELECT {CONVERSATION_COLUMNS} FROM conversation "  # noqa: S608 - own constant
_MESSAGE = f"SELECT {MESSAGE_COLUMNS} FROM message "  # noqa: S608 - own constant

# Only numbers go through the recursion; texts are read once, at the end.
_BRANCH = f"""
    WITH RECURSIVE path (id, parent_id) AS (
        SELECT id, parent_id FROM message WHERE id = :tip AND conversation_id = :conversation
        UNION ALL
        SELECT message.id, message.parent_id
        FROM path JOIN message ON message.id = path.parent_id
    )
    {_MESSAGE} WHERE id IN (SELECT id FROM path) ORDER BY message.id
"""  # noqa: S608 - own constants

# From the deleted ones downward: it costs what is hidden, not what is there.
HIDDEN = """
    hidden (id) AS (
        SELECT id FROM message WHERE trashed_at IS NOT NULL
        UNION
        SELECT message.id FROM hidden JOIN message ON message.parent_id = hidden.id
    )
"""
_HIDDEN_IN_ONE = f"""
    WITH RECURSIVE {HIDDEN.replace("WHERE", "WHERE conversation_id = ? AND")}
    SELECT id FROM hidden
"""  # noqa: S608 - own constants


# A message's siblings are its parent's children; those of the first are the other roots.
_SIBLINGS = """
    WITH RECURSIVE path (id, parent_id) AS (
        SELECT message.id, parent_id FROM message JOIN conversation ON message.id = tip_id
        WHERE conversation.id = :conversation
        UNION ALL
        SELECT message.id, message.parent_id
        FROM path JOIN message ON message.id = path.parent_id
    )
    SELECT path.id, message.id FROM path JOIN message ON message.parent_id = path.parent_id
    WHERE message.trashed_at IS NULL
    UNION ALL
    SELECT path.id, message.id FROM path JOIN message ON path.parent_id IS NULL
    WHERE message.conversation_id = :conversation AND message.parent_id IS NULL
        AND message.trashed_at IS NULL
    ORDER BY 1, 2
"""


_SENT_HERE = f"""
    WITH RECURSIVE {HIDDEN}
    SELECT text FROM message
    WHERE conversation_id = ? AND role = 'user' AND length(text) <= ?
        AND id NOT IN (SELECT id FROM hidden)
    ORDER BY id DESC LIMIT ?
"""  # noqa: S608 - own constants
# From the newest message downwards (CROSS: in that order), so that it ends after a few hundred.
_SENT_ELSEWHERE = f"""
    WITH RECURSIVE {HIDDEN}
    SELECT message.text
    FROM message CROSS JOIN conversation ON conversation.id = message.conversation_id
    WHERE message.conversation_id IS NOT ? AND message.role = 'user' AND length(message.text) <= ?
        AND conversation.trashed_at IS NULL AND message.id NOT IN (SELECT id FROM hidden)
    ORDER BY message.id DESC LIMIT ?
"""  # noqa: S608 - own constants
LONGEST_SENT = 32_000
"""Characters of a message that is offered to be sent again: what an editor still takes."""


def require_columns(connection: sqlite3.Connection) -> None:
    """Ask all that this module asks, of nothing.

    Raises:
        sqlite3.Error: A table or a column is not there.
    """
    conversation_rows(connection, trashed=False, limit=0)
    hidden_ids(connection, 0)
    connection.execute(_SIBLINGS, {"conversation": 0})
    connection.execute(_BRANCH, {"tip": 0, "conversation": 0})
    tree_rows(connection, 0)
    flushed_text(connection, 0)
    attachment_rows(connection, 0)
    unsent_draft(connection)
    sent_rows(connection, 0, limit=0)


def unsent_draft(connection: sqlite3.Connection) -> str:
    """What stood in the prompt of the conversation not begun yet; empty at first."""
    row = connection.execute("SELECT draft FROM unsent").fetchone()
    return loaded_text(row[0]) if row else ""


def sent_rows(
    connection: sqlite3.Connection, conversation_id: int | None, *, limit: int
) -> list[str]:
    """What the user said, newest first: in this conversation, then in others outside the trash.

    ``limit`` holds for each of both. Texts longer than :data:`LONGEST_SENT` are left out.
    """
    values = (conversation_id, LONGEST_SENT, limit)
    own = connection.execute(_SENT_HERE, values).fetchall()
    others = connection.execute(_SENT_ELSEWHERE, values).fetchall()
    return [loaded_text(row[0]) for row in (*own, *others)]


def conversation_rows(
    connection: sqlite3.Connection,
    *,
    trashed: bool,
    archived: bool = False,
    limit: int | None = None,
) -> list[Conversation]:
    """Conversations in the trash (archived or not), in the archive, or in neither; newest change
    first.
    """
    rows = connection.execute(
        _CONVERSATION + "WHERE (trashed_at IS NOT NULL) = :trashed "
        "AND (:trashed OR (archived_at IS NOT NULL) = :archived) ORDER BY change DESC LIMIT :limit",
        {"trashed": trashed, "archived": archived, "limit": -1 if limit is None else limit},
    )
    tags: dict[int, list[str | bytes]] = {}
    for number, name in connection.execute("SELECT conversation_id, name FROM tag ORDER BY key"):
        tags.setdefault(number, []).append(name)
    reader = RowReader()
    return [reader.conversation(row, tags=tags.get(row["id"], ())) for row in rows]


def conversation_row(connection: sqlite3.Connection, conversation_id: int) -> Conversation:
    """One conversation, in the trash or not.

    Raises:
        ConversationNotFoundError: No conversation has that number.
    """
    row = connection.execute(_CONVERSATION + "WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise ConversationNotFoundError(
            f"no conversation has the number {conversation_id}",
            hint="`lfm2chat conversations list` shows the numbers",
        )
    tags = connection.execute(
        "SELECT name FROM tag WHERE conversation_id = ? ORDER BY key", (conversation_id,)
    )
    return RowReader().conversation(row, tags=[name for (name,) in tags])


def message_row(connection: sqlite3.Connection, message_id: int) -> Message:
    """One message; while it is written, its text is what was flushed so far.

    Raises:
        StoreError: No message has that number.
    """
    rows = connection.execute(_MESSAGE + "WHERE id = ?", (message_id,))
    messages = _messages(connection, rows)
    if not messages:
        raise StoreError(
            f"no message has the number {message_id}", hint="the conversation may be deleted"
        )
    return messages[0]


def branch_rows(
    connection: sqlite3.Connection, conversation_id: int, tip_id: int | None
) -> list[Message]:
    """The messages from the root to ``tip_id`` (None: the conversation's tip), in that order.

    A parent's id is smaller than its children's, so the order of ids is the order of the path.

    Raises:
        ConversationNotFoundError: No conversation has that number.
        StoreError: ``tip_id`` is no message of this conversation.
    """
    conversation = conversation_row(connection, conversation_id)
    tip = conversation.tip_id if tip_id is None else tip_id
    if tip is None:
        return []
    rows = connection.execute(_BRANCH, {"tip": tip, "conversation": conversation_id})
    messages = _messages(connection, rows)
    if not messages:
        raise not_in_conversation(tip, conversation_id)
    return messages


def tree_rows(connection: sqlite3.Connection, conversation_id: int) -> list[Message]:
    """All messages of a conversation, by id: parents first."""
    rows = connection.execute(
        _MESSAGE + "WHERE conversation_id = ? ORDER BY id", (conversation_id,)
    )
    return _messages(connection, rows)


def sibling_ids(connection: sqlite3.Connection, conversation_id: int) -> dict[int, tuple[int, ...]]:
    """For each message of the shown branch, from the root on, itself and its visible siblings.

    Raises:
        ConversationNotFoundError: No conversation has that number.
    """
    conversation_row(connection, conversation_id)
    found: dict[int, list[int]] = {}
    for number, sibling in connection.execute(_SIBLINGS, {"conversation": conversation_id}):
        found.setdefault(number, []).append(sibling)
    return {number: tuple(siblings) for number, siblings in found.items()}


def child_rows(connection: sqlite3.Connection, message_id: int) -> list[Message]:
    """The messages whose parent is ``message_id``, oldest first."""
    rows = connection.execute(_MESSAGE + "WHERE parent_id = ? ORDER BY id", (message_id,))
    return _messages(connection, rows)


def root_rows(connection: sqlite3.Connection, conversation_id: int) -> list[Message]:
    """The messages of a conversation that have no parent, oldest first."""
    rows = connection.execute(
        _MESSAGE + "WHERE conversation_id = ? AND parent_id IS NULL ORDER BY id",
        (conversation_id,),
    )
    return _messages(connection, rows)


def hidden_ids(connection: sqlite3.Connection, conversation_id: int) -> set[int]:
    """The messages of a conversation that are deleted or below a deleted one."""
    rows = connection.execute(_HIDDEN_IN_ONE, (conversation_id,))
    return {number for (number,) in rows}


def flushed_text(connection: sqlite3.Connection, message_id: int) -> str:
    """The chunks of a message that is being written, joined."""
    rows = connection.execute(
        "SELECT text FROM chunk WHERE message_id = ? ORDER BY seq", (message_id,)
    )
    return "".join(loaded_text(row[0]) for row in rows)


def attachment_rows(connection: sqlite3.Connection, message_id: int) -> list[sqlite3.Row]:
    """Name, text and media type of the files that go with a message, in their order."""
    rows = connection.execute(
        "SELECT name, text, media_type FROM attachment WHERE message_id = ? ORDER BY position",
        (message_id,),
    )
    return rows.fetchall()


def not_in_conversation(message_id: int, conversation_id: int) -> StoreError:
    """The error for a message that another conversation has, or none."""
    return StoreError(
        f"message {message_id} is not in conversation {conversation_id}",
        hint=f"`lfm2chat conversations show {conversation_id} --tree` lists what it holds",
    )


def _messages(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> list[Message]:
    reader = RowReader()
    found: Sequence[sqlite3.Row] = list(rows)
    return [
        reader.message(
            row,
            chunks=flushed_text(connection, row["id"])
            if row["status"] == MessageStatus.WRITING
            else "",
            attachments=attachment_rows(connection, row["id"]) if row["has_attachments"] else (),
        )
        for row in found
    ]
