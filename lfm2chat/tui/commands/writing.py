"""Writing a message: files that go with it, messages sent before, another editor."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from textual import on, work
from textual.app import SuspendNotSupported

from lfm2chat.chat.attachments import Attachment, attached
from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.mentions import path_of
from lfm2chat.tui.outside import edit, editor_command
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.slash import as_typed
from lfm2chat.tui.terminal import plain_keys
from lfm2chat.tui.widgets.prompt import Prompt


class WritingCommands(ChatBase):
    """What helps to write one."""

    # --- files --------------------------------------------------------------------------------

    @on(Prompt.FileChosen)
    def _attach_chosen(self, event: Prompt.FileChosen) -> None:
        event.stop()
        self._read_later(event.path, event.name)

    def action_attach(self, path: str = "") -> None:
        """Let a text file go with the message; without a ``path`` choose one after an ``@``."""
        if path:
            self._read_later(path_of(path), path.strip('"'))
            return
        self.prompt.area.focus()
        before = self.prompt.area.text[-1:]
        self.prompt.area.move_cursor(self.prompt.area.document.end)
        self.prompt.area.insert(" @" if before.strip() else "@")

    @work(exit_on_error=False, group="attach")
    async def _read_later(self, path: Path, name: str) -> None:
        """Read a file and let it go with the message of the conversation that is shown now."""
        if self._desk is None:
            return
        key = self._state.shown
        self._reading.append(name)
        try:
            file = await self._desk.read_file(path, name)
            self._add_file(key, file)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        finally:
            self._reading.remove(name)

    def _add_file(self, key: int, file: Attachment) -> None:
        """Add a file to the prompt of a conversation, shown or not.

        Raises:
            UsageError: There are too many.
        """
        shown = key == self._state.shown
        before = self.prompt.draft if shown else self._state.drafts.get(key, Draft())
        attached((*before.files, file))
        if shown:
            self.prompt.attach(file)
        elif self._desk is not None:
            self._desk.save_draft(key, Draft(before.text, (*before.files, file)))

    # --- earlier messages ---------------------------------------------------------------------

    @on(Prompt.HistoryWanted)
    def _recall_later(self, event: Prompt.HistoryWanted) -> None:
        event.stop()
        self._recall()

    @work(exclusive=True, exit_on_error=False, group="history")
    async def _recall(self) -> None:
        if self._desk is None:
            return
        key = self._state.shown
        try:
            sent = await self._desk.sent(key)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return
        if key == self._state.shown:
            self.prompt.recall([as_typed(text) for text in sent])

    # --- another editor -----------------------------------------------------------------------

    @work(exclusive=True, exit_on_error=False, group="editor")
    async def action_editor(self) -> None:
        """Write the message in the user's own editor; the text comes back when that ends."""
        # On disk before anything else happens: an editor may stay open for hours.
        self.keep_draft()
        before = self.prompt.draft
        try:
            command = editor_command(os.environ)
            if os.name == "nt":
                text = await asyncio.to_thread(edit, before.text, command)
            else:
                # Not in a thread: until it ends nobody else may draw.
                with self.app.suspend(), plain_keys():
                    text = edit(before.text, command)
        except UsageError as error:
            self._tell(str(error), error.hint)
        except SuspendNotSupported:
            self._tell("no other editor can be opened in this terminal")
        else:
            self.prompt.put(Draft(text, self.prompt.draft.files))
            self.keep_draft()
        self.app.refresh()
        self.prompt.area.focus()
