"""One message of the transcript: who wrote it, the text, how it ended.

A message has places where the reader's cursor can stand: all of it, and in an answer each of its
blocks (a thought is the first). Rows are counted from the top of its column.
"""

from __future__ import annotations

import re

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Click
from textual.message import Message as Notice
from textual.style import Style
from textual.widgets import Static

from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.thoughts import ThoughtSplitter
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.tui import wording
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.matching import place_of
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.column import Column
from lfm2chat.tui.widgets.foreign import ForeignText, cut_for_view, foreign
from lfm2chat.tui.widgets.hits import Hits, marked, row_of
from lfm2chat.tui.widgets.passages import Passage, passage_at
from lfm2chat.tui.widgets.placed import PlacedVertical
from lfm2chat.tui.widgets.thought import ThoughtView

ROLE_LABELS = {Role.USER: "You", Role.SYSTEM: "System", Role.TOOL: "Tool"}


class MessageView(PlacedVertical):
    """Base of all: a row as wide as the screen with a readable column in its middle.

    ``message`` is the stored one, None while it is not committed.
    """

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
        self.column = Column()
        # Where the cursor is: a block, None for all of the message.
        self._cursor: int | None = None
        self._has_cursor = False

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

    def put_cursor(self, block: int | None) -> None:
        """Show the cursor on a block, or on all of the message."""
        self._has_cursor, self._cursor = True, block
        self.set_class(True, "-cursor")
        self._draw_cursor()

    def drop_cursor(self) -> None:
        """The cursor is elsewhere now."""
        self._has_cursor = False
        self.set_class(False, "-cursor")
        self.column.mark()

    def on_resize(self) -> None:
        self._draw_cursor()

    def on_click(self, event: Click) -> None:
        if "@click" in event.style.meta:
            return  # a link, or the label of a code block
        if event.widget is not None and event.widget.has_class("who"):
            self.post_message(self.HeadingClicked(self))
        else:
            row = int(event.screen_y) - self.column.region.y
            self.post_message(self.Pointed(self, row))

    def _draw_cursor(self) -> None:
        if self._has_cursor:
            self.column.mark(*self.rows(self._cursor))


class WrittenView(MessageView):
    """A message that was not generated here: plain text, exactly as it was typed."""

    def __init__(
        self, message: Message | None, *, draft: Draft | None = None, waiting: bool = False
    ) -> None:
        """Without a ``message`` it is ``draft``, which was sent and is not committed."""
        role = Role.USER if message is None else message.role
        super().__init__(message, classes=f"-{role.value}")
        if message is not None:
            draft = Draft(message.text, message.attachments)
        elif draft is None:
            draft = Draft()
        self._text, self._files = draft.text, draft.files
        self._role = role
        self._heading = Static("", classes="who", markup=False)
        self._body = ForeignText(self._text, classes="text")
        self._found = False
        self.set_class(waiting, "-waiting")

    def on_mount(self) -> None:
        self._show_heading()

    def _show_heading(self) -> None:
        self._heading.update(Content(ROLE_LABELS.get(self._role, "")) + self._version)

    def compose(self) -> ComposeResult:
        with self.column:
            yield self._heading
            yield self._body
            for file in self._files:
                length = wording.size(len(file.text.encode("utf-8", errors="replace")))
                yield ForeignText(f"file · {one_line(file.label, 80)} · {length}", classes="note")

    @property
    def source(self) -> str:
        return self._text

    def commit(self, message: Message) -> None:
        """It is on the disk now."""
        self.message = message
        self.set_class(False, "-waiting")

    def passage(self, block: int | None) -> Passage:  # noqa: ARG002 - as an answer has it
        return Passage(safe(self._text))

    def rows(self, block: int | None) -> tuple[int, int]:  # noqa: ARG002 - as above
        return 0, self.column.size.height

    def find(self, pattern: re.Pattern[str] | None, number: int | None = None) -> int | None:
        if pattern is None and not self._found:
            return None
        self._found = pattern is not None
        shown = foreign(cut_for_view(self._text))
        self._body.update(shown if pattern is None else marked(shown, pattern, number))
        if pattern is None or number is None:
            return None
        width = self._body.content_size.width
        return self._body.virtual_region.y + row_of(shown.plain, pattern, number, width)


