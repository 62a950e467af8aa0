"""An answer of the transcript: what is said above, in and below it."""

from __future__ import annotations

import re

from textual.content import Content
from textual.events import Click, MouseMove

from lfm2chat.chat.text import safe
from lfm2chat.chat.thoughts import ThoughtSplitter
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.tui import wording
from lfm2chat.tui.matching import place_of, spans
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.foreign import cut_for_view, foreign
from lfm2chat.tui.widgets.hits import Hits
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.part import TextPart
from lfm2chat.tui.widgets.passages import Passage, passage_at
from lfm2chat.tui.widgets.seen import Seen
from lfm2chat.tui.widgets.thought import Thought
from lfm2chat.tui.widgets.written import WrittenView

TONES = {"warning": "$warning", "error": "$error"}


class AnswerView(MessageView):
    """An answer: a heading with the model and the measures, the text, a note on the end."""

    def __init__(self, message: Message) -> None:
        super().__init__(message, classes="-assistant")
        self._shown: Message = message
        self._streaming = message.status is MessageStatus.WRITING
        self._splitter = ThoughtSplitter()
        self.answer = Answer(self._take_apart(message), streaming=self._streaming)
        self.thought: Thought | None = None
        self._pattern: re.Pattern[str] | None = None
        self.note = TextPart(name="note", below=1)
        self.set_class(self._streaming, "-writing")
        self.show_parts(self.heading, self.answer, self.note)

    async def on_mount(self) -> None:
        self._describe(self._shown)
        self._show_thought()
        await self.answer.begin()

    @property
    def source(self) -> str:
        return safe(self._splitter.head) + self.answer.source

    @property
    def seen(self) -> Seen:
        """What is drawn now, the thought as if it was unfolded."""
        thought = "" if self.thought is None else self.thought.seen
        return Seen(thought, "\n".join(self.answer.text_lines))

    def feed(self, text: str) -> None:
        """Add a streamed piece."""
        before = self._splitter.head
        answer = self._splitter.feed(text)
        if self._splitter.head != before:
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
            self.thought = Thought()
            self.thought.find(self._pattern)
            self.show_parts(self.heading, self.thought, self.answer, self.note)
        self.thought.show(text, thinking=thinking)

    def _show_heading(self) -> None:
        message = self._shown
        details = "" if self._streaming else wording.stats(message)
        name = foreign(message.model or "assistant", "bold $primary")
        heading = Content.assemble(
            name, self._version, ("  " + details if details else "", "$muted")
        )
        self.heading.update(heading, layout=False)

    def _describe(self, message: Message) -> None:
        self._show_heading()
        text, tone = ("", "") if self._streaming else wording.ending(message)
        self.note.display = bool(text)
        self.note.style = TONES.get(tone, "$muted")
        self.note.update(foreign(cut_for_view(text)))

    def _space(self, compact: bool) -> None:
        self.answer.below = self.note.below = int(not compact)

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
            return 0, max(1, self.rows_high - 1)
        if self.thought is not None and block == 0:
            top = self.thought.top
            return top, top + self.thought.height
        drawn, number = self.answer.blocks(), block - self._thoughts
        if not 0 <= number < len(drawn):
            return self.rows(None)
        first, end = self.answer.rows(drawn[number])
        top = self.answer.top
        return top + first, top + end

    def block_at(self, row: int) -> int | None:
        if self.thought is not None:
            top = self.thought.top
            if top <= row < top + self.thought.height:
                return 0
        number = self.answer.block_at(row - self.answer.top)
        return None if number is None else number + self._thoughts

    def find(self, pattern: re.Pattern[str] | None, number: int | None = None) -> int | None:
        self._pattern, in_thought = pattern, 0
        if self.thought is not None:
            if pattern is not None:
                in_thought = sum(1 for _ in spans(self.thought.seen, pattern))
            self.thought.find(pattern, number)
            if not in_thought:
                self.thought.fold_again()
        if pattern is None or number is None:
            self.answer.find(None if pattern is None else Hits(pattern))
            return None
        if self.thought is not None and number < in_thought:
            self.thought.unfold_for_hit()
            self.answer.find(Hits(pattern))
            return self.thought.top + self.thought.row_of(pattern, number)
        place = place_of(self.answer.text_lines, pattern, number - in_thought)
        self.answer.find(Hits(pattern, place))
        row = 0 if place is None else self.answer.row_of(place[0])
        return self.answer.top + row

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

    # --- the mouse ----------------------------------------------------------------------------

    def on_click(self, event: Click) -> None:
        if self.thought is not None and self._part_below(event) is self.thought:
            event.stop()
            self.thought.fold(not self.thought.folded)
        else:
            super().on_click(event)

    def on_mouse_move(self, event: MouseMove) -> None:
        here = self._part_below(event) is self.answer
        self.answer.point(event.y - self.gutter.top - self.answer.top if here else None)

    def on_leave(self) -> None:
        self.answer.point(None)

    def action_copy_code(self, number: int) -> None:
        """A click on the label of block ``number``."""
        self.post_message(Answer.CodeAsked(self, number))

    def action_link(self, number: int) -> None:
        """A click on link ``number``."""
        address = self.answer.link(number)
        if address:
            self.post_message(Answer.LinkClicked(address))

    def notify_style_update(self) -> None:
        """Another theme: the same rows in other colours."""
        self.answer.forget_styles()
        super().notify_style_update()


def view_of(message: Message) -> MessageView:
    """The widget for a stored message."""
    return AnswerView(message) if message.role is Role.ASSISTANT else WrittenView(message)
