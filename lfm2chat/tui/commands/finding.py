"""Finding conversations, and keeping them in order: the list, the search, trash and archive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual import on, work
from textual.timer import Timer
from textual.widgets import Input

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.errors import ConversationNotFoundError, Lfm2ChatError
from lfm2chat.tui import listing
from lfm2chat.tui.commands.conversations import ConversationCommands
from lfm2chat.tui.commands.panes import PaneCommands
from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.screens.menu import MenuScreen
from lfm2chat.tui.screens.put_away import PutAwayScreen
from lfm2chat.tui.screens.search import SearchScreen
from lfm2chat.tui.screens.tags import TagsScreen
from lfm2chat.tui.widgets.conversations import MENU, ConversationList
from lfm2chat.tui.widgets.filter import ListFilter

# A pause in the typing of this length is when the store is asked.
DEBOUNCE_S = 0.15
MOST_HITS_BELOW = 50
TITLE_LENGTH = 40
# Titles answer to one letter; in messages one letter is everywhere.
SHORTEST_SEARCH = 2


class FindingCommands(ConversationCommands, PaneCommands):
    """What finds conversations and puts them away."""

    _filter_timer: Timer | None = None
    # What was searched for last, to begin with the next time.
    _searched = ""

    # --- the list -----------------------------------------------------------------------------

    @on(ConversationList.Opened)
    def _open_listed(self, event: ConversationList.Opened) -> None:
        event.stop()
        self.prompt.area.focus()
        if event.message_id is not None:
            self._open_at_later(event.conversation_id, event.message_id)
        elif event.conversation_id != self._state.shown:
            self._open_later(event.conversation_id)

    @on(ConversationList.Typed)
    def _type_into_filter(self, event: ConversationList.Typed) -> None:
        event.stop()
        if event.text:
            self.filter.begin(event.text)
        else:
            self.filter.value = ""

    @on(ListFilter.Left)
    def _go_on_in_list(self, event: ListFilter.Left) -> None:
        event.stop()
        self.list.focus()

    @on(Input.Submitted, "#filter")
    def _open_first(self, event: Input.Submitted) -> None:
        event.stop()
        self.list.action_select()

    @on(Input.Changed, "#filter")
    def _filter_list(self, event: Input.Changed) -> None:
        event.stop()
        self.list.filter(event.value)
        if self._filter_timer is not None:
            self._filter_timer.stop()
        self._filter_timer = self.set_timer(DEBOUNCE_S, lambda: self._look_below(event.value))

    @work(exclusive=True, group="filter", exit_on_error=False)
    async def _look_below(self, typed: str) -> None:
        """Show the messages that hold what stands in the filter, below the titles."""
        if self._desk is None or len(typed.strip()) < SHORTEST_SEARCH:
            return
        try:
            hits = await asyncio.to_thread(
                self._desk.cabinet.search, typed, typing=True, limit=MOST_HITS_BELOW
            )
        except Lfm2ChatError:
            return  # a filter that is not whole yet; the titles stand there
        self.list.show_hits(typed, hits)

    @on(ConversationList.Asked)
    def _do_asked(self, event: ConversationList.Asked) -> None:
        event.stop()
        if event.command == "list_filter":
            self.filter.begin("")
        elif event.conversation_id is not None:
            self._do_to(event.command, event.conversation_id)

    @work(exit_on_error=False, group="list")
    async def _do_to(self, command: str, key: int) -> None:
        """Carry a command of the list out on the conversation ``key``."""
        orders: dict[str, Callable[[int], Awaitable[None]]] = {
            "list_open": self._open,
            "list_pin": self._pin,
            "list_archive": self._archive,
            "list_tags": self._tag,
            "list_rename": self._rename,
            "list_delete": self._delete_listed,
            "list_pane": self._open_beside,
            MENU: self._choose_order,
        }
        await orders[command](key)

    async def _delete_listed(self, key: int) -> None:
        if key in self._state.panes:
            self._choose_pane(self._state.panes.index(key))
        await self._delete(key)
        self.list.focus()

    async def _open_beside(self, key: int) -> None:
        """In a pane of its own; where it has one already, that one is chosen."""
        if key in self._state.panes or await self._split():
            await self._open(key)
            self.prompt.area.focus()

    async def _choose_order(self, key: int) -> None:
        commands = [one for one in COMMANDS if one.scope == "list" and one.id != "list_filter"]
        chosen = await self.app.push_screen_wait(MenuScreen(self._title_of(key), commands))
        if chosen is not None:
            self._do_to(chosen, key)

    # --- the open conversation ----------------------------------------------------------------

    def action_pin(self) -> None:
        """Keep the open conversation on top of the list, or no longer."""
        if self._is_there():
            self._do_to("list_pin", self._state.shown)

    def action_archive(self) -> None:
        """Take the open conversation out of the list, or bring it back."""
        if self._is_there():
            self._do_to("list_archive", self._state.shown)

    def action_tags(self) -> None:
        """Give the open conversation tags."""
        if self._is_there():
            self._do_to("list_tags", self._state.shown)

    def _is_there(self) -> bool:
        if self._state.shown > 0:
            return True
        self._say("Send a message first: then there is a conversation.")
        return False

    async def _pin(self, key: int) -> None:
        entry = await self._stored(key)
        if entry is None or self._desk is None:
            return
        pinned = entry.pinned_at is None
        self._desk.watch(self._desk.cabinet.pin(key, pinned))
        title = one_line(entry.title, TITLE_LENGTH)
        self._say(f"Pinned: {title}" if pinned else f"No longer pinned: {title}")

    async def _archive(self, key: int) -> None:
        entry = await self._stored(key)
        if entry is None or self._desk is None:
            return
        archived = entry.archived_at is None
        self._desk.watch(self._desk.cabinet.archive(key, archived))
        title = one_line(entry.title, TITLE_LENGTH)
        self._say(
            f"Archived: {title}. {self._state.keymap.shown('put_away')} brings it back."
            if archived
            else f"Back in the list: {title}"
        )

    async def _tag(self, key: int) -> None:
        entry = await self._stored(key)
        if entry is None or self._desk is None:
            return
        known = listing.known_tags(self._conversations)
        tags = await self.app.push_screen_wait(TagsScreen(entry.title, entry.tags, known=known))
        if tags is not None:
            self._desk.watch(self._desk.cabinet.set_tags(key, tags))

    async def _stored(self, key: int) -> Conversation | None:
        """A conversation, which need not be in the list; None, and said why, if it is gone."""
        if self._desk is None:
            return None
        try:
            return await self._desk.conversation(key)
        except Lfm2ChatError as error:
            self._tell(str(error), error.hint)
            return None

    # --- search, trash and archive ------------------------------------------------------------

    @work(exit_on_error=False, exclusive=True, group="search")
    async def action_search(self) -> None:
        """Search every conversation."""
        if self._desk is None:
            return
        screen = SearchScreen(self._desk.cabinet, query=self._searched)
        found = await self.app.push_screen_wait(screen)
        if found is not None:
            self._searched = found.query
            self.prompt.area.focus()
            await self._open_at(found.conversation_id, found.message_id)

    @work(exit_on_error=False, exclusive=True, group="put_away")
    async def action_put_away(self) -> None:
        """Show what is in the trash and in the archive."""
        if self._desk is None:
            return
        key = await self.app.push_screen_wait(PutAwayScreen(self._desk))
        if key is not None:
            self.prompt.area.focus()
            await self._open(key)
        await self._leave_deleted()

    async def _leave_deleted(self) -> None:
        """In panes whose conversation was deleted for ever, begin a new one."""
        active = self._state.active
        for index, key in enumerate(self._state.panes):
            if key > 0 and not await self._is_stored(key):
                self._choose(index)
                await self._open(self._state.new_key())
        if self._state.active != active:
            self._choose_pane(active)

    async def _is_stored(self, key: int) -> bool:
        assert self._desk is not None
        try:
            await self._desk.conversation(key)
        except ConversationNotFoundError:
            return False
        return True

    @work(exclusive=True, group="open", exit_on_error=False)
    async def _open_at_later(self, key: int, message_id: int) -> None:
        await self._open_at(key, message_id)

    async def _open_at(self, key: int, message_id: int | None) -> None:
        """Open a conversation at a message, in the branch that it is in."""
        if self._desk is None:
            return
        if message_id is not None:
            try:
                await self._desk.select(key, message_id)
            except Lfm2ChatError as error:
                self._tell(str(error), error.hint)
        await self._open(key)
        async with self._changing:
            if message_id is not None and self._state.shown == key:
                await self.transcript.reveal(message_id)
                self._show_versions(key)
