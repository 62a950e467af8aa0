"""Sending, stopping, and what stands in the prompt."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from textual import on

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.keys import command
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.screens.link import LinkScreen
from lfm2chat.tui.screens.regions import action_of
from lfm2chat.tui.slash import Call, parse
from lfm2chat.tui.state import Editing
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.prompt import Prompt

DRAFT_DELAY_S = 0.3


class PromptCommands(ChatBase):
    """What the prompt asks for."""

    @on(Prompt.Submitted)
    async def _submitted(self, event: Prompt.Submitted) -> None:
        event.stop()
        if self._desk is None:
            return
        try:
            asked = parse(event.draft.text)
        except UsageError as error:
            self._tell(str(error), error.hint)
            return
        if isinstance(asked, Call):
            await self._call(asked, event.draft)
        elif self._reading:
            # Without it the message would mean something else.
            self._say(f"Still reading {one_line(self._reading[0], 60)}: send again in a moment.")
        else:
            draft = replace(event.draft, text=asked)
            editing = self._state.editing.get(self._state.shown)
            if editing is not None:
                self._send_version(editing, draft)
            else:
                await self._send(self._desk, draft)

    async def _send(self, desk: Desk, draft: Draft) -> None:
        async with self._changing:
            # The active conversation comes first: once it has the text, the prompt is free.
            for key in self._state.addressed():
                if not await self._send_to(desk, key, draft):
                    break
                self._cancel_draft()
                if key == self._state.shown:
                    self.prompt.clear()
            self._describe()

    def _send_version(self, editing: Editing, draft: Draft) -> None:
        """Say a message in another way; what stood in the prompt before comes back."""
        key = self._state.shown
        if self._try(lambda desk: desk.tree.edit(key, editing.message, draft)):
            del self._state.editing[key]
            self.prompt.put(editing.before)
            self._describe()

    async def _send_to(self, desk: Desk, key: int, draft: Draft) -> bool:
        """Send ``draft`` in one conversation; whether it was taken."""
        try:
            sent = desk.send(key, draft)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return False
        if sent:
            for pane in self._panes_of(key):
                await pane.transcript.add_waiting(draft)
        return True

    async def _call(self, call: Call, draft: Draft) -> None:
        """Carry a slash command out; the files in the prompt stay there."""
        self.prompt.history.remember(draft.text)
        self.prompt.put(replace(draft, text=""))
        self.keep_draft()
        destination, _, name = action_of(command(call.command)).rpartition(".")
        given = (call.argument,) if call.argument else ()
        await self.app.run_action((destination, name, given), self)

    @on(Prompt.Changed)
    def _draft_later(self, event: Prompt.Changed) -> None:
        event.stop()
        self._cancel_draft()
        self._draft_timer = self.set_timer(DRAFT_DELAY_S, self.keep_draft)

    async def keep_last_draft(self) -> None:
        """Save what stands in the prompt at the end of the app."""
        if self._desk is not None and self._starting:
            with contextlib.suppress(Lfm2ChatError):
                await self._desk.open(self._state.shown)
            if self._starting:
                self._add_typed(self._desk, self._state.shown)
        self.keep_draft()

    @on(Answer.LinkClicked)
    def _ask_about_link(self, event: Answer.LinkClicked) -> None:
        event.stop()
        self.app.push_screen(LinkScreen(event.href))

    def action_stop(self) -> None:
        """Stop the answer; with nothing to stop, back to the prompt and to the end."""
        if not self.stop_answer() and not self.leave_editing():
            self.prompt.area.focus()
            self.transcript.follow()

    def stop_answer(self) -> bool:
        """Stop what the prompt speaks to; whether there was an answer."""
        if self._desk is None:
            return False
        stopped = [key for key in self._state.addressed() if self._desk.stop(key)]
        if stopped:
            self._describe()
        return bool(stopped)
