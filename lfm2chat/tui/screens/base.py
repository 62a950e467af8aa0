"""What every part of the chat screen stands on: the state, the desk, and how they are shown.

What is decided stands in :mod:`lfm2chat.tui.desk`, what is known in :mod:`lfm2chat.tui.state`,
where things are in :mod:`lfm2chat.tui.screens.regions`. The commands of one area each are in
:mod:`lfm2chat.tui.commands`; :class:`~lfm2chat.tui.chat.ChatScreen` joins them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from textual import work
from textual.timer import Timer

from lfm2chat.chat.turns import Conversation, Message
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.models import GUIDE
from lfm2chat.settings import Settings
from lfm2chat.tui import describe, listing
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.draft import Draft, joined
from lfm2chat.tui.screens.regions import ChatRegions
from lfm2chat.tui.slash import as_typed
from lfm2chat.tui.state import ChatState
from lfm2chat.tui.widgets.pane import Pane
from lfm2chat.tui.widgets.welcome import Welcome

DESCRIBE_S = 0.5


class ChatBase(ChatRegions):
    """The chat screen without its commands."""

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
        # Names of files that are on their way into the prompt.
        self._reading: list[str] = []
        # Held by whoever changes what is shown: events, sending, opening.
        self._changing = asyncio.Lock()

    @property
    def conversations(self) -> list[Conversation]:
        """What the list holds."""
        return list(self._conversations)

    def reading_message(self) -> Message | None:
        """The message that the reader's cursor is on, or None while nothing is read."""
        return None

    def leave_editing(self) -> bool:
        """Leave the message that is being said in another way as it was; whether there is one."""
        editing = self._state.editing.pop(self._state.shown, None)
        if editing is None:
            return False
        self.prompt.put(editing.before)
        self._describe()
        return True

    def _try(self, act: Callable[[Desk], object]) -> bool:
        """Do something with the desk, and say what it refuses; whether it was done."""
        if self._desk is None:
            return False
        try:
            act(self._desk)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return False
        return True

    def _panes_of(self, key: int) -> list[Pane]:
        """The panes that show a conversation."""
        return [self.panes.at(at) for at, shown in enumerate(self._state.panes) if shown == key]

    def _title_of(self, key: int) -> str:
        """The title of a conversation, for the heading of its pane."""
        for entry in self._conversations:
            if entry.id == key:
                return entry.title or "untitled"
        return "temporary" if self._state.is_temporary(key) else "new conversation"

    # --- what is shown ------------------------------------------------------------------------

    def _upsert(self, conversation: Conversation) -> None:
        rest = [entry for entry in self._conversations if entry.id != conversation.id]
        self._conversations = listing.ordered([*rest, conversation])
        self._show_list()

    def _show_list(self) -> None:
        writing = frozenset(turn.key for turn in self._state.live.values())
        self.list.show(self._conversations, shown=self._state.shown, writing=writing)
        self.title = self.list.title_of(self._state.shown)

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
        """Status line, headings, queue and key bar, from the state."""
        if self._describing is not None:
            self._describing.stop()
            self._describing = None
        state = self._state
        self.status.show(describe.status(state))
        addressed = state.addressed()
        for pane, key in zip(self.panes, state.panes, strict=True):
            pane.describe(
                self._title_of(key),
                describe.pane(state, key),
                alone=len(self.panes) == 1,
                addressed=key in addressed,
            )
            for welcome in pane.query(Welcome):
                welcome.describe(
                    guide=describe.model_of(state, key) == GUIDE,
                    temporary=state.is_temporary(key),
                )
        self.waiting.show(state.queued.get(state.shown, ()))
        self.prompt.say(describe.prompt(state))
        self.keybar.show_busy(state.running(state.shown) is not None)

    def _show_versions(self, key: int) -> None:
        """Number the versions in the headings of a conversation's messages."""
        siblings = self._state.siblings.get(key, {})
        use = self._state.context.get(key)
        for pane in self._panes_of(key):
            pane.transcript.number_versions(siblings)
            if use is None:
                pane.transcript.mark_unseen(0)
            else:
                pane.transcript.mark_unseen(use.left_out, summarised=use.summarised)

    async def _show_branch(self, key: int) -> None:
        """Show the branch that the store has as the shown one now. ``_changing`` is held."""
        if self._desk is None:
            return
        try:
            stored = await self._desk.tree.read(key)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return
        messages = self._state.overlay(key, stored)
        for pane in self._panes_of(key):
            await pane.transcript.change(messages)
        self._show_versions(key)

    # --- opening ------------------------------------------------------------------------------

    def open_conversation(self, key: int) -> None:
        """Show another conversation in the active pane; what runs goes on."""
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
            # One conversation is in one pane: where it is shown already, that pane is chosen.
            if key != self._state.shown and key in self._state.panes:
                self._choose(self._state.panes.index(key))
            self._state.shown = key
            # In the same step: a key pressed from here on belongs to this conversation.
            self._put_draft()
            # What happened during the read is in the state only.
            messages = self._state.overlay(key, stored)
            waiting = [turn.sent for turn in self._state.turns_of(key) if turn.user is None]
            await self.transcript.show(messages, waiting=waiting)
            self._show_versions(key)
        self._show_sampling()
        self._show_list()
        self._describe()

    def _choose(self, index: int) -> None:
        """Let the prompt speak to another pane. The draft is the caller's to keep before."""
        self._state.active = index
        self.panes.choose(index)

    # --- drafts -------------------------------------------------------------------------------

    def _draft(self) -> Draft:
        """What stands in the prompt, with what an edited message pushed out of it."""
        editing = self._state.editing.get(self._state.shown)
        return self.prompt.unsent if editing is None else editing.before

    def _put_draft(self) -> None:
        draft = self._state.drafts.get(self._state.shown, Draft())
        if draft != self.prompt.draft:
            self.prompt.put(draft)
        self.prompt.history.forget()

    def _cancel_draft(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
            self._draft_timer = None

    def keep_draft(self) -> None:
        """Save what stands in the prompt now."""
        self._cancel_draft()
        if self._desk is not None and not self._starting:
            self._desk.save_draft(self._state.shown, self._draft())

    def _add_typed(self, desk: Desk, key: int) -> None:
        """Put what was typed before anything was read below the draft of ``key``, on disk too."""
        self._cancel_draft()
        self._starting = False
        draft = self._state.drafts.get(key, Draft()).followed_by(self.prompt.unsent)
        desk.save_draft(key, draft)
        if draft != self.prompt.draft:
            self.prompt.put(draft)

    def _return_queue(self, key: int, *, first: Draft | None = None) -> None:
        """Put messages that were not sent back into the prompt, in front of what stands there."""
        whole = joined((first or Draft(), *self._state.take_queue(key)))
        if not whole.empty:
            self._give_back(key, whole)

    def _give_back(self, key: int, draft: Draft) -> None:
        """Put a message back into the prompt of its conversation, shown or not."""
        draft = replace(draft, text=as_typed(draft.text))
        editing = self._state.editing.get(key)
        if editing is not None:
            # Below the message that is edited: it comes up when that is done.
            before = draft.followed_by(editing.before)
            self._state.editing[key] = replace(editing, before=before)
            if self._desk is not None:
                self._desk.save_draft(key, before)
        elif key == self._state.shown:
            self.prompt.give_back(draft)
            # At once: it is nowhere else now.
            self.keep_draft()
        elif self._desk is not None:
            below = self._state.drafts.get(key, Draft())
            self._desk.save_draft(key, draft.followed_by(below))
