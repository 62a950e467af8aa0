"""The conversation list: title, when it changed, which model; the open one is marked.

Below the titles that a filter leaves stand the messages that hold its words. Of a long list only
the beginning is made into lines; more are made as the cursor or the view comes near the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click, Key
from textual.message import Message as Notice
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation
from lfm2chat.store import is_temporary
from lfm2chat.store.search import Hit
from lfm2chat.tui import listing, wording
from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.widgets.foreign import foreign
from lfm2chat.tui.widgets.found import snippet_around

TITLE_LENGTH = 80
# Lines made at once; laying out 5,000 would be felt with each key.
PAGE = 80
# So near the last line more are made.
NEAR_END = 10
RIGHT_BUTTON = 3
# Cells of a line that hold none of a snippet: the padding, and the blank that a mark would have.
MARGIN = 3
MENU = "menu"


@dataclass(frozen=True, slots=True)
class _Line:
    """One line to be. ``face`` is all that is seen of it: equal faces look the same."""

    id: str
    face: tuple[object, ...]
    draw: Callable[[], Content]
    heading: bool = False


def _list_bindings() -> list[BindingType]:
    return [
        Binding(
            ",".join(entry.keys),
            "select" if entry.id == "list_open" else f"ask('{entry.id}')",
            entry.label,
            show=False,
            tooltip=entry.help,
            id=entry.id,
        )
        for entry in COMMANDS
        if entry.scope == "list"
    ]


class ConversationList(OptionList):
    """All conversations in neither trash nor archive, as :func:`lfm2chat.tui.listing.ordered`."""

    BINDINGS: ClassVar[list[BindingType]] = _list_bindings()

    class Opened(Notice):
        """The user wants to see a conversation, at ``message_id`` where that is not None."""

        def __init__(self, conversation_id: int, message_id: int | None = None) -> None:
            super().__init__()
            self.conversation_id = conversation_id
            self.message_id = message_id

    class Asked(Notice):
        """The user wants the command ``command`` of the list done to a conversation, None where
        the cursor is on none. :data:`MENU` asks for the choice of them.
        """

        def __init__(self, command: str, conversation_id: int | None) -> None:
            super().__init__()
            self.command = command
            self.conversation_id = conversation_id

    class Typed(Notice):
        """Letters without a meaning of their own: they go into the filter; empty clears it."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._conversations: list[Conversation] = []
        self._shown = 0
        self._writing: frozenset[int] = frozenset()
        self._filter = listing.TitleFilter()
        self._typed = ""
        self._hits: tuple[Hit, ...] = ()
        self._made = PAGE
        self._lines_shown: list[_Line] = []

    @property
    def conversations(self) -> list[Conversation]:
        """What is listed without a filter, in order."""
        return list(self._conversations)

    @property
    def filtered_by(self) -> str:
        """What the filter holds; empty for none."""
        return self._typed

    def show(
        self, conversations: Sequence[Conversation], *, shown: int, writing: frozenset[int]
    ) -> None:
        """List ``conversations``; ``shown`` is open, those in ``writing`` are being answered."""
        self._conversations = list(conversations)
        self._shown, self._writing = shown, writing
        self._draw()

    def filter(self, typed: str) -> None:
        """Leave those whose titles and tags hold every word; what was found in messages goes."""
        self._typed, self._hits, self._made = typed.strip(), (), PAGE
        self._draw(cursor="")

    def show_hits(self, typed: str, hits: Sequence[Hit]) -> None:
        """Show the messages that hold the words, if the filter is still ``typed``."""
        if typed.strip() == self._typed:
            self._hits = tuple(hit for hit in hits if hit.message_id is not None)
            self._draw()

    def title_of(self, key: int) -> str:
        """The title of a listed conversation, on one line; empty for a temporary one."""
        for entry in self._conversations:
            if entry.id == key and not is_temporary(key):
                return one_line(entry.title, TITLE_LENGTH)
        return ""

    def neighbour(self, key: int, step: int) -> int | None:
        """The conversation ``step`` rows below ``key`` (above for negative), or None.

        The first of all where ``key`` is not listed.
        """
        numbers = [entry.id for entry in self._conversations]
        if not numbers:
            return None
        if key not in numbers:
            return numbers[0]
        index = numbers.index(key) + step
        return numbers[index] if 0 <= index < len(numbers) else None

    @property
    def cursor(self) -> int | None:
        """The conversation under the cursor, or None."""
        option = self.highlighted_option
        return None if option is None else _target(option.id or "")[0]

    # --- lines --------------------------------------------------------------------------------

    def _draw(self, cursor: str | None = None) -> None:
        """Make the lines. ``cursor`` is the line that it stands on, empty for the first one."""
        if cursor is None:
            # Under the user's hands the cursor stays where it is; else it stands on the open one.
            option = self.highlighted_option if self.has_focus or self._typed else None
            cursor = str(self._shown) if option is None or option.id is None else option.id
        lines = list(islice(self._lines_to_be(), self._made))
        before = self._lines_shown
        kept = len(before)
        same = [line.id for line in lines[:kept]] == [line.id for line in before]
        if same and self.option_count == kept:
            for index, (old, new) in enumerate(zip(before, lines, strict=False)):
                if old.face != new.face:
                    self.replace_option_prompt_at_index(index, new.draw())
            self.add_options(_option(line) for line in lines[kept:])
        else:
            self.set_options(_option(line) for line in lines)
        self._lines_shown = lines
        self._put_cursor(cursor)

    def _put_cursor(self, cursor: str) -> None:
        """On that line; on the first one for an empty text, and where a filter took it away."""
        places = {line.id: at for at, line in enumerate(self._lines_shown) if not line.heading}
        first = next(iter(places.values()), None) if self._typed or not cursor else None
        self.highlighted = places.get(cursor, first)

    def _lines_to_be(self) -> Iterator[_Line]:
        if self._typed:
            yield from self._lines_of_filter()
            return
        groups = listing.grouped(self._conversations, now=wording.clock_seconds())
        for group in groups:
            if len(groups) > 1:
                yield _heading(group.title)
            for entry in group.entries:
                yield self._line(entry)

    def _lines_of_filter(self) -> Iterator[_Line]:
        found = self._filter.matching(self._conversations, self._typed)
        if not found:
            yield _heading("no title has this")
        for entry in found:
            yield self._line(entry)
        if self._hits:
            yield _heading("in messages:")
        for hit in self._hits:
            yield _hit_line(hit, self.scrollable_content_region.width - MARGIN)

    def _line(self, entry: Conversation) -> _Line:
        current, writing = entry.id == self._shown, entry.id in self._writing
        title = one_line(entry.title, TITLE_LENGTH) or "untitled"
        age = wording.relative_time(entry.updated_at, now=wording.clock_seconds())
        if is_temporary(entry.id):
            age = "temporary"
        if writing:
            age = "writing"
        tags = " ".join(f"#{one_line(tag, 40)}" for tag in entry.tags)
        details = " · ".join(part for part in (age, one_line(entry.model, 30), tags) if part)
        pinned = entry.pinned_at is not None

        def draw() -> Content:
            mark = ("▌", "$accent") if current else (" ", "")
            return Content.assemble(
                mark,
                ("◆ " if pinned else "", "$accent"),
                foreign(title, "bold" if current else ""),
                "\n",
                mark,
                foreign(details, "$accent" if writing else "$muted"),
            )

        return _Line(str(entry.id), (current, writing, pinned, title, details), draw)

    def on_resize(self) -> None:
        if self._hits:
            self._draw()

    # --- what the user does -------------------------------------------------------------------

    def action_ask(self, command: str) -> None:
        """Have a command of the list done to the conversation under the cursor."""
        self.post_message(self.Asked(command, self.cursor))

    def on_key(self, event: Key) -> None:
        if event.key == "escape" and self._typed:
            event.stop()
            event.prevent_default()
            self.post_message(self.Typed(""))
        elif (
            event.is_printable
            and event.character is not None
            and not event.character.isspace()
            and event.key not in self._bindings.key_to_bindings
        ):
            event.stop()
            event.prevent_default()
            self.post_message(self.Typed(event.character))

    async def _on_click(self, event: Click) -> None:
        index = event.style.meta.get("option")
        if event.button == RIGHT_BUTTON and isinstance(index, int):
            event.stop()
            event.prevent_default()
            self.highlighted = index
            self.action_ask(MENU)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value > old_value and self.max_scroll_y - new_value <= NEAR_END:
            self.call_after_refresh(self._make_more)

    @on(OptionList.OptionHighlighted)
    def _look_ahead(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_index >= self.option_count - NEAR_END:
            self._make_more()

    def _make_more(self) -> None:
        if self.option_count >= self._made:
            self._made += PAGE
            option = self.highlighted_option
            self._draw(cursor=None if option is None else option.id)

    @on(OptionList.OptionSelected)
    def _open(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        conversation, message = _target(event.option_id or "")
        if conversation is not None:
            self.post_message(self.Opened(conversation, message))


def _target(line_id: str) -> tuple[int | None, int | None]:
    """The conversation and the message that a line stands for."""
    parts = line_id.split(":")
    if not all(part.lstrip("-").isdigit() for part in parts):
        return None, None
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else None


def _option(line: _Line) -> Option:
    return Option(line.draw(), id=line.id, disabled=line.heading)


def _heading(title: str) -> _Line:
    return _Line(f"heading {title}", (), lambda: Content.styled(f" {title}", "$muted"), True)


def _hit_line(hit: Hit, width: int) -> _Line:
    """``width`` is what there is for the snippet, in cells."""
    title = one_line(hit.title, TITLE_LENGTH) or "untitled"

    def draw() -> Content:
        return Content.assemble(
            " ", foreign(title), "\n ", snippet_around(hit.snippet, width, "$muted")
        )

    return _Line(f"{hit.conversation_id}:{hit.message_id}", (title, hit.snippet, width), draw)
