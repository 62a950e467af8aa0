"""A transcript that is read with the keyboard: a cursor on a message, or on one of its blocks.

It stands there while the transcript has the focus. It walks over all messages of the branch: those
that are not mounted are mounted when it comes to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import AwaitMount, Widget

from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.keymap import no_key
from lfm2chat.tui.keys import COMMANDS
from lfm2chat.tui.widgets.answer_view import AnswerView
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cursor is: a message, by its place in the branch, and a block; None for all."""

    message: int
    block: int | None = None


def reading_bindings() -> list[BindingType]:
    """The bindings of the commands that work while reading, from the one registry."""
    return [
        Binding(
            ",".join(entry.keys) or no_key(entry.id),
            f"screen.{entry.does or entry.id}",
            entry.label,
            show=False,
            tooltip=entry.help,
            id=entry.id,
        )
        for entry in COMMANDS
        if entry.scope == "read"
    ]


class ReadingTranscript(Transcript):
    """The messages of one conversation, with the reader's cursor and what was looked for."""

    BINDINGS = reading_bindings()
    SCOPE = "read"
    """Of the commands whose keys work here."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.can_focus = True
        self._place: Place | None = None
        self._pattern: re.Pattern[str] | None = None
        # The hit that the reader is at: the id of its message, and which one in it.
        self._hit: tuple[int, int] | None = None

    # --- the focus ----------------------------------------------------------------------------

    def allow_focus(self) -> bool:
        """Only where there is something to read."""
        return bool(self._messages)

    def focus_on_click(self) -> bool:
        """A click on a message takes the focus, one beside it leaves it where it is."""
        return False

    def on_focus(self) -> None:
        if self._place is None or not self._in_view(self._place):
            self._place = self._first_place()
        self._show_cursor()

    def on_blur(self) -> None:
        for view in self.shown:
            view.drop_cursor()

    @on(MessageView.Pointed)
    def _point(self, event: MessageView.Pointed) -> None:
        """The mouse puts the cursor somewhere; a selection that just ended is no click."""
        event.stop()
        index = self._index_of(event.view)
        if index is None or self.screen.get_selected_text():
            return
        block = event.view.block_at(event.row)
        self._place = Place(index, block if event.view.blocks > 1 else None)
        self._show_cursor()
        self.focus(scroll_visible=False)

    # --- where it is --------------------------------------------------------------------------

    @property
    def reading(self) -> MessageView | None:
        """The view that the cursor is on, while there is a cursor."""
        if self._place is None or not self.has_focus:
            return None
        return self._view_at(self._place.message)

    @property
    def block(self) -> int | None:
        """The block that the cursor is on, None where it is on the whole message."""
        return None if self._place is None else self._place.block

    def message_of(self, view: MessageView) -> Message | None:
        """The stored message of a view; of one that is being written, with what there is of it."""
        message = view.message
        if message is not None and message.status is MessageStatus.WRITING:
            return replace(message, text=view.source)
        return message

    def first_in_view(self) -> int:
        """The first message that is in view, by its place in the branch."""
        for view in self.shown:
            if view.virtual_region.bottom > self.scroll_y:
                index = self._index_of(view)
                if index is not None:
                    return index
        return 0

    @property
    def text_width(self) -> int:
        """What the text of a message is laid out for, in cells; 80 while nothing is."""
        return next((view.text_width for view in self.shown if view.size), 80)

    # --- walking ------------------------------------------------------------------------------

    async def step(self, by: int) -> None:
        """One block up (-1) or down (1), on to the next message."""
        place = self._place
        if place is None or self._scroll_within(place, by):
            return
        blocks = self._blocks_at(place.message)
        # The places of a message, in their order: all of it, then its blocks.
        at = (-1 if place.block is None else place.block) + by
        if -1 <= at < blocks:
            self._move(Place(place.message, None if at < 0 else at))
            return
        following = place.message + by
        if not 0 <= following < len(self._messages):
            return
        view = await self.bring(following)
        blocks = self._blocks_at(following)
        last = blocks - 1 if by < 0 and blocks and view is not None else None
        self._move(Place(following, last))

    def into(self, by: int) -> None:
        """Into the blocks of the message and on (1), or back and out of them (-1)."""
        if self._place is None:
            return
        blocks = self._view_blocks(self._place.message)
        at = (-1 if self._place.block is None else self._place.block) + by
        at = max(-1, min(at, blocks - 1))
        self._move(Place(self._place.message, None if at < 0 else at))

    async def go_to(self, index: int) -> None:
        """To message ``index`` of the branch; -1 is the last."""
        if self._messages:
            index %= len(self._messages)
            await self.bring(index)
            self._move(Place(index))

    # --- what was looked for ------------------------------------------------------------------

    def mark_hits(self, pattern: re.Pattern[str] | None) -> None:
        """Mark everything that ``pattern`` finds, in messages mounted later too."""
        self._pattern, self._hit = pattern, None
        self._mark(self.shown)

    async def show_hit(self, index: int, number: int) -> None:
        """Scroll to hit ``number`` in message ``index``."""
        view = await self.bring(index)
        if view is None or view.message is None or self._pattern is None:
            return
        self._hit = (view.message.id, number)
        self._mark(self.shown)

        def scroll() -> None:
            # Once more: what was mounted for it has no size before it is laid out.
            row = view.find(self._pattern, number)
            if row is not None:
                # A thought that was unfolded for it is laid out first.
                self.call_after_refresh(self._reveal, view, row, row + 1, middle=True)

        self.call_after_refresh(scroll)

    async def show(self, messages: Sequence[Message], *, waiting: Sequence[Draft] = ()) -> None:
        """Show a whole conversation at its end; the cursor begins anew there."""
        self._place = self._pattern = self._hit = None
        await super().show(messages, waiting=waiting)
        if self.has_focus:
            if self._messages:
                self._place = self._first_place()
                self._show_cursor()
            else:
                self.screen.focus_previous()

    async def change(self, messages: Sequence[Message]) -> None:
        """Show another branch; the cursor stays as far down in it, on the whole message."""
        await super().change(messages)
        if self._place is not None:
            last = len(self._messages) - 1
            self._place = Place(min(self._place.message, last)) if last >= 0 else None
        if self.has_focus:
            self._show_cursor()

    def mount(
        self,
        *widgets: Widget,
        before: int | str | Widget | None = None,
        after: int | str | Widget | None = None,
    ) -> AwaitMount:
        """As every widget does; what was looked for is marked in messages that come in."""
        if self._pattern is not None:
            self._mark(view for view in widgets if isinstance(view, MessageView))
        return super().mount(*widgets, before=before, after=after)

    # --- inside -------------------------------------------------------------------------------

    def _index_of(self, view: MessageView) -> int | None:
        if view.message is None:
            return None
        ids = [message.id for message in self._messages]
        return ids.index(view.message.id) if view.message.id in ids else None

    def _view_blocks(self, index: int) -> int:
        view = self._view_at(index)
        return 0 if view is None else view.blocks

    def _blocks_at(self, index: int) -> int:
        """The blocks that the cursor stops at on its way: a single one is all of the message."""
        blocks = self._view_blocks(index)
        return blocks if blocks > 1 else 0

    def _first_place(self) -> Place | None:
        """The last message that is in view."""
        top, bottom = self.scroll_y, self.scroll_y + self.size.height
        for view in reversed(self.shown):
            if view.virtual_region.y < bottom and view.virtual_region.bottom > top:
                index = self._index_of(view)
                if index is not None:
                    return Place(index)
        return Place(len(self._messages) - 1) if self._messages else None

    def _in_view(self, place: Place) -> bool:
        view = self._view_at(place.message)
        return view is not None and view.region.overlaps(self.region)

    def _move(self, place: Place) -> None:
        self._place = place
        self._show_cursor()
        view = self._view_at(place.message)
        if view is not None:
            # What was mounted for it has no size before it is laid out.
            self.call_after_refresh(self._reveal_place, view, place)

    def _show_cursor(self) -> None:
        here = None if self._place is None else self._view_at(self._place.message)
        for view in self.shown:
            if view is not here:
                view.drop_cursor()
        if here is not None and self._place is not None:
            here.put_cursor(self._place.block)

    def _reveal_place(self, view: MessageView, place: Place) -> None:
        if view.is_attached:
            view.put_cursor(place.block)
            self._reveal(view, *view.rows(place.block))

    def _rows_of(self, view: MessageView, first: int, end: int) -> tuple[int, int]:
        # A line may stand above the column: what the model does not see any more.
        top = view.virtual_region.y + view.gutter.top
        return top + first, top + end

    def _reveal(self, view: MessageView, first: int, end: int, *, middle: bool = False) -> None:
        """Scroll until rows ``first`` to ``end`` of a view are seen, the first of them at least."""
        top, bottom = self._rows_of(view, first, end)
        height = self.size.height
        above, below = self.scroll_y, self.scroll_y + height
        if above <= top and bottom <= below:
            return
        if middle:
            target = top - height // 2
        elif top < above or bottom - top > height:
            target = top - 1
        else:
            target = bottom - height + 1
        self._scroll_by_hand(target)

    def _scroll_within(self, place: Place, by: int) -> bool:
        """Scroll on in a block that is higher than the screen, before the cursor leaves it."""
        view = self._view_at(place.message)
        if view is None or (place.block is None and self._blocks_at(place.message)):
            return False
        top, bottom = self._rows_of(view, *view.rows(place.block))
        height = self.size.height
        if bottom - top <= height:
            return False
        if by > 0 and bottom > self.scroll_y + height:
            self._scroll_by_hand(min(self.scroll_y + height - 2, bottom - height + 1))
            return True
        if by < 0 and top < self.scroll_y:
            self._scroll_by_hand(max(self.scroll_y - height + 2, top - 1))
            return True
        return False

    def _scroll_by_hand(self, y: float) -> None:
        if y < self.scroll_y:
            self.let_go()
        self.scroll_to(y=max(0, y), animate=False, immediate=True)

    def _mark(self, views: Iterable[MessageView]) -> None:
        """Mark what was looked for in ``views``."""
        for view in views:
            message, number = (None, None) if self._hit is None else self._hit
            here = view.message is not None and view.message.id == message
            view.find(self._pattern, number if here else None)

    def is_thought(self) -> AnswerView | None:
        """The answer whose thought the cursor is on."""
        view = self.reading
        if isinstance(view, AnswerView) and view.is_thought(self.block):
            return view
        return None
