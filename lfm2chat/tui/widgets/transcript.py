"""The conversation on the screen: its messages, what waits to be one, and following the end.

The transcript follows new text until the first motion upwards, and again when the reader comes back
near the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message as Notice
from textual.scrollbar import ScrollTo, ScrollUp
from textual.widget import Widget

from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.answer_view import AnswerView
from lfm2chat.tui.widgets.gap import Gap
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.welcome import Welcome
from lfm2chat.tui.widgets.window import WINDOW, MessageWindow
from lfm2chat.tui.widgets.written import WrittenView
from lfm2chat.tui.wording import SUMMARISED, UNSEEN

# Rows from the end within which following starts again.
NEAR_END = 3


class Transcript(MessageWindow):
    """The messages of one conversation, oldest first."""

    BINDINGS: ClassVar[list[BindingType]] = []

    class FollowChanged(Notice):
        """The reader left the end, or came back to it."""

        def __init__(self, following: bool) -> None:
            super().__init__()
            self.following = following

    class NewBelow(Notice):
        """While the reader is above, ``lines`` have come at the end."""

        def __init__(self, lines: int) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._new_lines = 0
        # The versions of each message, and the first message that the model sees.
        self._siblings: Mapping[int, Sequence[int]] = {}
        self._first_seen: int | None = None
        self._above_it = UNSEEN
        # The message that was looked for last.
        self._found: int | None = None

    # --- what is shown ------------------------------------------------------------------------

    async def show(self, messages: Sequence[Message], *, waiting: Sequence[Draft] = ()) -> None:
        """Show a whole conversation at its end; ``waiting`` is what is not yet committed."""
        # Whoever opens another conversation cancels this: half of it would be mounted, and
        # Textual waits for ever for widgets whose removal was cancelled.
        await asyncio.shield(self._show(messages, waiting))

    async def _show(self, messages: Sequence[Message], waiting: Sequence[Draft]) -> None:
        async with self._moving:
            if not self._lives:
                return
            self._messages = list(messages)
            self._heights = self._new_heights(messages)
            self._siblings, self._first_seen, self._found = {}, None, None
            self._set_following(True)
            self._last = len(self._messages)
            self._first = self._start_of_window(self._last)
            views: list[Widget] = [*map(self._new_view, self._messages[self._first :])]
            views += [WrittenView(None, draft=draft, waiting=True) for draft in waiting]
            with self.app.batch_update():
                await self.remove_children()
                self._placed = {}
                self._earlier, self._later = Gap(id="earlier"), Gap(id="later")
                self._describe_gaps()
                if self._lives:
                    await self.mount(self._earlier, *(views or [Welcome()]), self._later)
        self.follow()
        # Whoever looked while this was mounted saw it half done, and nothing is laid out again.
        self._look_later()

    async def change(self, messages: Sequence[Message]) -> None:
        """Show another branch of the same conversation: what both have stays where it is."""
        same = 0
        for known, message in zip(self._messages, messages, strict=False):
            if known.id != message.id:
                break
            same += 1
        if same < self._first or len(messages) - same > WINDOW:
            await self.show(messages)
        else:
            await asyncio.shield(self._change(messages, same))

    async def _change(self, messages: Sequence[Message], same: int) -> None:
        """The first ``same`` of ``messages`` are those of the branch before."""
        async with self._moving:
            if not self._lives:
                return
            at_end = self._last == len(self._messages)
            kept = {message.id for message in messages[:same]}
            gone = [v for v in self._views() if v.message is None or v.message.id not in kept]
            self._messages = list(messages)
            self._heights[same:] = self._new_heights(messages[same:])
            self._last = min(self._last, same)
            with self.app.batch_update():
                await self.query(Welcome).remove()
                await self.remove_children(gone)
                if at_end:
                    await self._mount_later(len(self._messages))
                else:
                    # As in ``accept``: what streams while the reader is far above.
                    writing = [one for one in messages[same:] if _is_written(one)]
                    views = [*map(self._new_view, writing)]
                    for view in views:
                        view.display = False
                    await self.mount(*views, before=self._later)
                    self._describe_gaps()
        self._look_later()

    def number_versions(self, siblings: Mapping[int, Sequence[int]]) -> None:
        """Say in the headings which version of how many each message is."""
        self._siblings = siblings
        for view in self._views():
            self._number(view)

    def mark_unseen(self, count: int, *, summarised: bool = False) -> None:
        """Draw a line above the first message that the model sees; ``count`` before it are not."""
        self._above_it = SUMMARISED if summarised else UNSEEN
        self._first_seen = self._messages[count].id if 0 < count < len(self._messages) else None
        for view in self._views():
            self._mark_first_seen(view)

    def _new_view(self, message: Message) -> MessageView:
        view = super()._new_view(message)
        self._number(view)
        self._mark_first_seen(view)
        self._mark_found(view)
        return view

    def _number(self, view: MessageView) -> None:
        number = view.message.id if view.message is not None else 0
        versions = self._siblings.get(number, ())
        place = versions.index(number) + 1 if number in versions else 1
        view.number_version(place, len(versions))

    def _mark_first_seen(self, view: MessageView) -> None:
        first = self._first_seen
        here = first is not None and view.message is not None and view.message.id == first
        if here or view.has_class("-first-seen"):
            view.set_class(here, "-first-seen")
            view.border_title = Content(self._above_it) if here else None

    def _mark_found(self, view: MessageView) -> None:
        message = view.message
        view.show_found(message is not None and message.id == self._found)

    async def add_waiting(self, draft: Draft) -> None:
        """Show a message of the user that is not on the disk yet."""
        self.follow()
        async with self._moving:
            if self._lives:
                await self.query(Welcome).remove()
                await self.mount(WrittenView(None, draft=draft, waiting=True), before=self._later)

    async def accept(self, user: Message, assistant: Message) -> None:
        """The first message that waited is committed; its answer begins."""
        async with self._moving:
            if not self._lives:
                return
            waiting = self._waiting()
            asked: MessageView = waiting[0] if waiting else self._new_view(user)
            at_end = self._last == len(self._messages)
            if waiting:
                waiting[0].commit(user)
            else:
                await self.mount(asked, before=self._later)
            view = self._new_view(assistant)
            await self.mount(view, after=asked)
            self._messages += [user, assistant]
            self._heights += self._new_heights([user, assistant])
            if at_end:
                self._last = len(self._messages)
            else:
                # The reader is far above: there when he comes back, with what streams meanwhile.
                asked.display = view.display = False
                self._describe_gaps()
        self._look_later()

    async def drop_waiting(self) -> None:
        """The first message that waited was refused: take it away."""
        for view in self._waiting()[:1]:
            await view.remove()

    def answer_of(self, message_id: int) -> AnswerView | None:
        """The mounted view of that answer, or None."""
        for view in reversed(self._views()):
            message = view.message
            if isinstance(view, AnswerView) and message is not None and message.id == message_id:
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

    # --- following the end --------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """Whether new text scrolls into view by itself."""
        return self._following

    def follow(self) -> None:
        """Go to the end and stay there."""
        self._set_following(True)
        if self._last < len(self._messages):
            self.call_next(self._go_to, len(self._messages))
        elif self.max_scroll_y > 0:
            self.anchor()

    def let_go(self) -> None:
        """The reader moves upwards: stay where he is. Only motions of his count, never those of
        a resize.
        """
        if self.max_scroll_y > 0:
            self._set_following(False)

    def go_to_first(self) -> None:
        """Go to the beginning of the conversation."""
        self._set_following(not self._first and self.max_scroll_y == 0)
        if self._first:
            self.call_next(self._go_to, 0)
        else:
            self.scroll_home(animate=False, immediate=True)

    async def reveal(self, message_id: int) -> bool:
        """Bring a message of this branch to the top of the view, marked; whether it is one."""
        places = [at for at, message in enumerate(self._messages) if message.id == message_id]
        if not places:
            return False
        self._found = message_id
        view = await self.bring(places[0])
        for each in self._views():
            self._mark_found(each)
        if view is not None:
            self.call_after_refresh(self._show_found, view)
        return True

    def _show_found(self, view: MessageView) -> None:
        self.let_go()
        self.scroll_to_widget(view, animate=False, top=True, immediate=True)

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
        self._scroll_by(-self.container_size.height)

    def page_down(self) -> None:
        """One page towards the end; at the end it follows again."""
        self._scroll_by(self.container_size.height)

    def _scroll_by(self, rows: int) -> None:
        # At once: a place to go to would be another one when something was mounted above it.
        self.scroll_to(y=self.scroll_y + rows, animate=False, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self.is_mounted:
            return
        near_end = self.max_scroll_y - new_value <= NEAR_END
        if new_value > old_value and near_end and not self._following:
            self.follow()
        self._look_later()

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
        super()._set_following(following)
        if not following:
            self.release_anchor()
        for view in self._views():
            if isinstance(view, AnswerView):
                view.answer.hold(not following)
        self._new_lines = 0
        self.post_message(self.FollowChanged(following))

    @on(Answer.Unseen)
    def _count(self, event: Answer.Unseen) -> None:
        event.stop()
        if not self._following:
            self._new_lines += event.lines
            self.post_message(self.NewBelow(self._new_lines))


def _is_written(message: Message) -> bool:
    return message.status is MessageStatus.WRITING
