"""Conversations as a front end lists and arranges them, kept on disk and temporary ones alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation, Message
from lfm2chat.errors import StoreError
from lfm2chat.runtime.events import ConversationChanged
from lfm2chat.runtime.shelf import TITLE_LENGTH
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store, is_temporary


class Conversations:
    """The part of the service that knows the stores. Any thread.

    What gives a list, a text or a conversation reads the disk: not for the event loop. What
    changes something gives a future at once and is told by :class:`ConversationChanged`.
    """

    def __init__(
        self, store: Store | None, tell_changed: Callable[[ConversationChanged], None]
    ) -> None:
        self._store = store
        self._tell_changed = tell_changed
        self._temporary: Store | None = None
        self._lock = threading.Lock()

    def conversations(self, *, trashed: bool = False, archived: bool = False) -> list[Conversation]:
        """Those of the list, of the archive or of the trash, the one that changed last first."""
        return self._need_store().conversations(trashed=trashed, archived=archived)

    def conversation(self, conversation_id: int) -> Conversation:
        """One conversation.

        Raises:
            ConversationNotFoundError: There is none with that number.
        """
        return self._store_of(conversation_id).conversation(conversation_id)

    def messages(self, conversation_id: int) -> list[Message]:
        """The branch that is shown, from its first message to the tip."""
        return self._store_of(conversation_id).branch(conversation_id)

    def sent(self, conversation_id: int | None, *, limit: int) -> list[str]:
        """What the user said, newest first: in that conversation, then in all others; at most
        ``limit`` texts of each. What was said in temporary ones is offered in those alone.
        """
        found = self._need_store().sent(conversation_id, limit=limit)
        if conversation_id is not None and is_temporary(conversation_id):
            found = [*self._store_of(conversation_id).sent(conversation_id, limit=limit), *found]
        return found

    def rename(self, conversation_id: int, title: str) -> Future[Conversation]:
        """Give a conversation another title."""
        title = one_line(title, TITLE_LENGTH)
        store = self._store_of(conversation_id)
        return self._told(store.update_conversation(conversation_id, title=title))

    def set_sampling(
        self, conversation_id: int, sampling: SamplingParams | None
    ) -> Future[Conversation]:
        """Keep ``sampling`` with a conversation; it holds from the next turn on.

        None goes back to the model's recommendation.
        """
        store = self._store_of(conversation_id)
        return self._told(store.update_conversation(conversation_id, sampling=sampling))

    def set_system_prompt(self, conversation_id: int, text: str) -> Future[Conversation]:
        """Tell the model ``text`` first in a conversation, from the next turn on."""
        store = self._store_of(conversation_id)
        return self._told(store.update_conversation(conversation_id, system_prompt=text))

    def save_draft(self, conversation_id: int | None, text: str) -> Future[Any]:
        """Keep what stands in the prompt of a conversation, None for the one not begun yet.

        In a store that can only be read nothing is kept, and nothing is said: it was at the start,
        and would be again with each pause in the typing.
        """
        store = self._store_of(conversation_id)
        if store.why_read_only is not None:
            unkept: Future[None] = Future()
            unkept.set_result(None)
            return unkept
        if conversation_id is None:
            return store.keep_unsent(text)
        return store.update_conversation(conversation_id, draft=text)

    def unsent_draft(self) -> str:
        """What stood in the prompt of the conversation not begun yet. Reads the disk."""
        return self._need_store().unsent()

    def restore(self, conversation_id: int) -> Future[Conversation]:
        """Bring a conversation back from the trash."""
        store = self._store_of(conversation_id)
        return self._told(store.restore_conversation(conversation_id))

    def set_pinned(self, conversation_id: int, *, pinned: bool) -> Future[Conversation]:
        """Keep a conversation in sight, or no longer."""
        store = self._store_of(conversation_id)
        change = store.pin_conversation if pinned else store.unpin_conversation
        return self._told(change(conversation_id))

    def set_archived(self, conversation_id: int, *, archived: bool) -> Future[Conversation]:
        """Take a conversation out of the list, or bring it back; searching finds it anyway."""
        store = self._store_of(conversation_id)
        change = store.archive_conversation if archived else store.unarchive_conversation
        return self._told(change(conversation_id))

    def set_tags(self, conversation_id: int, names: Iterable[str]) -> Future[Conversation]:
        """Give a conversation these tags and no others; names that differ in case are one.

        Raises:
            UsageError: A name is empty or too long, or there are too many.
        """
        return self._told(self._store_of(conversation_id).set_tags(conversation_id, names))

    # --- inside -----------------------------------------------------------------------------

    def _need_store(self) -> Store:
        if self._store is None:
            raise StoreError("no store is open", hint="this is a fault of lfm2chat: report it")
        return self._store

    def _store_of(self, conversation_id: int | None) -> Store:
        """Where a conversation lies; None: where a new one goes."""
        if conversation_id is not None and is_temporary(conversation_id):
            return self._temporary_store()
        return self._need_store()

    def _temporary_store(self) -> Store:
        with self._lock:
            if self._temporary is None:
                self._temporary = Store.in_memory()
            return self._temporary

    def _told(self, future: Future[Conversation]) -> Future[Conversation]:
        def tell(done: Future[Conversation]) -> None:
            if done.exception() is None:
                self._tell_changed(ConversationChanged(done.result()))

        future.add_done_callback(tell)
        return future
