"""Conversations come, go, and have names."""

from __future__ import annotations

from textual import work

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui.screens.ask import AskScreen
from lfm2chat.tui.screens.base import ChatBase


class ConversationCommands(ChatBase):
    """What concerns whole conversations."""

    def action_new(self) -> None:
        """Start a conversation; it is stored with its first message."""
        self.prompt.area.focus()
        self._began = True
        if self._state.shown > 0 or self._state.turns_of(self._state.shown):
            self._open_later(self._state.new_key())

    def action_temporary(self) -> None:
        """Start a conversation that is never written down."""
        self.prompt.area.focus()
        self._began = True
        key = self._state.new_key()
        self._state.unwritten.add(key)
        self._open_later(key)

    @work(exit_on_error=False)
    async def action_rename(self, title: str | None = None) -> None:
        """Give the open conversation another title, which is asked for if it is not given."""
        await self._rename(self._state.shown, title)

    async def _rename(self, key: int, title: str | None = None) -> None:
        before = next((entry.title for entry in self._conversations if entry.id == key), None)
        if before is None:
            self._say("Send a message first: then it can have a name.")
            return
        if title is None:
            question = AskScreen("Rename the conversation", before=before)
            title = await self.app.push_screen_wait(question)
        if title is not None and self._desk is not None:
            self._desk.rename(key, title)

    @work(exit_on_error=False, group="delete")
    async def action_delete(self) -> None:
        """Move the open conversation to the trash and open the next one."""
        await self._delete(self._state.shown)

    async def _delete(self, key: int) -> None:
        if self._desk is None or key < 0:
            self._say("There is nothing to delete yet.")
            return
        following = self.list.neighbour(key, 1) or self.list.neighbour(key, -1)
        self._desk.delete(key)
        self._conversations = [entry for entry in self._conversations if entry.id != key]
        self._say(f"Moved to the trash. {self._state.keymap.shown('restore')} brings it back.")
        if key != self._state.shown:
            self._show_list()
            return
        elsewhere = following is None or following in self._state.panes
        await self._open(self._state.new_key() if following is None or elsewhere else following)

    @work(exit_on_error=False, group="delete")
    async def action_restore(self) -> None:
        """Bring the conversation back that was deleted last."""
        if self._desk is None:
            return
        try:
            key = await self._desk.restore()
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return
        if key is None:
            self._say("The trash is empty.")
        else:
            await self._open(key)

    def action_previous(self) -> None:
        """Open the conversation above the open one."""
        self._open_neighbour(-1)

    def action_next(self) -> None:
        """Open the conversation below the open one."""
        self._open_neighbour(1)

    def _open_neighbour(self, step: int) -> None:
        key = self.list.neighbour(self._state.shown, step)
        if key is not None and key != self._state.shown:
            self._open_later(key)