class AnswerView(MessageView):
    """An answer: a heading with the model and the measures, the text, a note on the end."""

    def __init__(self, message: Message) -> None:
        super().__init__(message, classes="-assistant")
        self._shown: Message = message
        self._streaming = message.status is MessageStatus.WRITING
        self._heading = Static("", classes="who", markup=False)
        self._splitter = ThoughtSplitter()
        self.answer = Answer(self._take_apart(message), streaming=self._streaming)
        self.thought: ThoughtView | None = None
        self._pattern: re.Pattern[str] | None = None
        self._note = ForeignText("", classes="note")
        self.set_class(self._streaming, "-writing")

    def compose(self) -> ComposeResult:
        with self.column:
            yield self._heading
            yield self.answer
            yield self._note

    def on_mount(self) -> None:
        self._describe(self._shown)
        self._show_thought()

    @property
    def source(self) -> str:
        return safe(self._splitter.head) + self.answer.source

    def feed(self, text: str) -> None:
        """Add a streamed piece."""
        was = self._splitter.thinking
        answer = self._splitter.feed(text)
        if was or self._splitter.thinking:
            self._show_thought()
        if answer:
            self.answer.feed(answer)

    async def finish(self, message: Message) -> None:
        """Show the stored end of the answer."""
        self.message = self._shown = message
        self._streaming = False
        self._splitter = ThoughtSplitter()
        text = self._take_apart(message)
        self.set_class(False, "-writing")
        self._describe(message)
        self._show_thought()
        await self.answer.settle(text)
        self.call_after_refresh(self._draw_cursor)

    def _take_apart(self, message: Message) -> str:
        """The answer in a stored text; the thought is the splitter's."""
        answer = self._splitter.feed(message.text)
        return answer if self._streaming else answer + self._splitter.end()

    def _show_thought(self) -> None:
        """Show what was thought, if anything was."""
        text = self._splitter.thought
        thinking = self._splitter.thinking and self._streaming
        if not text and self.thought is None:
            return
        if self.thought is None:
            self.thought = ThoughtView()
            self.thought.find(self._pattern)
            self.column.mount(self.thought, before=self.answer)
        self.thought.show(text, thinking=thinking)

    def _show_heading(self) -> None:
        message = self._shown
        details = "" if self._streaming else wording.stats(message)
        name = foreign(message.model or "assistant", "bold $primary")
        self._heading.update(
            Content.assemble(name, self._version, ("  " + details if details else "", "$muted"))
        )

    def _describe(self, message: Message) -> None:
        self._show_heading()
        text, tone = ("", "") if self._streaming else wording.ending(message)
        self._note.show(text)
        self._note.display = bool(text)
        self._note.set_classes(f"note -{tone}" if tone else "note")

    # --- reading ------------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        return len(self.answer.blocks()) + self._thoughts

    @property
    def _thoughts(self) -> int:
        return int(self.thought is not None)

    def is_thought(self, block: int | None) -> bool:
        """Whether the cursor, there, stands on the thought; or on nothing else than it."""
        return self.thought is not None and (block == 0 or (block is None and self.blocks == 1))

    def passage(self, block: int | None) -> Passage:
        if block is None:
            return Passage(self.answer.source.rstrip("\n"))
        if self.is_thought(block):
            return Passage(safe(self._splitter.thought))
        drawn, number = self.answer.blocks(), block - self._thoughts
        if not 0 <= number < len(drawn):
            return self.passage(None)
        lines = self.answer.text_lines[drawn[number].first : drawn[number].end]
        return passage_at(self.answer.source, number, len(drawn), "\n".join(lines))

    def rows(self, block: int | None) -> tuple[int, int]:
        if block is None:
            return 0, max(1, self.column.size.height - 1)
        if self.thought is not None and block == 0:
            top = self.thought.virtual_region.y
            return top, top + self.thought.size.height
        drawn, number = self.answer.blocks(), block - self._thoughts
        if not 0 <= number < len(drawn):
            return self.rows(None)
        first, end = self.answer.rows(drawn[number])
        top = self.answer.virtual_region.y
        return top + first, top + end

    def block_at(self, row: int) -> int | None:
        if self.thought is not None:
            top = self.thought.virtual_region.y
            if top <= row < top + self.thought.size.height:
                return 0
        number = self.answer.block_at(row - self.answer.virtual_region.y)
        return None if number is None else number + self._thoughts

    def find(self, pattern: re.Pattern[str] | None, number: int | None = None) -> int | None:
        self._pattern, in_thought = pattern, 0
        if self.thought is not None:
            if pattern is not None:
                in_thought = sum(1 for _ in pattern.finditer(safe(self._splitter.thought)))
            self.thought.find(pattern, number)
        if pattern is None or number is None:
            self.answer.find(None if pattern is None else Hits(pattern))
            return None
        if self.thought is not None and number < in_thought:
            self.thought.fold(False)
            self.answer.find(Hits(pattern))
            return self.thought.virtual_region.y + self.thought.row_of(pattern, number)
        place = place_of(self.answer.text_lines, pattern, number - in_thought)
        self.answer.find(Hits(pattern, place))
        row = 0 if place is None else self.answer.row_of(place[0])
        return self.answer.virtual_region.y + row

    def _draw_cursor(self) -> None:
        super()._draw_cursor()
        number = None
        if self._has_cursor and self._cursor is not None:
            number = self._cursor - self._thoughts
            drawn = self.answer.blocks()
            if not 0 <= number < len(drawn) or not drawn[number].code:
                number = None
        self.answer.label("cursor", number)

    def drop_cursor(self) -> None:
        super().drop_cursor()
        self._draw_cursor()


def version_label(message_id: int, place: int, count: int) -> Content:
    """``‹ 2/3 ›``; a click on an arrow shows the version before or after."""
    if count < 2:
        return Content("")
    before, after = (
        Style.from_meta({"@click": f"screen.walk({message_id}, {step})"}) for step in (-1, 1)
    )
    return Content.assemble("  ", ("‹", before), (f" {place}/{count} ", "$accent"), ("›", after))


def view_of(message: Message) -> MessageView:
    """The widget for a stored message."""
    return AnswerView(message) if message.role is Role.ASSISTANT else WrittenView(message)
