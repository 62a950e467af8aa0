"""What is kept about a conversation, and where it stands: title, tags, pin, archive, trash.

None of it touches a message.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from lfm2chat.chat.turns import Conversation, TitleBy
from lfm2chat.spec import SamplingParams
from lfm2chat.store import operations, reads
from lfm2chat.store.library import Library
from lfm2chat.store.names import tags_of
from lfm2chat.store.operations import Unset
from lfm2chat.store.rows import stored_sampling, stored_text
from lfm2chat.store.trees import replace_tags


class Organizer(Library):
    """The part of the store that arranges conversations. Threads as for the store itself.

    Every change keeps the conversation's place in the order of changes. Every future carries
    ConversationNotFoundError where no conversation has that number.
    """

    def update_conversation(
        self,
        conversation_id: int,
        *,
        title: str | None = None,
        title_by: TitleBy = TitleBy.USER,
        system_prompt: str | None = None,
        model: str | None = None,
        sampling: SamplingParams | Unset | None = Unset.UNSET,
        draft: str | None = None,
        tip_id: int | None = None,
    ) -> Future[Conversation]:
        """Change what is given.

        ``sampling`` None goes back to the model's recommendation; for the others None keeps
        what is there, and an empty text clears it. A ``title`` that is not by the user leaves one
        that is. ``tip_id`` is a message of this conversation that is not hidden.
        """
        texts = {"system_prompt": system_prompt, "model": model, "draft": draft}
        given: dict[str, Any] = {
            name: stored_text(text) for name, text in texts.items() if text is not None
        }
        if sampling is not Unset.UNSET:
            given["sampling"] = stored_sampling(sampling)

        def update(connection: sqlite3.Connection) -> Conversation:
            changes = dict(given)
            users = reads.conversation_row(connection, conversation_id).title_by is TitleBy.USER
            if title is not None and (title_by is TitleBy.USER or not users):
                changes |= {"title": stored_text(title), "title_by": title_by}
            if tip_id is not None:
                operations.require_visible(connection, conversation_id, tip_id)
                operations.move_tip(connection, conversation_id, tip_id)
            return operations.set_columns(connection, conversation_id, changes)

        return self._writer.submit(update)

    def set_tags(self, conversation_id: int, names: Iterable[str]) -> Future[Conversation]:
        """Give a conversation these tags and no others; names that differ in case are one.

        Raises:
            UsageError: A name is empty or too long, or there are too many (at once, not through
                the future).
        """
        tags = tags_of(names)

        def change(connection: sqlite3.Connection) -> Conversation:
            reads.conversation_row(connection, conversation_id)
            replace_tags(connection, conversation_id, tags)
            return reads.conversation_row(connection, conversation_id)

        return self._writer.submit(change)

    def pin_conversation(self, conversation_id: int) -> Future[Conversation]:
        """Note that it is to be kept in sight."""
        return self._set(conversation_id, pinned_at=self._clock())

    def unpin_conversation(self, conversation_id: int) -> Future[Conversation]:
        """The inverse of :meth:`pin_conversation`."""
        return self._set(conversation_id, pinned_at=None)

    def archive_conversation(self, conversation_id: int) -> Future[Conversation]:
        """Take it out of the list, and out of the pinned ones; searching still finds it."""
        return self._set(conversation_id, archived_at=self._clock(), pinned_at=None)

    def unarchive_conversation(self, conversation_id: int) -> Future[Conversation]:
        """Bring it back to its place in the list."""
        return self._set(conversation_id, archived_at=None)

    def trash_conversation(self, conversation_id: int) -> Future[Conversation]:
        """Move to the trash; nothing is deleted. Its place in the list is kept for restoring."""
        return self._set(conversation_id, trashed_at=self._clock())

    def restore_conversation(self, conversation_id: int) -> Future[Conversation]:
        """Take out of the trash, back to its place in the list, or to the archive."""
        return self._set(conversation_id, trashed_at=None)

    def _set(self, conversation_id: int, **times: float | None) -> Future[Conversation]:
        return self._writer.submit(
            lambda connection: operations.set_columns(connection, conversation_id, times)
        )
