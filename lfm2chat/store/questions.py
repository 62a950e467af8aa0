"""The reading half of the store: what can be asked of it, from any thread, at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from lfm2chat.chat.turns import Conversation, Message
from lfm2chat.errors import Lfm2ChatError, StoreError
from lfm2chat.store import reads
from lfm2chat.store.archive import Tree
from lfm2chat.store.readers import Readers
from lfm2chat.store.search import MOST_HITS, Hit, search
from lfm2chat.store.search_index import is_damaged


class Questions:
    """Reads on a connection of the calling thread, a few milliseconds each."""

    def __init__(
        self, readers: Readers, mend_search: Callable[[], None], why_read_only: Lfm2ChatError | None
    ) -> None:
        """``mend_search`` makes the indexes anew and returns when that is done."""
        self.why_read_only = why_read_only
        self._readers = readers
        self._mend_search = mend_search

    def unsent(self) -> str:
        """What :meth:`keep_unsent` kept last; empty at first."""
        with self._readers.snapshot() as connection:
            return reads.unsent_draft(connection)

    def sent(self, conversation_id: int | None, *, limit: int) -> list[str]:
        """What the user said, newest first: at most ``limit`` texts of that conversation, then at
        most as many of the others, those in the trash left out.
        """
        with self._readers.snapshot() as connection:
            return reads.sent_rows(connection, conversation_id, limit=limit)

    def conversations(
        self, *, trashed: bool = False, archived: bool = False, limit: int | None = None
    ) -> list[Conversation]:
        """Those in neither trash nor archive, newest message or finished answer first.

        ``trashed``: those in the trash, archived or not. ``archived``: those in the archive.
        """
        with self._readers.snapshot() as connection:
            return reads.conversation_rows(
                connection, trashed=trashed, archived=archived, limit=limit
            )

    def last_conversation(self) -> Conversation | None:
        """The first of :meth:`conversations`, or None when there is none."""
        return next(iter(self.conversations(limit=1)), None)

    def conversation(self, conversation_id: int) -> Conversation:
        """One conversation, in the trash or not.

        Raises:
            ConversationNotFoundError: No conversation has that number.
        """
        with self._readers.snapshot() as connection:
            return reads.conversation_row(connection, conversation_id)

    def branch(self, conversation_id: int, tip_id: int | None = None) -> list[Message]:
        """The messages from the root to ``tip_id``, by default the conversation's tip.

        An answer that is being written has the text that was flushed so far.

        Raises:
            ConversationNotFoundError: No conversation has that number.
            StoreError: ``tip_id`` is no message of this conversation.
        """
        with self._readers.snapshot() as connection:
            return reads.branch_rows(connection, conversation_id, tip_id)

    def tree(self, conversation_id: int) -> Tree:
        """A conversation with all of its messages.

        Raises:
            ConversationNotFoundError: No conversation has that number.
        """
        with self._readers.snapshot() as connection:
            conversation = reads.conversation_row(connection, conversation_id)
            return Tree(conversation, tuple(reads.tree_rows(connection, conversation_id)))

    def children(self, message_id: int) -> list[Message]:
        """The messages right below ``message_id``, oldest first."""
        with self._readers.snapshot() as connection:
            return reads.child_rows(connection, message_id)

    def roots(self, conversation_id: int) -> list[Message]:
        """The first messages of a conversation (several when the first was edited)."""
        with self._readers.snapshot() as connection:
            return reads.root_rows(connection, conversation_id)

    def search(self, query: str, *, typing: bool = False, limit: int = MOST_HITS) -> list[Hit]:
        """What holds every word of ``query``: titles, then messages, the best first.

        ``"words in quotes"`` are looked for in that order, ``begin*`` for words that begin so;
        ``typing``: the last word may still grow. Nothing of the trash, no hidden message; but what
        is archived. A damaged index is made anew first, which takes a few seconds for 100,000
        messages.

        Filters may stand among the words (:mod:`lfm2chat.store.query`); alone they give titles.

        Raises:
            UsageError: A filter has a value that means nothing.
            NewerStoreError: A newer version made the store, and its indexes are not ours.
            StoreError: The store cannot be read, or is closed.
        """
        damaged = False
        try:
            with self._readers.snapshot() as connection:
                try:
                    return search(connection, query, typing=typing, limit=limit)
                except sqlite3.DatabaseError as error:
                    # Of another version's indexes nobody knows how a damaged one fails.
                    damaged = self.why_read_only is not None or is_damaged(error, connection)
                    raise
        except StoreError:
            if not damaged:
                raise
        self._mend_search()
        with self._readers.snapshot() as connection:
            return search(connection, query, typing=typing, limit=limit)

    def message(self, message_id: int) -> Message:
        """One message.

        Raises:
            StoreError: No message has that number.
        """
        with self._readers.snapshot() as connection:
            return reads.message_row(connection, message_id)
