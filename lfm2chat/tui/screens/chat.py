"""The chat screen: it routes events to its regions and carries out commands.

What is decided stands in :mod:`lfm2chat.tui.desk`, what is known in :mod:`lfm2chat.tui.state`,
where things are in :mod:`lfm2chat.tui.screens.regions`; this screen only shows it. Service events
are posted to it and go through one handler; those of a conversation that is not shown change the
state and the list, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from textual import on, work
from textual.timer import Timer

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
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.runtime.models import GUIDE
from lfm2chat.settings import Settings
from lfm2chat.spec import FinishReason
from lfm2chat.tui import describe
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.messages import Downloaded, ServiceEvent
from lfm2chat.tui.screens.link import LinkScreen
from lfm2chat.tui.screens.regions import ChatRegions
from lfm2chat.tui.screens.rename import RenameScreen
from lfm2chat.tui.state import ChatState, Draft, LiveTurn
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.conversations import ConversationList
from lfm2chat.tui.widgets.prompt import Prompt
from lfm2chat.tui.widgets.sampling import SamplingPanel
from lfm2chat.tui.widgets.welcome import Welcome

DRAFT_DELAY_S = 0.3
AGES_REFRESH_S = 60.0
DESCRIBE_S = 0.5


class ChatScreen(ChatRegions):
    """The one screen that is always there. ``connect`` gives it the service once it exists."""

    def __init__(self, *, state: ChatState, settings: Settings) -> None:
        super().__init__(settings=settings)
        self._state = state
        self._desk: Desk | None = None
        self._conversations: list[Conversation] = []
        self._draft_timer: Timer | None = None
        self._describing: Timer | None = None
        # Whether a new conversation was asked for before the last one could be opened.
        self._began = False
        # Until the first conversation is read: what is typed may not overwrite an older draft.
        self._starting = True
        # Held by whoever changes what is shown: events, sending, opening.
        self._changing = asyncio.Lock()

    async def on_mount(self) -> None:
        await self.transcript.show(())
        self._describe()
        self.set_interval(AGES_REFRESH_S, self._show_list)

    @property
    def conversations(self) -> list[Conversation]:
        """What the list holds."""
        return list(self._conversations)

    # --- the service --------------------------------------------------------------------------

    async def connect(self, desk: Desk) -> None:
        """Take the service into use: list what is stored, open what was open last."""
        self._desk = desk
        try:
            self._conversations = await desk.conversations()
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
        self._show_list()
        self._show_sampling()
        last = self._conversations[0].id if self._conversations else self._state.shown
        await self._open(last, at_start=True)
        if self._starting:
            # The user was faster than the disk: what was begun stays on the screen.
            await self._open(self._state.shown, at_start=True)
            self._starting = False

    @on(ServiceEvent)
    async def _take(self, message: ServiceEvent) -> None:
        # State and screen change together: a conversation that is opened meanwhile would
        # otherwise miss a piece of the running text, or show it twice.
        async with self._changing:
            turn = self._state.apply(message.event)
            await self._show_event(message.event, turn)
            if isinstance(message.event, TextDelta | DownloadProgress):
                self._describe_soon()
            else:
                self._describe()

    async def _show_event(self, event: Event, turn: LiveTurn | None) -> None:
        """Show ``event``; ``turn`` is the one it is about, as the state has it now."""
        here = turn is not None and turn.key == self._state.shown
        match event:
            case TurnAccepted():
                self._upsert(event.conversation)
                if here:
                    await self.transcript.accept(event.user, event.assistant)
            case TextDelta() if turn is not None and here and turn.assistant is not None:
                view = self.transcript.answer_of(turn.assistant.id)
                if view is not None:
                    view.feed(event.text)
            case TurnFinished():
                await self._finished(event, turn, here=here)
            case TurnFailed():
                await self._failed(event, turn, here=here)
            case _:
                self._show_news(event)

    def _show_news(self, event: Event) -> None:
        """Show ``event``, which is about no turn."""
        match event:
            case ConversationChanged():
                self._upsert(event.conversation)
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
                self.app.post_message(Downloaded(event.model))
            case _:
                pass

    async def _finished(self, event: TurnFinished, turn: LiveTurn | None, *, here: bool) -> None:
        message = event.message
        if here:
            self.transcript.remember(message)
            view = self.transcript.answer_of(message.id)
            if view is not None:
                await view.finish(message)
        if turn is None:
            return
        if turn.stopping or message.finish_reason is FinishReason.CANCELLED:
            self._return_queue(turn.key)
        elif self._desk is not None:
            await self._send_next(self._desk, turn.key, here=here)
        self._show_list()

    async def _send_next(self, desk: Desk, key: int, *, here: bool) -> None:
        try:
            text = desk.send_next(key)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            self._return_queue(key)
            return
        if text is not None and here:
            await self.transcript.add_waiting(text)

    async def _failed(self, event: TurnFailed, turn: LiveTurn | None, *, here: bool) -> None:
        self._tell(event.message, event.hint)
        if turn is None:
            return
        if turn.assistant is None:
            # Not on the disk: the text goes back to where it came from.
            if here:
                await self.transcript.drop_waiting()
            self._return_queue(turn.key, first=turn.prompt)
            return
        message = self._state.finished[turn.assistant.id]
        if here:
            self.transcript.remember(message)
            view = self.transcript.answer_of(message.id)
            if view is not None:
                await view.finish(message)
        self._return_queue(turn.key)

    def _return_queue(self, key: int, *, first: str = "") -> None:
        """Put messages that were not sent back into the prompt, in front of what stands there."""
        texts = [text for text in (first, *self._state.take_queue(key)) if text]
        if not texts:
            return
        joined = "\n\n".join(texts)
        if key == self._state.shown:
            self.prompt.give_back(joined)
        elif self._desk is not None:
            draft = self._state.drafts.get(key, Draft())
            text = f"{joined}\n\n{draft.text}" if draft.text else joined
            self._desk.save_draft(key, replace(draft, text=text))

    # --- what is shown ------------------------------------------------------------------------

    def _upsert(self, conversation: Conversation) -> None:
        rest = [entry for entry in self._conversations if entry.id != conversation.id]
        if conversation.trashed_at is None:
            rest.append(conversation)
        self._conversations = sorted(rest, key=lambda entry: (-entry.updated_at, -entry.id))
        self._show_list()

    def _show_list(self) -> None:
        writing = frozenset(turn.key for turn in self._state.live.values())
        self.list.show(self._conversations, shown=self._state.shown, writing=writing)

    def _show_sampling(self) -> None:
        if self._desk is not None:
            self.panel.show(
                self._desk.sampling(self._state.shown), recommended=self._desk.recommended()
            )

    def _describe_soon(self) -> None:
        """As :meth:`_describe`, for what changes with each token: drawn less often."""
        if self._describing is None:
            self._describing = self.set_timer(DESCRIBE_S, self._describe)

    def _describe(self) -> None:
        """Status line, queue and key bar, from the state."""
        if self._describing is not None:
            self._describing.stop()
            self._describing = None
        self.status.show(describe.status(self._state))
        for welcome in self.transcript.query(Welcome):
            welcome.describe(
                guide=self._state.model.name == GUIDE,
                temporary=self._state.is_temporary(self._state.shown),
            )
        self.waiting.show(self._state.queued.get(self._state.shown, ()))
        self.keybar.show_busy(self._state.running(self._state.shown) is not None)

    def open_conversation(self, key: int) -> None:
        """Show another conversation; what runs goes on."""
        self._open_later(key)

    @work(exclusive=True, group="open", exit_on_error=False)
    async def _open_later(self, key: int) -> None:
        await self._open(key)

    async def _open(self, key: int, *, at_start: bool = False) -> None:
        if self._desk is None:
            return
        before = self._state.shown
        try:
            stored = await self._desk.open(key)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return
        async with self._changing:
            busy = self._began or self._state.shown != before or bool(self._state.live)
            if at_start and busy and key != self._state.shown:
                return
            # Now, not before the read: typing went on.
            if self._starting:
                self._add_typed(self._desk, key)
            else:
                self.keep_draft()
            self._state.shown = key
            # In the same step: a key pressed from here on belongs to this conversation.
            draft = self._state.drafts.get(key, Draft())
            if draft != self.prompt.draft:
                self.prompt.put(draft)
            # What happened during the read is in the state only.
            messages = self._state.overlay(key, stored)
            waiting = [turn.prompt for turn in self._state.turns_of(key) if turn.user is None]
            await self.transcript.show(messages, waiting=waiting)
        self._show_sampling()
        self._show_list()
        self._describe()

    # --- what the user does -------------------------------------------------------------------

    @on(Prompt.Submitted)
    async def _send(self, event: Prompt.Submitted) -> None:
        event.stop()
        if self._desk is None:
            return
        text = event.draft.joined()
        async with self._changing:
            try:
                sent = self._desk.send(text)
            except Lfm2ChatError as error:
                self._tell(str(error), error.hint)
                return
            self._cancel_draft()
            self.prompt.clear()
            if sent:
                await self.transcript.add_waiting(text)
            self._describe()

    @on(Prompt.Changed)
    def _draft_later(self, event: Prompt.Changed) -> None:
        event.stop()
        self._cancel_draft()
        self._draft_timer = self.set_timer(DRAFT_DELAY_S, self.keep_draft)

    def _cancel_draft(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
            self._draft_timer = None

    def keep_draft(self) -> None:
        """Save what stands in the prompt now."""
        self._cancel_draft()
        if self._desk is not None and not self._starting:
            self._desk.save_draft(self._state.shown, self.prompt.draft)

    async def keep_last_draft(self) -> None:
        """Save what stands in the prompt at the end of the app."""
        if self._desk is not None and self._starting:
            with contextlib.suppress(Lfm2ChatError):
                await self._desk.open(self._state.shown)
            if self._starting:
                self._add_typed(self._desk, self._state.shown)
        self.keep_draft()

    def _add_typed(self, desk: Desk, key: int) -> None:
        """Put what was typed before anything was read below the draft of ``key``, on disk too."""
        self._cancel_draft()
        self._starting = False
        draft = self._state.drafts.get(key, Draft()).followed_by(self.prompt.draft)
        desk.save_draft(key, draft)
        if draft != self.prompt.draft:
            self.prompt.put(draft)

    @on(ConversationList.Opened)
    def _open_listed(self, event: ConversationList.Opened) -> None:
        event.stop()
        self.prompt.area.focus()
        if event.conversation_id != self._state.shown:
            self._open_later(event.conversation_id)

    @on(SamplingPanel.Changed)
    def _choose_sampling(self, event: SamplingPanel.Changed) -> None:
        event.stop()
        if self._desk is not None:
            self._desk.choose_sampling(self._state.shown, event.params)

    @on(SamplingPanel.Reset)
    def _reset_sampling(self, event: SamplingPanel.Reset) -> None:
        event.stop()
        if self._desk is not None:
            self._desk.choose_sampling(self._state.shown, None)
            self._show_sampling()

    @on(Answer.LinkClicked)
    def _ask_about_link(self, event: Answer.LinkClicked) -> None:
        event.stop()
        self.app.push_screen(LinkScreen(event.href))

    # --- commands, by the names of the registry ---------------------------------------------------

    def action_stop(self) -> None:
        """Stop the answer; with nothing to stop, back to the prompt and to the end."""
        if not self.stop_answer():
            self.prompt.area.focus()
            self.transcript.follow()

    def stop_answer(self) -> bool:
        """Stop the answer of the open conversation; whether there was one."""
        if self._desk is None or self._desk.stop() is None:
            return False
        self._describe()
        return True

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
    async def action_rename(self) -> None:
        """Give the open conversation another title."""
        key = self._state.shown
        before = next((entry.title for entry in self._conversations if entry.id == key), None)
        if before is None:
            self._say("Send a message first: then it can have a name.")
            return
        title = await self.app.push_screen_wait(RenameScreen(before))
        if title is not None and self._desk is not None:
            self._desk.rename(key, title)

    @work(exit_on_error=False, group="delete")
    async def action_delete(self) -> None:
        """Move the open conversation to the trash and open the next one."""
        key = self._state.shown
        if self._desk is None or key < 0:
            self._say("There is nothing to delete yet.")
            return
        following = self.list.neighbour(key, 1) or self.list.neighbour(key, -1)
        self._desk.delete(key)
        self._conversations = [entry for entry in self._conversations if entry.id != key]
        self._say("Moved to the trash. F9 brings it back.")
        await self._open(self._state.new_key() if following is None else following)

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
