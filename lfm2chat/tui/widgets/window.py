"""A window of mounted messages, which moves with the reader.

Some screens of messages are mounted around what is in view; above and below stands a gap as high
as the others are expected to be, so that the scroll bar says where one is in the whole. What is in
view stays where it is, whatever changes above it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Self

from textual.containers import VerticalScroll
from textual.geometry import Region, Size
from textual.layout import DockArrangeResult, Layout
from textual.layouts.stream import StreamLayout
from textual.scrollbar import ScrollBar
from textual.style import Style
from textual.widget import Widget

from lfm2chat.chat.turns import Message
from lfm2chat.tui.widgets.answer_view import AnswerView, view_of
from lfm2chat.tui.widgets.column import WIDEST
from lfm2chat.tui.widgets.gap import Gap, expected_rows
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.placed import PlacedOnce, index_few
from lfm2chat.tui.widgets.written import WrittenView

# Laying out one frame of a stream visits every mounted widget.
WINDOW = 16
# Messages mounted in one step: a key that comes meanwhile waits for its end.
STEP = 1
# The window is cut back to WINDOW when it has grown beyond this.
LARGEST_WINDOW = 24
# Screens of messages that are mounted beyond what is in view, and those beyond which none are.
AHEAD, BEYOND = 1, 2


class MessageWindow(PlacedOnce, VerticalScroll):
    """The messages of one branch, oldest first, of which some are mounted."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._messages: list[Message] = []
        # How many rows each is expected to take, or took when it was mounted.
        self._heights: list[int] = []
        # The messages that are mounted, from the first to before the last.
        self._first = self._last = 0
        self._earlier, self._later = Gap(id="earlier"), Gap(id="later")
        self._following = True
        # Held by whoever mounts or removes messages.
        self._moving = asyncio.Lock()
        self._looking = False
        # Where the children were when they were last laid out, and which one is to be at the top.
        self._placed: dict[Widget, Region] = {}
        self._aim: Widget | None = None
        # What it looked like, below its messages, when it was last painted whole.
        self._painted: Style | None = None

    @property
    def shown(self) -> list[MessageView]:
        """The mounted messages that are in the window, oldest first."""
        return [view for view in self._views() if view.display]

    async def bring(self, index: int) -> MessageView | None:
        """The view of message ``index`` of the branch. Where it was not mounted it is mounted at
        the top of the view, and the end is not followed. None where there is no such message.
        """
        async with self._moving:
            # What is being mounted or removed now is there, or gone, before one looks for it.
            mounted = self._first <= index < self._last
        if not 0 <= index < len(self._messages):
            return None
        if not mounted:
            self._set_following(False)
            await self._go_to(index)
        return self._view_at(index)

    def _set_following(self, following: bool) -> None:
        """Hold on to the end from now on, or no longer."""
        self._following = following

    def _views(self) -> list[MessageView]:
        return [view for view in self.children if isinstance(view, MessageView)]

    def _waiting(self) -> list[WrittenView]:
        return [
            view for view in self._views() if isinstance(view, WrittenView) and view.message is None
        ]

    def _view_at(self, index: int) -> MessageView | None:
        """The view of message ``index`` of the branch, None where it is not in the window."""
        if not 0 <= index < len(self._messages):
            return None
        wanted = self._messages[index].id
        for view in reversed(self.shown):
            if view.message is not None and view.message.id == wanted:
                return view
        return None

    def _new_view(self, message: Message) -> MessageView:
        view = view_of(message)
        if isinstance(view, AnswerView):
            view.answer.hold(not self._following)
        return view

    def _new_heights(self, messages: Sequence[Message]) -> list[int]:
        width = min(WIDEST, self.size.width or WIDEST) - 4
        return [expected_rows(message, width) for message in messages]

    # --- moving it ----------------------------------------------------------------------------

    def _look_later(self) -> None:
        """After the next frame see whether messages have to be mounted or removed."""
        if not self._looking:
            self._looking = True
            self.call_after_refresh(self._look)

    async def _look(self) -> None:
        self._looking = False
        height = self.container_size.height
        # Nothing is mounted where nothing is seen.
        if self._moving.locked() or not self._placed or not height or not self._lives:
            return
        top, bottom = self._mounted_rows()
        above, below = self.scroll_y - top, bottom - self.scroll_y - height
        if (above < -height and self._first) or (
            below < -height and self._last < len(self._messages)
        ):
            await self._go_to(self._index_at(self.scroll_y))
        elif above < AHEAD * height and self._first > 0:
            await self._step(earlier=True)
        elif below < AHEAD * height and self._last < len(self._messages):
            await self._step(earlier=False)
        else:
            await self._cut(BEYOND * height)
            return
        self._look_later()

    @property
    def _lives(self) -> bool:
        """Whether anything can be mounted: not before it is on the screen, nor while the app ends
        or the pane is closed.
        """
        return self.is_mounted and self.is_attached

    def _mounted_rows(self) -> tuple[int, int]:
        """Where the mounted messages begin and end, in rows of the whole."""
        top = self._earlier.rows
        placed = [self._placed[view].bottom for view in self.shown if view in self._placed]
        return top, max(placed, default=top)

    def _index_at(self, row: float) -> int:
        """The message that is expected at a row of the gap it is in."""
        if row < self._earlier.rows:
            ends = itertools.accumulate(self._heights)
            return next((at for at, end in enumerate(ends) if end > row), 0)
        ends = itertools.accumulate(self._heights[self._last :], initial=self._mounted_rows()[1])
        found = (at for at, end in enumerate(ends, self._last - 1) if end > row)
        return next(found, len(self._messages))

    def _start_of_window(self, end: int) -> int:
        """The first message of a window that ends before ``end``."""
        rows, wanted = 0, 2 * (self.container_size.height or self.app.size.height)
        start = end
        while start > 0 and end - start < WINDOW and (rows < wanted or end - start < 2):
            start -= 1
            rows += self._heights[start]
        return start

    def _end_of_window(self, start: int) -> int:
        rows, wanted = 0, 2 * self.container_size.height
        end = start
        while end < len(self._messages) and end - start < WINDOW and rows < wanted:
            rows += self._heights[end]
            end += 1
        return end

    async def _step(self, *, earlier: bool) -> None:
        """Mount a few more messages at one side; what is in view stays where it is."""
        async with self._moving:
            if not self._lives:
                return
            with self.app.batch_update():
                if earlier:
                    start = max(0, self._first - STEP)
                    views = [*map(self._new_view, self._messages[start : self._first])]
                    self._first = start
                    self._describe_gaps()
                    await self.mount(*views, after=self._earlier)
                else:
                    await self._mount_later(min(len(self._messages), self._last + STEP))

    async def _mount_later(self, end: int) -> None:
        """Mount, or show again, what is below the window to before ``end``. It is the caller who
        holds the lock.
        """
        hidden = {
            view.message.id: view
            for view in self._views()
            if not view.display and view.message is not None
        }
        place: Widget = next((view for view in self._views() if not view.display), self._later)
        wanted = self._messages[self._last : end]
        new = [self._new_view(message) for message in wanted if message.id not in hidden]
        self._last = end
        self._describe_gaps()
        if new and self._lives:
            # What is hidden is the end of the conversation: all others are above it.
            await self.mount(*new, before=place)
        for message in wanted:
            if message.id in hidden:
                hidden[message.id].display = True
        if end == len(self._messages):
            for waiting in self._waiting():
                waiting.display = True

    async def _cut(self, beyond: int) -> None:
        """Remove what is more than ``beyond`` rows out of view, where the window is too large."""
        shown = [view for view in self.shown if view in self._placed]
        extra = len(shown) - WINDOW
        if len(shown) <= LARGEST_WINDOW:
            return
        view_top, view_bottom = self.scroll_y, self.scroll_y + self.container_size.height
        rows = [self._placed[view] for view in shown]
        above = sum(region.bottom < view_top - beyond for region in rows)
        below = sum(region.y > view_bottom + beyond for region in rows)
        above = min(above, extra)
        below = min(below, extra - above)
        if above + below == 0:
            return
        async with self._moving:
            gone = []
            for at, view in enumerate(shown):
                if above <= at < len(shown) - below:
                    continue
                if self._first + at < len(self._heights):
                    self._heights[self._first + at] = rows[at].height
                if self._stays(view):
                    view.display = False
                else:
                    gone.append(view)
            self._first += above
            self._last -= sum(view.message is not None for view in shown[len(shown) - below :])
            with self.app.batch_update():
                self._describe_gaps()
                await self.remove_children(gone)

    async def _go_to(self, index: int) -> None:
        """Mount the window around message ``index`` and bring it to the top of the view; the end
        of the conversation for an index beyond the last.
        """
        async with self._moving:
            count = len(self._messages)
            end = count if index >= count else max(index + 1, self._end_of_window(index))
            start = min(self._start_of_window(end), index)
            hidden = [view for view in self._views() if self._stays(view)]
            gone = [view for view in self._views() if view not in hidden]
            if not self._lives:
                return
            with self.app.batch_update():
                for view in hidden:
                    view.display = False
                await self.remove_children(gone)
                self._first = self._last = start
                await self._mount_later(end)
                self._placed = {}
                if index < count:
                    self._aim = self._view_at(index)
                elif self._following and self._lives:
                    self.anchor()
        self._look_later()

    def _stays(self, view: MessageView) -> bool:
        """Whether ``view`` is kept while it is not shown: what it says stands nowhere else."""
        return view.message is None or view.has_class("-writing")

    def _describe_gaps(self) -> None:
        first, later = self._first, len(self._messages) - self._last
        rows = sum(self._heights[:first])
        self._earlier.show(first, rows, f"↑ {first} earlier messages: scroll up")
        rows = sum(self._heights[self._last :])
        self._later.show(later, rows, f"↓ {later} later messages: scroll down")

    # --- the place on the screen --------------------------------------------------------------

    def pre_layout(self, layout: Layout) -> None:
        """Before the children are laid out: none stays where it was without being asked.

        Textual keeps the places of those above the first child that said that it changed. A gap
        that changed with what is mounted below it says so in a later message, and until then what
        is in view would stand elsewhere.
        """
        if isinstance(layout, StreamLayout):
            layout._cached_placements = None  # noqa: SLF001 - there is no other way to it

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """As every widget's, but laying the messages out paints none of them that stays where it
        was. Textual asks for both twice with each message that is mounted.
        """
        if layout and repaint and not regions and self.is_mounted:
            look = self.visual_style
            before, self._painted = self._painted, look
            repaint = before != look
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Lay the children out; what is in view keeps its place."""
        result = super().arrange(size, optimal)
        index_few(result)
        placed = {placement.widget: placement.region for placement in result.placements}
        if not optimal and placed != self._placed:
            before, self._placed = self._placed, placed
            if not self._following:
                self._keep_place(before, placed)
            self._look_later()
        return result

    def _keep_place(self, before: dict[Widget, Region], after: dict[Widget, Region]) -> None:
        """Scroll by as much as the topmost message in view moved, within the same frame."""
        aim, self._aim = self._aim, None
        if aim is not None and aim in after:
            row = float(after[aim].y)
        else:
            seen = [
                view
                for view, region in before.items()
                if region.bottom > self.scroll_y and view in after and not isinstance(view, Gap)
            ]
            if not seen:
                return
            old, new = before[seen[0]], after[seen[0]]
            within = self.scroll_y - old.y
            if within > 0 and old.width != new.width and old.height:
                within = within * new.height // old.height
            row = new.y + within
        row = max(0.0, row)
        if row != self.scroll_y:
            self.set_reactive(Widget.scroll_y, row)
            self.set_reactive(Widget.scroll_target_y, row)
            self.vertical_scrollbar.set_reactive(ScrollBar.position, row)
