"""What is in the trash and in the archive: back with it, or away for ever."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Tab, Tabs
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.tui import wording
from lfm2chat.tui.desk import Desk
from lfm2chat.tui.screens.confirm import DeleteForeverScreen, EmptyTrashScreen
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.phrases import Hint

TITLE_LENGTH = 80
TRASH, ARCHIVE = "trash", "archive"
HINTS = {
    TRASH: "Enter restores · x deletes for ever · e empties the trash · ← → archive · Esc leaves",
    ARCHIVE: "Enter opens · r brings back · x deletes for ever · ← → trash · Esc leaves",
}


class PutAwayScreen(ModalScreen[int | None]):
    """Gives the conversation to open, or None when it was left."""

    CSS_PATH = "put_away.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False),
        Binding("left,right,tab", "other", "Other", show=False, priority=True),
        Binding("r", "restore", "Restore", show=False),
        Binding("x,delete", "delete", "Delete for ever", show=False),
        Binding("e", "empty", "Empty the trash", show=False),
    ]

    def __init__(self, desk: Desk, *, first: str = TRASH) -> None:
        super().__init__()
        self._desk = desk
        self._first = first
        self._entries: dict[str, list[Conversation]] = {TRASH: [], ARCHIVE: []}
        self._note = ForeignText("looking …", id="away-note")
        self._hint = Hint()

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="away"):
            yield Tabs(
                Tab(Content("Trash"), id=TRASH), Tab(Content("Archive"), id=ARCHIVE),
                active=self._first, id="away-tabs",
            )  # fmt: skip
            yield OptionList(id="away-list", markup=False, compact=True)
            yield self._note
            yield self._hint

    async def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False
        self.query_one(OptionList).focus()
        await self._read()

    @property
    def place(self) -> str:
        """Which of the two is shown."""
        return self.query_one(Tabs).active or TRASH

    @property
    def entries(self) -> list[Conversation]:
        """What is listed, from the top."""
        return list(self._entries[self.place])

    async def _read(self) -> None:
        cabinet = self._desk.cabinet
        try:
            self._entries = {
                TRASH: await asyncio.to_thread(cabinet.trashed),
                ARCHIVE: await asyncio.to_thread(cabinet.archived),
            }
        except Lfm2ChatError as error:
            self._note.show(f"{error}\n{error.hint}")
            return
        self._show()

    @on(Tabs.TabActivated)
    def _show(self) -> None:
        for place, title in ((TRASH, "Trash"), (ARCHIVE, "Archive")):
            label = Content.assemble(title, (f" {len(self._entries[place])}", "$muted"))
            self.query_one(f"#{place}", Tab).label = label
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.set_options(Option(self._line(one), id=f"away-{one.id}") for one in self.entries)
        options.highlighted = min(at, len(self.entries) - 1) if self.entries else None
        empty = "The trash is empty." if self.place == TRASH else "Nothing is archived."
        self._note.show("" if self.entries else empty)
        self._note.display = not self.entries
        self._hint.say(HINTS[self.place])

    def _line(self, one: Conversation) -> Content:
        since = one.trashed_at if self.place == TRASH else one.archived_at
        when = wording.relative_time(since or one.updated_at, now=wording.clock_seconds())
        told = "deleted" if self.place == TRASH else "archived"
        tags = " ".join(f"#{one_line(tag, 40)}" for tag in one.tags)
        parts = (f"{told} {when}", wording.messages(one.message_count), one_line(one.model, 30))
        return Content.assemble(
            foreign(one_line(one.title, TITLE_LENGTH) or "untitled"),
            "\n",
            foreign(" · ".join(part for part in (*parts, tags) if part), "$muted"),
        )

    def _chosen(self) -> Conversation | None:
        at = self.query_one(OptionList).highlighted
        return self.entries[at] if at is not None and at < len(self.entries) else None

    # --- what the user does -------------------------------------------------------------------

    def action_leave(self) -> None:
        """Close; nothing is opened."""
        self.dismiss(None)

    def action_other(self) -> None:
        """Show the other one of the two."""
        self.query_one(Tabs).active = ARCHIVE if self.place == TRASH else TRASH

    @on(OptionList.OptionSelected)
    def _enter(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        chosen = self._chosen()
        if chosen is not None and self.place == ARCHIVE:
            self.dismiss(chosen.id)
        else:
            self.action_restore()

    @work(exit_on_error=False, group="away")
    async def action_restore(self) -> None:
        """Bring the conversation under the cursor back."""
        chosen = self._chosen()
        if chosen is None:
            return
        if self.place == TRASH:
            await self._after(self._desk.restore_one(chosen.id))
        else:
            await self._after(self._desk.cabinet.archive(chosen.id, False))

    @work(exit_on_error=False, group="away")
    async def action_delete(self) -> None:
        """Delete the conversation under the cursor for ever, after a yes."""
        chosen = self._chosen()
        if chosen is not None and await self.app.push_screen_wait(DeleteForeverScreen(chosen)):
            self._note.display = True
            self._note.show("deleting …")
            await self._after(self._desk.delete_forever(chosen.id))

    @work(exit_on_error=False, group="away")
    async def action_empty(self) -> None:
        """Delete all that is in the trash for ever, after a yes."""
        trash = list(self._entries[TRASH])
        if self.place != TRASH or not trash:
            return
        if await self.app.push_screen_wait(EmptyTrashScreen(trash)):
            self._note.display = True
            self._note.show("deleting …")
            await self._after(self._desk.empty_trash([one.id for one in trash]))

    async def _after(self, change: Future[Any]) -> None:
        """Wait for ``change``, say so if it failed, and list what is there now."""
        try:
            await asyncio.wrap_future(change)
        except Lfm2ChatError as error:
            self._desk.fail(str(error), error.hint)
        await self._read()
