"""What stands in prompts and waits, as calls to the service: kept, counted, read. No widgets.

Everything runs on the event loop's thread; reads of the disk run in a thread and are awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.shares import ContextMap
from lfm2chat.chat.textfiles import read_text_file
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.counting import TokenCount
from lfm2chat.runtime.service import ChatService
from lfm2chat.store import is_temporary
from lfm2chat.tui.counting import Counted, counted
from lfm2chat.tui.draft import Draft, joined
from lfm2chat.tui.history import MOST_ENTRIES
from lfm2chat.tui.slash import as_typed
from lfm2chat.tui.state import ChatState


class DraftDesk:
    """The part of :class:`lfm2chat.tui.desk.Desk` that is about messages not sent yet."""

    def __init__(
        self, service: ChatService, state: ChatState, fail: Callable[[str, str], None]
    ) -> None:
        self._service = service
        self._state = state
        self._fail = fail

    def take_queued(self, key: int, index: int = -1) -> Draft | None:
        """Take a message out of the queue, by default the last; None if it is not there.

        The caller puts it somewhere else, or drops it.
        """
        waiting = self._state.queued.get(key, [])
        try:
            draft = waiting.pop(index)
        except IndexError:
            return None
        self._keep(key)
        return draft

    def hurry_queued(self, key: int, index: int) -> None:
        """Let a message of the queue go out before the one in front of it."""
        waiting = self._state.queued.get(key, [])
        if 0 < index < len(waiting):
            waiting[index - 1], waiting[index] = waiting[index], waiting[index - 1]
            self._keep(key)

    def save_draft(self, key: int, draft: Draft) -> None:
        """Keep what stands in the prompt, on disk too, but for a temporary conversation."""
        if self._state.drafts.get(key, Draft()) != draft:
            self._state.drafts[key] = draft
            self._keep(key)

    def settle(self, key: int) -> None:
        """The conversation has its number now: so has what was kept for it without one."""
        if not self._state.queued.get(key) and self._state.drafts.get(key, Draft()).empty:
            return
        self._keep(key)
        if not is_temporary(key):
            others = [one for one in self._state.drafts if one < 0]
            for other in others:
                self._keep(other)
            if not others:
                self.watch(self._service.save_draft(None, ""))

    def _keep(self, key: int) -> None:
        """Put on disk what waits in a conversation, and the draft below it."""
        if key in self._state.unwritten:
            return  # nothing of it goes to the disk, and memory has no place for it yet
        waiting = [replace(one, text=as_typed(one.text)) for one in self._state.queued.get(key, ())]
        whole = joined((*waiting, self._state.drafts.get(key, Draft())))
        self.watch(self._service.save_draft(key if key > 0 else None, whole.joined()))

    async def sent(self, key: int) -> list[str]:
        """What was sent, the newest first, this conversation's before all others.

        Raises:
            Lfm2ChatError: The store cannot give it.
        """
        number = key if key > 0 else None
        return await asyncio.to_thread(self._service.sent, number, limit=MOST_ENTRIES)

    async def count(self, key: int, draft: Draft, *, with_files: bool) -> Counted | None:
        """What the turn would take if ``draft`` were sent now; ``with_files`` tells of each file.

        None where a newer question came first.

        Raises:
            Lfm2ChatError: There is no model to count for.
        """
        number, text = key if key > 0 else None, draft.text.strip("\n")
        sampling = self._state.sampling.get(key)
        found: TokenCount | ContextMap | None
        if with_files:
            found = await self.context_map(key, draft)
        else:
            count = self._service.count_tokens(number, text, draft.files, sampling=sampling)
            found = await asyncio.wrap_future(count)
        return None if found is None else counted(found)

    def prime(self, key: int, draft: Draft) -> None:
        """Let the model read ahead what the next turn of a conversation would hold."""
        if self._state.running(key) is None:
            number, sampling = key if key > 0 else None, self._state.sampling.get(key)
            self._service.prime(number, draft.text.strip("\n"), draft.files, sampling=sampling)

    async def read_file(self, path: Path, name: str) -> Attachment:
        """The text file at ``path``, to be sent under ``name``.

        Raises:
            UsageError: It is no text, too large, or cannot be read.
        """
        return await asyncio.to_thread(read_text_file, path, name=name)

    async def context_map(self, key: int, draft: Draft) -> ContextMap | None:
        """What fills the context of a conversation with what is typed; None where it was asked
        again meanwhile.

        Raises:
            Lfm2ChatError: It cannot be counted.
        """
        # One that has not begun has no number.
        number = key if key > 0 else None
        sampling = self._state.sampling.get(key)
        asked = self._service.context_map(
            number, draft.text.strip("\n"), draft.files, sampling=sampling
        )
        return await asyncio.wrap_future(asked)

    def watch(self, future: Future[Any]) -> None:
        def look(done: Future[Any]) -> None:
            if done.cancelled():
                return
            error = done.exception()
            if error is not None:
                self._fail(str(error), error.hint if isinstance(error, Lfm2ChatError) else "")

        future.add_done_callback(look)
