"""A message that was typed, not generated."""

from __future__ import annotations

import re

from textual.content import Content

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.text import one_line, safe
from lfm2chat.chat.turns import Message, Role
from lfm2chat.tui import wording
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.widgets.column import Tone
from lfm2chat.tui.widgets.foreign import cut_for_view, foreign
from lfm2chat.tui.widgets.hits import marked, row_of
from lfm2chat.tui.widgets.message import MessageView
from lfm2chat.tui.widgets.part import TextPart
from lfm2chat.tui.widgets.passages import Passage

ROLE_LABELS = {Role.USER: "You", Role.SYSTEM: "System", Role.TOOL: "Tool"}


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
        self.body = TextPart(foreign(cut_for_view(self._text)), name="text")
        self.notes = [
            TextPart(Content(described(file)), name="note", style="$muted", below=1)
            for file in self._files
        ]
        self._marks = False
        self._waits = waiting
        self.set_class(waiting, "-waiting")
        if role is Role.USER:
            self.heading.style = self.HEADING = "bold $accent"
        self.show_parts(self.heading, self.body, *self.notes)

    @property
    def tone(self) -> Tone:
        if self._role is not Role.USER:
            return super().tone
        behind = super().tone.behind or "on $surface"
        return Tone(behind, "$rule" if self._waits else "$accent")

    def _show_heading(self) -> None:
        heading = Content(ROLE_LABELS.get(self._role, "")) + self._version
        self.heading.update(heading, layout=False)

    def _space(self, compact: bool) -> None:
        for note in self.notes:
            note.below = int(not compact)

    @property
    def source(self) -> str:
        return self._text

    def commit(self, message: Message) -> None:
        """It is on the disk now."""
        self.message = message
        self._waits = False
        self.set_class(False, "-waiting")
        self.refresh()

    def passage(self, block: int | None) -> Passage:  # noqa: ARG002 - as an answer has it
        return Passage(safe(self._text))

    def rows(self, block: int | None) -> tuple[int, int]:  # noqa: ARG002 - as above
        return 0, self.rows_high

    def find(self, pattern: re.Pattern[str] | None, number: int | None = None) -> int | None:
        if pattern is None and not self._marks:
            return None
        self._marks = pattern is not None
        shown = foreign(cut_for_view(self._text))
        marks = shown if pattern is None else marked(shown, pattern, number)
        self.body.update(marks, layout=False)
        if pattern is None or number is None:
            return None
        return self.body.top + row_of(shown.plain, pattern, number, self.text_width)


def described(file: Attachment) -> str:
    """A file that was sent, in a line."""
    length = wording.size(len(file.text.encode("utf-8", errors="replace")))
    return f"file · {one_line(file.label, 80)} · {length}"
