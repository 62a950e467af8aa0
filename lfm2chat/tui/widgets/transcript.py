"""The conversation on the screen: a window of mounted messages that follows the end.

Only the last :data:`WINDOW` messages are mounted; scrolling to the top mounts more, and a window
that grew too long is cut at its top while the reader is at the end. It follows new text until
the first motion upwards, and again when the reader comes back near the end. A message that was
looked for may be far from the end: then the window is around it, and grows both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message as Notice
from textual.scrollbar import ScrollTo, ScrollUp
from textual.widget import Widget
from textual.widgets import Static

from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.widgets.message import AnswerView, MessageView, WrittenView, view_of
from lfm2chat.tui.widgets.placed import PlacedOnce
from lfm2chat.tui.widgets.welcome import Welcome

# Laying out one frame of a stream visits every mounted widget (some seven a message): forty
# messages doubled what a frame costs.
WINDOW = 24
PAGE = 16
# The window is cut back to WINDOW when it has grown beyond this, and only while following.
LARGEST_WINDOW = 48
# Rows from the end within which following starts again.
NEAR_END = 3


UNSEEN = "the model does not see above this"


class Transcript(PlacedOnce, VerticalScroll):
    """The messages of one conversation, oldest first."""

    BINDINGS: ClassVar[list[BindingType]] = []

    class FollowChanged(Notice):
        """The reader left the end, or came back to it."""

        def __init__(self, following: bool) -> None:
            super().__init__()
            self.following = following

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._messages: list[Message] = []
        self._first = 0
        # One past the last mounted message; less than all only around one that was looked for.
        self._last = 0
        self._following = True
        self._growing = False
        self._earlier = Static("", id="earlier", markup=False)

    # --- what is shown ------------------------------------------------------------------------

    async def show(self, messages: Sequence[Message], *, waiting: Sequence[Draft] = ()) -> None:
        """Show a whole conversation at its end; ``waiting`` is what is not yet committed."""
        self._messages = list(messages)
        self._first, self._last = max(0, len(self._messages) - WINDOW), len(self._messages)
        self._set_following(True)
        views: list[MessageView] = [view_of(message) for message in self._messages[self._first :]]
        views += [WrittenView(None, draft=draft, waiting=True) for draft in waiting]
        content: list[Widget] = [*views] if views else [Welcome()]
        with self.app.batch_update():
            await self.remove_children()
            self._earlier = Static("", id="earlier", markup=False)
            await self.mount(self._earlier, *content)
            self._describe_earlier()
        self.follow()

    async def change(self, messages: Sequence[Message]) -> None:
        """Show another branch of the same conversation: what both have stays where it is."""
        same = 0
        for known, message in zip(self._messages, messages, strict=False):
            if known.id != message.id:
                break
            same += 1
        cut = self._last < len(self._messages)
        if cut and same == len(messages) == len(self._messages):
            self._messages = list(messages)
            return
        if cut or same < self._first or len(messages) - same > WINDOW:
            await self.show(messages)
            return
        kept = {message.id for message in messages[:same]}
        gone = [view for view in self.shown if view.message is None or view.message.id not in kept]
        self._messages = list(messages)
        self._last = len(messages)
        with self.app.batch_update():
            await self.query(Welcome).remove()
            await self.remove_children(gone)
            await self.mount(*(view_of(message) for message in messages[same:]))

    def number_versions(self, siblings: Mapping[int, Sequence[int]]) -> None:
        """Say in the headings which version of how many each message is."""
        for view in self.shown:
            number = view.message.id if view.message is not None else 0
            versions = siblings.get(number, ())
            place = versions.index(number) + 1 if number in versions else 1
            view.number_version(place, len(versions))

    def mark_unseen(self, count: int) -> None:
        """Draw a line above the first message that the model sees, when ``count`` before it are
        left out.
        """
        first = self._messages[count].id if 0 < count < len(self._messages) else None
        for view in self.shown:
            here = first is not None and view.message is not None and view.message.id == first
            if here != view.has_class("-first-seen"):
                view.set_class(here, "-first-seen")
                view.border_title = Content(UNSEEN) if here else None

    async def reveal(self, message_id: int) -> bool:
        """Bring a message of this branch into view, marked; whether it is one."""
        places = [at for at, message in enumerate(self._messages) if message.id == message_id]
        if not places:
            return False
        at = places[0]
        if not self._first <= at < self._last:
            await self._mount_around(at)
        for view in self.shown:
            found = view.message is not None and view.message.id == message_id
            view.set_class(found, "-found")
            if found:
                self.call_after_refresh(self._show_found, view)
        return True

    def _show_found(self, view: MessageView) -> None:
        self.let_go()
        self.scroll_to_widget(view, animate=False, top=True)

    async def _mount_around(self, at: int) -> None:
        first, last = max(0, at - PAGE // 2), min(len(self._messages), at + PAGE)
        if any(one.status is MessageStatus.WRITING for one in self._messages[last:]):
            # Of an answer that grows only the widget has the text so far: it stays.
            await self._load_earlier(first)
        else:
            await self._mount_window(first, last)

    async def _mount_window(self, first: int, last: int) -> None:
        """Mount the messages from ``first`` to ``last`` and no others; what waits stays."""
        views = [view_of(message) for message in self._messages[first:last]]
        with self.app.batch_update():
            await self.remove_children([view for view in self.shown if view.message is not None])
            await self.mount(*views, after=self._earlier)
            self._first, self._last = first, last
            self._describe_earlier()

    async def add_waiting(self, draft: Draft) -> None:
        """Show a message of the user that is not on the disk yet."""
        await self._go_to_end()
        self.follow()
        await self.query(Welcome).remove()
        await self.mount(WrittenView(None, draft=draft, waiting=True))

    async def accept(self, user: Message, assistant: Message) -> None:
        """The first message that waited is committed; its answer begins."""
        await self._go_to_end()
        waiting = self._waiting()
        if waiting:
            waiting[0].commit(user)
        else:
            await self.mount(view_of(user))
        view = view_of(assistant)
        await self.mount(view, after=waiting[0] if waiting else None)
        self._messages += [user, assistant]
        self._last = len(self._messages)
        await self._cut_window()

    async def drop_waiting(self) -> None:
        """The first message that waited was refused: take it away."""
        for view in self._waiting()[:1]:
            await view.remove()

    def answer_of(self, message_id: int) -> AnswerView | None:
        """The mounted view of that answer, or None."""
        for view in reversed(self.children):
            if (
                isinstance(view, AnswerView)
                and view.message is not None
                and view.message.id == message_id
            ):
                return view
        return None

    async def finish(self, message: Message) -> None:
        """Show the stored end of an answer, and keep it, mounted or not."""
        for index, known in enumerate(self._messages):
            if known.id == message.id:
                self._messages[index] = message
        view = self.answer_of(message.id)
        if view is not None:
            await view.finish(message)

    @property
    def messages(self) -> list[Message]:
        """All messages of the branch, mounted or not, oldest first."""
        return list(self._messages)

    @property
    def shown(self) -> list[MessageView]:
        """The mounted messages, oldest first."""
        return [view for view in self.children if isinstance(view, MessageView)]

    def _waiting(self) -> list[WrittenView]:
        return [
            view for view in self.children if isinstance(view, WrittenView) and view.message is None
        ]

    # --- following the end --------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """Whether new text scrolls into view by itself."""
        return self._following

    def follow(self) -> None:
        """Go to the end and stay there."""
        if self._last < len(self._messages):
            self.call_later(self._go_to_end)
        self._set_following(True)
        if self.max_scroll_y > 0:
            self.anchor()

    def let_go(self) -> None:
        """The reader moves upwards: stay where he is. Only motions of his count, never those of
        a resize.
        """
        if self.max_scroll_y > 0:
            self._set_following(False)

    def on_mouse_scroll_up(self) -> None:
        self.let_go()

    @on(ScrollUp)
    def _bar_up(self) -> None:
        self.let_go()

    @on(ScrollTo)
    def _bar_dragged(self, event: ScrollTo) -> None:
        if event.y is not None and event.y < self.scroll_y:
            self.let_go()

    def page_up(self) -> None:
        """One page towards the beginning."""
        self.let_go()
        self.scroll_page_up(animate=False)

    def page_down(self) -> None:
        """One page towards the end; at the end it follows again."""
        self.scroll_page_down(animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self.is_mounted:
            return
        near_end = self.max_scroll_y - new_value <= NEAR_END
        if new_value > old_value and near_end and not self._following:
            if self._last == len(self._messages):
                self.follow()
            elif not self._growing:
                self._growing = True
                self.call_after_refresh(self._load_later)
        if new_value <= 1 and new_value < old_value and self._first > 0 and not self._growing:
            self._growing = True
            self.call_after_refresh(self._load_earlier)

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        changed = super()._size_updated(size, virtual_size, container_size, layout)
        if changed:
            # The text grew or shrank.
            self._hold_end()
        return changed

    def on_resize(self) -> None:
        self._hold_end()

    def _hold_end(self) -> None:
        """Hold on to the end only where there is more than one view of text: Textual would push
        a shorter one to the bottom.
        """
        longer = self.virtual_size.height > self.container_size.height > 0
        if self._following and longer != self.is_anchored:
            self.anchor(longer)
            if not longer:
                self.scroll_home(animate=False, immediate=True)

    def _set_following(self, following: bool) -> None:
        if following == self._following:
            return
        self._following = following
        if not following:
            self.release_anchor()
        for view in self.children:
            if isinstance(view, AnswerView):
                view.answer.hold(not following)
        self.post_message(self.FollowChanged(following))

    # --- the window ---------------------------------------------------------------------------

    async def _load_earlier(self, start: int | None = None) -> None:
        """Mount the messages from ``start`` on above, a page for None, without moving what is in
        view.
        """
        try:
            start = max(0, self._first - PAGE) if start is None else start
            views = [view_of(message) for message in self._messages[start : self._first]]
            from_end = self.max_scroll_y - self.scroll_y
            await self.mount(*views, after=self._earlier)
            self._first = start
            self._describe_earlier()

            def keep_place() -> None:
                self.scroll_to(y=self.max_scroll_y - from_end, animate=False, immediate=True)
                self._growing = False

            self.call_after_refresh(keep_place)
        except BaseException:
            self._growing = False
            raise

    async def _load_later(self) -> None:
        """Mount a page of later messages below; what is in view stays."""
        try:
            # Textual holds on to the end again by itself when the view reaches it.
            self.anchor(False)
            last = min(len(self._messages), self._last + PAGE)
            views = [view_of(message) for message in self._messages[self._last : last]]
            await self.mount(*views, after=self.shown[-1])
            self._last = last
        finally:
            self._growing = False

    async def _go_to_end(self) -> None:
        """Mount the last messages where those around an earlier one are mounted."""
        if self._last < len(self._messages):
            await self._mount_window(max(0, len(self._messages) - WINDOW), len(self._messages))

    async def _cut_window(self) -> None:
        if not self._following or len(self._messages) - self._first <= LARGEST_WINDOW:
            return
        extra = len(self._messages) - self._first - WINDOW
        await self.remove_children(self.shown[:extra])
        self._first += extra
        self._describe_earlier()

    def _describe_earlier(self) -> None:
        self._earlier.display = self._first > 0
        self._earlier.update(Content(f"↑ {self._first} earlier messages: scroll up"))
