"""What the service tells, on its way to the panes: one handler, one ``match``.

Service events are posted to the chat screen. Those of a conversation that no pane shows change
the state and the list, and nothing else.
"""

from __future__ import annotations

from textual import on

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.events import (
    ConversationChanged,
    DownloadEnded,
    DownloadFinished,
    DownloadProgress,
    Event,
    ModelFailed,
    ModelLoaded,
    SaveFailed,
    StoreNotice,
    SummaryMade,
    SummaryProgress,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.spec import FinishReason
from lfm2chat.tui import wording
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.messages import ServiceEvent
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.state import LiveTurn


class ServiceEvents(ChatBase):
    """The part of the chat screen that is told."""

    @on(ServiceEvent)
    async def _take(self, message: ServiceEvent) -> None:
        # State and screen change together: a conversation that is opened meanwhile would
        # otherwise miss a piece of the running text, or show it twice.
        async with self._changing:
            turn = self._state.apply(message.event)
            await self._show_event(message.event, turn)
            if isinstance(message.event, TextDelta | DownloadProgress | SummaryProgress):
                self._describe_soon()
            else:
                self._describe()

    async def _show_event(self, event: Event, turn: LiveTurn | None) -> None:
        """Show ``event``; ``turn`` is the one it is about, as the state has it now."""
        panes = [] if turn is None else self._panes_of(turn.key)
        match event:
            case TurnAccepted():
                self._upsert(event.conversation)
                if self._desk is not None and turn is not None:
                    self._desk.settle(turn.key)
                await self._accepted(event, turn)
            case TextDelta() if turn is not None and turn.assistant is not None:
                for pane in panes:
                    view = pane.transcript.answer_of(turn.assistant.id)
                    if view is not None:
                        view.feed(event.text)
            case SummaryMade() if panes:
                self._say(wording.summary_made(event))
            case TurnFinished():
                await self._finished(event, turn)
            case TurnFailed():
                await self._failed(event, turn)
            case ConversationChanged():
                self._upsert(event.conversation)
                await self._follow_tip(event.conversation)
            case _:
                self._show_news(event)

    async def _accepted(self, event: TurnAccepted, turn: LiveTurn | None) -> None:
        if turn is None or turn.aside:
            return
        if turn.version:
            await self._show_branch(turn.key)
            return
        for pane in self._panes_of(turn.key):
            await pane.transcript.accept(event.user, event.assistant)

    async def _follow_tip(self, conversation: Conversation) -> None:
        """Show another branch, where the conversation has another one now."""
        for pane in self._panes_of(conversation.id):
            messages = pane.transcript.messages
            tip = messages[-1].id if messages else None
            if tip != conversation.tip_id:
                await self._show_branch(conversation.id)
                return

    def _show_news(self, event: Event) -> None:
        """Show ``event``, which is about no turn."""
        match event:
            case ModelLoaded():
                self._show_sampling()
            case ModelFailed() | SaveFailed() | StoreNotice():
                self._tell(event.message, event.hint)
            case DownloadEnded() if event.message:
                self._tell(event.message, event.hint)
            case DownloadEnded():
                self._say("The download was stopped; what has arrived is kept.")
            case DownloadFinished():
                self._say(f"{one_line(event.model, 60)} is here, and answers from now on.")
                if self._desk is not None:
                    self._desk.models.use(event.model)
            case _:
                pass

    async def _finished(self, event: TurnFinished, turn: LiveTurn | None) -> None:
        if turn is None:
            return
        message = event.message
        for pane in self._panes_of(turn.key):
            await pane.transcript.finish(message)
            pane.transcript.mark_unseen(event.left_out, summarised=bool(event.summary))
        if turn.stopping or message.finish_reason is FinishReason.CANCELLED:
            self._return_queue(turn.key)
        elif self._desk is not None and self._state.running(turn.key) is None:
            await self._send_next(self._desk, turn.key)
        if turn.version and self._desk is not None:
            await self._show_branch(turn.key)
        self._show_list()

    async def _send_next(self, desk: Desk, key: int) -> None:
        try:
            sent = desk.send_next(key)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            self._return_queue(key)
            return
        if sent is not None:
            for pane in self._panes_of(key):
                await pane.transcript.add_waiting(sent)

    async def _failed(self, event: TurnFailed, turn: LiveTurn | None) -> None:
        self._tell(event.message, event.hint)
        if turn is None:
            return
        panes = self._panes_of(turn.key)
        if turn.assistant is None:
            # Not on the disk: the text goes back to where it came from.
            if not turn.version:
                for pane in panes:
                    await pane.transcript.drop_waiting()
            self._return_queue(turn.key, first=turn.sent)
            return
        message = self._state.finished[turn.assistant.id]
        for pane in panes:
            await pane.transcript.finish(message)
        self._return_queue(turn.key)
