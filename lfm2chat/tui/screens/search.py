"""Ctrl+S: words in every conversation, found while they are typed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.cabinet import MOST_FOUND, Cabinet
from lfm2chat.store.query import FILTERS
from lfm2chat.store.search import Hit, Piece
from lfm2chat.tui import wording
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.found import SPEAKERS, beginning, by_conversation, preview, snippet

# A pause in the typing of this length is when the store is asked.
DEBOUNCE_S = 0.15
LONGEST_QUERY = 400
TITLE_LENGTH = 80
# From this width on the message stands beside the list.
PREVIEW_WIDTH = 120
# So many messages of a conversation stand beside its title.
FIRST_MESSAGES = 6
HELP = f'All words; "in quotes" a phrase; begin*. Filters: {" ".join(FILTERS)}'


@dataclass(frozen=True, slots=True)
class Found:
    """A place to open: the conversation, at ``message_id`` where that is not None. ``query`` is
    what was typed, to begin with the next time.
    """

    conversation_id: int
    message_id: int | None
    query: str


class SearchScreen(ModalScreen[Found | None]):
    """Gives the place to open, or None when it was left."""

    CSS_PATH = "search.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+s", "leave", "Close", show=False),
        Binding("down", "move('cursor_down')", "Down", show=False, priority=True),
        Binding("up", "move('cursor_up')", "Up", show=False, priority=True),
        Binding("pagedown", "move('page_down')", "Page down", show=False, priority=True),
        Binding("pageup", "move('page_up')", "Page up", show=False, priority=True),
    ]

    def __init__(self, cabinet: Cabinet, *, query: str = "") -> None:
        super().__init__()
        self._cabinet = cabinet
        self._query = query
        self._asked = ""
        self._hits: dict[str, Hit] = {}
        self._timer: Timer | None = None
        self._note = ForeignText(HELP, id="search-note")

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="search"):
            yield Input(
                self._query, placeholder="Search every conversation", id="search-input",
                max_length=LONGEST_QUERY, compact=True,
            )  # fmt: skip
            yield self._note
            with Horizontal():
                yield OptionList(id="search-list", markup=False, compact=True)
                with VerticalScroll(id="search-preview", can_focus=False):
                    yield Static("", id="search-message", markup=False)
            yield Static(
                Content("↑ ↓ choose · Enter opens · Esc leaves"), classes="card-hint", markup=False
            )

    def on_mount(self) -> None:
        self.query_one("#search-list", OptionList).can_focus = False
        self.query_one(Input).focus()
        self._lay_out()
        if self._query:
            self._search(self._query)

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        self.query_one("#search-preview").display = self.app.size.width >= PREVIEW_WIDTH

    def action_leave(self) -> None:
        """Close; nothing is opened."""
        self.dismiss(None)

    def action_move(self, how: str) -> None:
        """Move the cursor of the list; the typing goes on in the line above."""
        options = self.query_one("#search-list", OptionList)
        getattr(options, f"action_{how}")()

    @on(Input.Changed)
    def _search_soon(self, event: Input.Changed) -> None:
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_S, lambda: self._search(event.value))

    @work(exclusive=True, group="search", exit_on_error=False)
    async def _search(self, query: str) -> None:
        if query == self._asked:
            return
        try:
            hits = await asyncio.to_thread(self._cabinet.search, query, typing=True)
        except Lfm2ChatError as error:
            self._note.show(f"{error}: {error.hint}" if error.hint else str(error))
            return
        self._asked = query
        self._show(hits)

    def _show(self, hits: Sequence[Hit]) -> None:
        groups = by_conversation(hits)
        self._hits = {}
        lines = [self._option(hit) for group in groups for hit in _with_title(group)]
        options = self.query_one("#search-list", OptionList)
        options.set_options(lines)
        # The first place; a title above it is there to be read.
        options.highlighted = 1 if len(lines) > 1 and groups[0][0].message_id else 0
        self._note.show(self._summary(len(hits), len(groups)))
        if not hits:
            self.query_one("#search-message", Static).update("")

    def _summary(self, places: int, conversations: int) -> str:
        if not self._asked.strip():
            return HELP
        if not places:
            return "Nothing has all of this."
        if places >= MOST_FOUND:
            return f"The best {places} places, in {conversations} conversations; add a word."
        return f"{places} places in {conversations} conversations"

    def _option(self, hit: Hit) -> Option:
        key = f"hit-{len(self._hits)}"
        self._hits[key] = hit
        when = wording.relative_time(hit.created_at, now=wording.clock_seconds())
        if hit.message_id is None:
            title = snippet(hit.snippet, "bold") if hit.snippet else foreign("untitled", "bold")
            return Option(Content.assemble(title), id=key)
        speaker = SPEAKERS.get(hit.role, "") if hit.role is not None else ""
        return Option(
            Content.assemble("  ", (f"{speaker} · {when}  ", "$muted"), snippet(hit.snippet)),
            id=key,
        )

    @on(OptionList.OptionHighlighted)
    def _preview_soon(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        hit = self._hits.get(event.option_id or "")
        if hit is not None and self.query_one("#search-preview").display:
            self._read(hit)

    @work(exclusive=True, group="preview", exit_on_error=False)
    async def _read(self, hit: Hit) -> None:
        """Show beside the list the message, or for a title how its conversation begins. What is
        gone by now is told.
        """
        try:
            content = await asyncio.to_thread(self._told_of, hit)
        except Lfm2ChatError as error:
            content = foreign(str(error), "$muted")
        self.query_one("#search-message", Static).update(content)
        self.query_one("#search-preview").scroll_home(animate=False)

    def _told_of(self, hit: Hit) -> Content:
        """What stands beside a place. Reads the disk."""
        if hit.message_id is not None:
            return preview(self._cabinet.message(hit.message_id).text, hit.snippet)
        return beginning(self._cabinet.beginning(hit.conversation_id, most=FIRST_MESSAGES))

    @on(Input.Submitted)
    def _open_highlighted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value != self._asked:
            # What stands in the list was found for other words.
            self._search(event.value)
            return
        option = self.query_one("#search-list", OptionList).highlighted_option
        if option is not None:
            self._give(option.id)

    @on(OptionList.OptionSelected)
    def _open_clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._give(event.option_id)

    def _give(self, key: str | None) -> None:
        hit = self._hits.get(key or "")
        if hit is not None:
            self.dismiss(Found(hit.conversation_id, hit.message_id, self._asked))


def _with_title(group: Sequence[Hit]) -> list[Hit]:
    """The hits of one conversation under its title, which may be a hit itself."""
    title = [hit for hit in group if hit.message_id is None][:1]
    if not title:
        first = group[0]
        words = one_line(first.title, TITLE_LENGTH)
        title = [Hit(first.conversation_id, words, None, None, first.created_at, _plain(words))]
    return [*title, *(hit for hit in group if hit.message_id is not None)]


def _plain(words: str) -> tuple[Piece, ...]:
    return (Piece(words, matched=False),) if words else ()
