"""Finding conversations and putting them away, for a front end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from lfm2chat.chat.turns import Conversation, Message
from lfm2chat.store import Store
from lfm2chat.store.search import Hit

MOST_FOUND = 200


class Cabinet:
    """Any thread; what reads the disk says so, changes return at once and are told by
    :class:`~lfm2chat.runtime.events.ConversationChanged`.

    ``store_of`` gives the store that a conversation lies in (None: the one on disk), ``told`` tells
    of a change when it is done, ``forget`` lets go of what the model keeps of a conversation.
    """

    def __init__(
        self,
        store_of: Callable[[int | None], Store],
        *,
        told: Callable[[Future[Conversation]], Future[Conversation]],
        forget: Callable[[int], None],
    ) -> None:
        self._store_of = store_of
        self._told = told
        self._forget = forget

    # --- reads of the disk --------------------------------------------------------------------

    def search(self, query: str, *, typing: bool = False, limit: int = MOST_FOUND) -> list[Hit]:
        """What holds every word of ``query``; see :meth:`lfm2chat.store.Questions.search`.

        Raises:
            UsageError: A filter has a value that means nothing.
            StoreError: The store cannot be read.
        """
        return self._store_of(None).search(query, typing=typing, limit=limit)

    def message(self, message_id: int) -> Message:
        """One message of a stored conversation.

        Raises:
            StoreError: No message has that number.
        """
        return self._store_of(None).message(message_id)

    def beginning(self, conversation_id: int, *, most: int) -> list[Message]:
        """The first ``most`` messages of a stored conversation, in the branch that it shows.

        Raises:
            ConversationNotFoundError: No conversation has that number.
            StoreError: The store cannot be read.
        """
        return self._store_of(None).branch(conversation_id)[:most]

    def archived(self) -> list[Conversation]:
        """What is in the archive, the one that changed last first."""
        return self._store_of(None).conversations(archived=True)

    def trashed(self) -> list[Conversation]:
        """What is in the trash, the one that was deleted last first."""
        found = self._store_of(None).conversations(trashed=True)
        return sorted(found, key=lambda entry: -(entry.trashed_at or 0.0))

    # --- changes ------------------------------------------------------------------------------

    def pin(self, conversation_id: int, pinned: bool) -> Future[Conversation]:
        """Keep a conversation on top of the list, or no longer."""
        store = self._store_of(conversation_id)
        change = store.pin_conversation if pinned else store.unpin_conversation
        return self._told(change(conversation_id))

    def archive(self, conversation_id: int, archived: bool) -> Future[Conversation]:
        """Take a conversation out of the list, or bring it back from the archive."""
        store = self._store_of(conversation_id)
        change = store.archive_conversation if archived else store.unarchive_conversation
        return self._told(change(conversation_id))

    def set_tags(self, conversation_id: int, names: Iterable[str]) -> Future[Conversation]:
        """Give a conversation these tags and no others.

        Raises:
            UsageError: A name is empty or too long, or there are too many.
        """
        return self._told(self._store_of(conversation_id).set_tags(conversation_id, names))

    def delete_forever(self, conversation_id: int) -> Future[None]:
        """Delete a conversation with all that was made of it; nothing brings it back.

        The future carries StoreError while an answer in it is being written.
        """
        future = self._store_of(conversation_id).delete_conversation(conversation_id)
        future.add_done_callback(lambda done: self._forget_all((conversation_id,), done))
        return future

    def empty_trash(self, numbers: Sequence[int]) -> Future[None]:
        """Delete for ever those of ``numbers`` that are in the trash still, all of them or none."""
        future = self._store_of(None).empty_trash(numbers)
        future.add_done_callback(lambda done: self._forget_all(numbers, done))
        return future

    def _forget_all(self, numbers: Sequence[int], done: Future[Any]) -> None:
        """On the store's writer thread."""
        if not done.cancelled() and done.exception() is None:
            for number in numbers:
                self._forget(number)
