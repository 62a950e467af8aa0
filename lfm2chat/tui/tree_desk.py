"""A conversation as a tree: what the user does, as calls to the service. No widgets.

Everything runs on the event loop's thread; reads of the store run in a thread and are awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from lfm2chat.chat.turns import Conversation, Message, Role
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.service import ChatService
from lfm2chat.store.archive import Tree
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.state import ChatState


class TreeDesk:
    """Versions of messages. ``watch`` is given every future whose failure must be told."""

    def __init__(
        self, service: ChatService, state: ChatState, watch: Callable[[Future[Any]], None]
    ) -> None:
        self._service = service
        self._state = state
        self._watch = watch
        self._hidden: list[tuple[int, int]] = []

    # --- new versions: each begins a turn, but for an answer that the user wrote ----------------

    def edit(self, key: int, message: Message, draft: Draft) -> None:
        """Say ``draft`` instead of ``message``, beside it. An answer has no files.

        Raises:
            Lfm2ChatError: The service does not take it.
        """
        branches, text = self._service.branches, draft.text
        if message.role is Role.ASSISTANT:
            self._watch(branches.edit_answer(key, message.id, text))
            return
        files = draft.files
        turn = branches.edit(key, message.id, text, attachments=files, **self._chosen(key))
        self._state.begin(turn, key=key, prompt=text, version=True, files=files)

    def regenerate(self, key: int, message: Message, *, count: int = 1) -> None:
        """Answer once more, or ``count`` times.

        Raises:
            Lfm2ChatError: The service does not take it.
        """
        branches = self._service.branches
        turns = branches.regenerate(key, message.id, count=count, **self._chosen(key))
        for turn in turns:
            self._state.begin(turn, key=key, prompt="", version=True)

    def go_on(self, key: int, message: Message, *, text: str | None = None) -> None:
        """Let the model go on after an answer, or after ``text`` in its place.

        Raises:
            Lfm2ChatError: The service does not take it.
        """
        branches = self._service.branches
        turn = branches.continue_answer(key, message.id, text=text, **self._chosen(key))
        self._state.begin(turn, key=key, prompt="", version=True)

    def _chosen(self, key: int) -> dict[str, Any]:
        """How the user wants a conversation answered: sampling and model."""
        return {
            "sampling": self._state.sampling.get(key),
            "model": self._state.models.get(key, ""),
        }

    # --- walking ------------------------------------------------------------------------------

    async def read(self, key: int) -> list[Message]:
        """The branch that is shown, with what the store says of versions kept in the state.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        messages = await asyncio.to_thread(self._service.messages, key)
        await self.read_siblings(key)
        return messages

    async def read_siblings(self, key: int) -> None:
        """Keep in the state which versions the shown messages have.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        siblings = await asyncio.to_thread(self._service.branches.siblings, key)
        self._state.siblings[key] = {
            number: versions for number, versions in siblings.items() if len(versions) > 1
        }

    async def tree(self, key: int) -> Tree:
        """The conversation with all of its messages; which of them are warm is asked meanwhile.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        self._service.tell_warm(key)
        return await asyncio.to_thread(self._service.branches.tree, key)

    def neighbour(self, key: int, message_id: int, step: int) -> int | None:
        """The version ``step`` after that of ``message_id``, or None where there is none."""
        versions = self._state.siblings.get(key, {}).get(message_id, ())
        if message_id not in versions:
            return None
        at = versions.index(message_id) + step
        return versions[at] if 0 <= at < len(versions) else None

    def select(self, key: int, message_id: int) -> None:
        """Show the branch through a message."""
        self._watch(self._service.branches.select(key, message_id))

    async def fork(self, key: int, message_id: int) -> Conversation:
        """A new conversation with all up to a message.

        Raises:
            Lfm2ChatError: The store cannot do it.
        """
        return await asyncio.wrap_future(self._service.branches.fork(key, message_id))

    # --- hiding -------------------------------------------------------------------------------

    async def hide(self, key: int, message_id: int) -> None:
        """Hide a message and all below it.

        Raises:
            Lfm2ChatError: The store cannot do it, or an answer in there is being written.
        """
        await asyncio.wrap_future(self._service.branches.delete_message(key, message_id))
        self._hidden.append((key, message_id))

    async def bring_back(self, key: int, message_id: int) -> None:
        """Bring a hidden message back.

        Raises:
            Lfm2ChatError: The store cannot do it.
        """
        await asyncio.wrap_future(self._service.branches.restore_message(key, message_id))
        if (key, message_id) in self._hidden:
            self._hidden.remove((key, message_id))

    async def bring_last_back(self, key: int) -> bool:
        """Bring back what was hidden last in a conversation; whether there was anything."""
        for number, message_id in reversed(self._hidden):
            if number == key:
                try:
                    await self.bring_back(key, message_id)
                except Lfm2ChatError:
                    self._hidden.remove((key, message_id))
                    raise
                return True
        return False
