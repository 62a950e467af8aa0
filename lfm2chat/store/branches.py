"""The part of the store that knows a conversation as a tree: siblings, the tip, hidden subtrees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from lfm2chat.chat.attachments import Attachment, attached
from lfm2chat.chat.turns import Conversation
from lfm2chat.store import branching, reads
from lfm2chat.store.branching import Begun
from lfm2chat.store.leases import WriterLease
from lfm2chat.store.organizer import Organizer


class BranchStore(Organizer):
    """Adds siblings, moves the tip, hides subtrees; nothing is ever lost by it.

    Threads as for the store itself. Every future carries StoreError where the message is hidden
    or in another conversation, and UsageError where it is not of the kind that is asked for.
    """

    _lease: WriterLease

    def edit_question(
        self,
        conversation_id: int,
        message_id: int,
        text: str,
        *,
        model: str,
        attachments: Sequence[Attachment] | None = None,
    ) -> Future[Begun]:
        """A sibling of a message of the user, and the empty answer below it, which is the tip.

        ``attachments`` of None are those of the edited message.

        Raises:
            UsageError: Too many files go with it (at once, not through the future).
        """
        now = self._clock()
        files = None if attachments is None else attached(attachments)
        return self._writer.submit(
            lambda connection: branching.edit_question(
                connection,
                conversation_id,
                message_id,
                text,
                attachments=files,
                model=model,
                lease=self._lease,
                now=now,
            )
        )

    def edit_answer(self, conversation_id: int, message_id: int, text: str) -> Future[Conversation]:
        """A sibling of an answer, with ``text`` by the user, finish reason EDITED; the new tip."""
        now = self._clock()
        return self._writer.submit(
            lambda connection: branching.edit_answer(
                connection, conversation_id, message_id, text, lease=self._lease, now=now
            )
        )

    def begin_answers(
        self, conversation_id: int, message_id: int, *, model: str, count: int = 1
    ) -> Future[Begun]:
        """``count`` more empty answers below a message of the user, or beside an answer.

        The tip moves to the first of them.
        """
        now = self._clock()
        return self._writer.submit(
            lambda connection: branching.begin_answers(
                connection,
                conversation_id,
                message_id,
                count=count,
                model=model,
                lease=self._lease,
                now=now,
            )
        )

    def begin_continuation(
        self, conversation_id: int, message_id: int, *, model: str, text: str | None = None
    ) -> Future[Begun]:
        """A sibling of an answer that begins with ``text``, None: with all of the answer.

        What is appended to it goes behind that text.
        """
        now = self._clock()
        return self._writer.submit(
            lambda connection: branching.begin_continuation(
                connection,
                conversation_id,
                message_id,
                text,
                model=model,
                lease=self._lease,
                now=now,
            )
        )

    def fork(
        self, conversation_id: int, message_id: int, *, title: Callable[[str], str]
    ) -> Future[Conversation]:
        """A new conversation with the messages from the root to ``message_id``, as they are.

        ``title`` makes its title of the old one.
        """
        now = self._clock()
        return self._writer.submit(
            lambda connection: branching.fork(
                connection, conversation_id, message_id, title=title, now=now
            )
        )

    def select(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """Show the branch through ``message_id``, down to the leaf that was shown last below it."""
        return self._writer.submit(
            lambda connection: branching.select(connection, conversation_id, message_id)
        )

    def hide_message(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """Hide a message and all below it; a tip in there moves to a sibling, else the parent."""
        now = self._clock()
        return self._writer.submit(
            lambda connection: branching.hide(
                connection, conversation_id, message_id, own=self._lease, now=now
            )
        )

    def unhide_message(self, conversation_id: int, message_id: int) -> Future[Conversation]:
        """Bring a hidden message back, with what is below it, and show it."""
        return self._writer.submit(
            lambda connection: branching.unhide(connection, conversation_id, message_id)
        )

    def siblings(self, conversation_id: int) -> dict[int, tuple[int, ...]]:
        """For each message of the branch that is shown, itself and its siblings, oldest first.

        Hidden ones are left out. Reads the disk: 2,000 messages take a few milliseconds.

        Raises:
            ConversationNotFoundError: No conversation has that number.
        """
        with self._readers.snapshot() as connection:
            return reads.sibling_ids(connection, conversation_id)
