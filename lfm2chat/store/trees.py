"""A whole conversation with its messages, put into the store inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from lfm2chat.chat.turns import Conversation
from lfm2chat.store.archive import Tree
from lfm2chat.store.names import Tag, tags_of
from lfm2chat.store.operations import (
    insert_attachments,
    insert_conversation,
    new_id,
    set_columns,
)
from lfm2chat.store.rows import pack_ids, stored_sampling, stored_text, stored_timing


def insert_tree(connection: sqlite3.Connection, tree: Tree) -> Conversation:
    """A conversation from elsewhere, with new numbers, at the top of the list."""
    one = tree.conversation
    number = insert_conversation(
        connection,
        title=one.title,
        model=one.model,
        system_prompt=one.system_prompt,
        sampling=one.sampling,
        now=one.created_at,
    )
    numbers: dict[int | None, int | None] = {None: None}
    for message in tree.messages:
        cursor = connection.execute(
            "INSERT INTO message (conversation_id, parent_id, role, status, created_at, model, "
            "tokenizer_hash, finish_reason, seed, sampling, timing, error, text, token_ids, "
            "trashed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                numbers[message.parent_id],
                message.role,
                message.status,
                message.created_at,
                stored_text(message.model),
                stored_text(message.tokenizer_hash),
                message.finish_reason,
                message.seed,
                stored_sampling(message.sampling),
                stored_timing(message.timing),
                stored_text(message.error),
                stored_text(message.text),
                pack_ids(message.token_ids),
                message.trashed_at,
            ),
        )
        numbers[message.id] = number_here = new_id(cursor)
        insert_attachments(connection, number_here, message.attachments)
    replace_tags(connection, number, tags_of(one.tags))
    return set_columns(
        connection,
        number,
        {
            "tip_id": numbers[_visible_tip(tree)],
            "updated_at": one.updated_at,
            "trashed_at": one.trashed_at,
            "draft": stored_text(one.draft),
            "pinned_at": one.pinned_at,
            "archived_at": one.archived_at,
            "title_by": one.title_by,
        },
    )


def replace_tags(connection: sqlite3.Connection, conversation_id: int, tags: Sequence[Tag]) -> None:
    """Give a conversation these tags and no others."""
    connection.execute("DELETE FROM tag WHERE conversation_id = ?", (conversation_id,))
    connection.executemany(
        "INSERT INTO tag (conversation_id, key, name) VALUES (?, ?, ?)",
        ((conversation_id, tag.key, tag.name) for tag in tags),
    )


def _visible_tip(tree: Tree) -> int | None:
    """The tip, or where it is hidden the last message that is not."""
    hidden: set[int | None] = set()
    for message in tree.messages:
        if message.trashed_at is not None or message.parent_id in hidden:
            hidden.add(message.id)
    tip_id = tree.conversation.tip_id
    if tip_id not in hidden:
        return tip_id
    return next((one.id for one in reversed(tree.messages) if one.id not in hidden), None)
