"""One message of the transcript: who wrote it, the text, how it ended.

A message has places where the reader's cursor can stand: all of it, and in an answer each of its
blocks (a thought is the first). Rows are counted from the top of its column.
"""

from __future__ import annotations

import re

from textual.content import Content
from textual.events import Click, MouseEvent
from textual.geometry import Region
from textual.message import Message as Notice
from textual.style import Style

from lfm2chat.chat.turns import Message
from lfm2chat.tui.widgets.column import Column, Tone
from lfm2chat.tui.widgets.part import Part, TextPart
from lfm2chat.tui.widgets.passages import Passage

LINK = "underline $link-color"


class MessageView(Column):
    """Base of all. ``message`` is the stored one, None while it is not committed.

    Its parts are drawn by it: it has no widgets in it.
    """

    HEADING = ""
    """The style of its heading."""

    class HeadingClicked(Notice):
        """The user clicked on the heading of ``view``."""

        def __init__(self, view: MessageView) -> None:
            super().__init__()
            self.view = view

    class Pointed(Notice):
        """The user clicked on ``view`` below its heading, in row ``row``."""

        def __init__(self, view: MessageView, row: int) -> None:
            super().__init__()
            self.view = view
            self.row = row

    def __init__(self, message: Message | None, *, classes: str = "") -> None:
        super().__init__(classes=f"message {classes}")
        self.message = message
        self._version = Content("")
        self.heading = TextPart(name="who", wrap=False)
        # Where the cursor is: a block, None for all of the message.
        self._cursor: int | None = None
        self._has_cursor = False
        self._found = self._compact = False

    async def on_mount(self) -> None:
        self._show_heading()

    @property
    def tone(self) -> Tone:
        return Tone(behind="on $panel" if self._found else "")

    @property
    def source(self) -> str:
        """The text that is drawn."""
        raise NotImplementedError

    def number_version(self, place: int, count: int) -> None:
        """Say that this is version ``place``, from 1, of ``count``; nothing is said of one."""
        label = version_label(self.message.id if self.message else 0, place, count)
        if label.plain != self._version.plain:
            self._version = label
            self._show_heading()

    def _show_heading(self) -> None:
        """Draw who wrote it."""
        raise NotImplementedError

    @property
    def blocks(self) -> int:
        """How many blocks the cursor can stand on."""
        return 0

    def passage(self, block: int | None) -> Passage:
        """What is copied of it: the source of a block, or all without the thought."""
        raise NotImplementedError

    def rows(self, block: int | None) -> tuple[int, int]:
        """The rows of a block, or of all of it: the first, and the one after the last."""
        raise NotImplementedError

    def block_at(self, row: int) -> int | None:  # noqa: ARG002 - as an answer has it
        """The block that a row belongs to."""
        return None

    def find(self, pattern: re.Pattern[str] | None, number: int | None = None) -> int | None:
        """Mark what ``pattern`` finds; gives the row of hit ``number``, at which the reader is."""
        raise NotImplementedError

    def show_found(self, found: bool) -> None:
        """Whether it is the message that was looked for."""
        if found != self._found:
            self._found = found
            self.set_class(found, "-found")
            self.refresh()

    def put_cursor(self, block: int | None) -> None:
        """Show the cursor on a block, or on all of the message."""
        self._has_cursor, self._cursor = True, block
        self._draw_cursor()

    def drop_cursor(self) -> None:
        """The cursor is elsewhere now."""
        self._has_cursor = False
        self.mark()
        self._show_cursor_in_heading()

    def on_resize(self) -> None:
        self._draw_cursor()

    def on_click(self, event: Click) -> None:
        if "@click" in event.style.meta:
            return  # a link, or the label of a code block
        row = int(event.y) - self.gutter.top
        part = self._part_below(event)
        if part is self.heading:
            self.post_message(self.HeadingClicked(self))
        else:
            self.post_message(self.Pointed(self, row))

    def _part_below(self, event: MouseEvent) -> Part | None:
        """The part that the mouse is on; beside the text of one it is on none."""
        part = self.part_at(event.y - self.gutter.top)
        x = event.x - self.gutter.left - self.text_left
        return part if part is not None and 0 <= x < self.text_width else None

    def _draw_cursor(self) -> None:
        if self._has_cursor:
            self.mark(*self.rows(self._cursor))
            self._show_cursor_in_heading()

    def _show_cursor_in_heading(self) -> None:
        """So that it is seen also where there are no colours."""
        plain = self.HEADING
        style = f"{plain.replace('bold', '')} bold underline" if self._has_cursor else plain
        if style != self.heading.style:
            self.heading.style = style
            self.refresh(Region(0, self.heading.top, self.content_width, 1))

    def notify_style_update(self) -> None:
        """The theme, or the setting that leaves empty rows out, may be another one."""
        super().notify_style_update()
        compact = self.is_attached and self.screen.has_class("-compact")
        if compact != self._compact:
            self._compact = compact
            self._space(compact)
            self.refresh(layout=True)

    def _space(self, compact: bool) -> None:
        """Leave the blank rows below some parts out, or have them."""


def version_label(message_id: int, place: int, count: int) -> Content:
    """``‹ 2/3 ›``; a click on an arrow shows the version before or after."""
    if count < 2:
        return Content("")
    before, after = (
        Content.styled(arrow, LINK).stylize(
            Style.from_meta({"@click": f"screen.walk({message_id}, {step})"})
        )
        for arrow, step in (("‹", -1), ("›", 1))
    )
    return Content.assemble("  ", before, (f" {place}/{count} ", "$accent"), after)
