"""While a message is typed: what it takes is counted, and the model reads it ahead."""

from __future__ import annotations

from dataclasses import replace

from textual import on, work
from textual.timer import Timer

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.events import ModelLoaded, TurnFinished
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.messages import ServiceEvent
from lfm2chat.tui.screens.base import ChatBase
from lfm2chat.tui.slash import message_of
from lfm2chat.tui.widgets.prompt import Prompt

# After the last key: often enough to be followed with the eye, and seldom enough to cost nothing.
COUNT_DELAY_S = 0.1
PRIME_DELAY_S = 0.3


class CountCommands(ChatBase):
    """Never more than one count is asked for at a time; one of an older text is not shown."""

    _count_timer: Timer | None = None
    _prime_timer: Timer | None = None
    _counting = False

    @on(Prompt.Changed)
    def _count_what_is_typed(self) -> None:
        self._count_later()
        if self._prime_timer is not None:
            self._prime_timer.stop()
        self._prime_timer = self.set_timer(PRIME_DELAY_S, self._prime)

    @on(ServiceEvent)
    def _count_anew(self, message: ServiceEvent) -> None:
        if isinstance(message.event, ModelLoaded | TurnFinished):
            self._count_later()

    def _put_draft(self) -> None:
        super()._put_draft()
        self.prompt.note("")
        self._count_later()

    def _count_later(self) -> None:
        if self._count_timer is not None:
            self._count_timer.stop()
        self._count_timer = self.set_timer(COUNT_DELAY_S, self._count_now)

    def _typed_message(self) -> Draft | None:
        """What would be sent now; None where that is nothing, or a command."""
        draft = self.prompt.draft
        text = message_of(draft.text)
        return None if draft.empty or text is None else replace(draft, text=text)

    def _count_now(self) -> None:
        self._count_timer = None
        if self._typed_message() is None:
            self.prompt.note("")
        elif not self._counting:
            self._counting = True
            self._count()

    @work(exit_on_error=False, group="count")
    async def _count(self) -> None:
        key, draft = self._state.shown, self._typed_message()
        try:
            if self._desk is None or draft is None:
                return
            known = self.prompt.chips.all_counted
            count = await self._desk.count(key, draft, with_files=not known)
        except Lfm2ChatError:
            # The turn will say it, or the model that is not there has.
            count = None
        finally:
            self._counting = False
        if draft is None or (key, draft) != (self._state.shown, self._typed_message()):
            self._count_later()
        elif count is not None:
            self.prompt.note(count.said())
            for file, tokens in zip(draft.files, count.file_tokens, strict=False):
                self.prompt.chips.cost(file, tokens)

    def _prime(self) -> None:
        self._prime_timer = None
        draft = self._typed_message()
        if self._desk is not None and draft is not None:
            self._desk.prime(self._state.shown, draft)
