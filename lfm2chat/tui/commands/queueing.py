"""The messages that wait for the answer that runs."""

from __future__ import annotations

from textual import on

from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.slash import as_typed
from lfm2chat.tui.widgets.waiting import WaitingList

LAST = -1


class QueueCommands(ChatBase):
    """What is done with them before they go out."""

    def action_edit_queued(self) -> None:
        """Take the message that waits last back into the prompt."""
        self._edit_queued(LAST)

    def action_drop_queued(self) -> None:
        """Drop the message that waits last."""
        self._drop_queued(LAST)

    @on(WaitingList.Taken)
    def _take_back(self, event: WaitingList.Taken) -> None:
        event.stop()
        self._edit_queued(event.index)

    @on(WaitingList.Dropped)
    def _drop(self, event: WaitingList.Dropped) -> None:
        event.stop()
        self._drop_queued(event.index)

    @on(WaitingList.Hurried)
    def _hurry(self, event: WaitingList.Hurried) -> None:
        event.stop()
        if self._desk is not None:
            self._desk.hurry_queued(self._state.shown, event.index)
            self._describe()

    def _edit_queued(self, index: int) -> None:
        key = self._state.shown
        draft = None if self._desk is None else self._desk.take_queued(key, index)
        if draft is None:
            self._say("No message waits.")
            return
        self._give_back(key, draft)
        self.prompt.area.focus()
        self._describe()

    def _drop_queued(self, index: int) -> None:
        draft = None if self._desk is None else self._desk.take_queued(self._state.shown, index)
        if draft is None:
            self._say("No message waits.")
            return
        if draft.text.strip():
            self.prompt.history.remember(as_typed(draft.text))
            self._say("Dropped. Up in the prompt brings its text back.")
        self._describe()
