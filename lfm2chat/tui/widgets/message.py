"""One message of the transcript: who wrote it, the text, how it ended."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Message, MessageStatus, Role
from lfm2chat.tui import wording
from lfm2chat.tui.widgets.answer import Answer
from lfm2chat.tui.widgets.foreign import ForeignText, foreign
from lfm2chat.tui.widgets.placed import PlacedVertical

ROLE_LABELS = {Role.USER: "You", Role.SYSTEM: "System", Role.TOOL: "Tool"}


class MessageView(PlacedVertical):
    """Base of all: a row as wide as the screen with a readable column in its middle.

    ``message`` is the stored one, None while it is not committed.
    """

    def __init__(self, message: Message | None, *, classes: str = "") -> None:
        super().__init__(classes=f"message {classes}")
        self.message = message

    @property
    def source(self) -> str:
        """The text that is drawn."""
        raise NotImplementedError


class WrittenView(MessageView):
    """A message that was not generated here: plain text, exactly as it was typed."""

    def __init__(self, message: Message | None, *, text: str = "", waiting: bool = False) -> None:
        role = Role.USER if message is None else message.role
        super().__init__(message, classes=f"-{role.value}")
        self._text = text if message is None else message.text
        self._role = role
        self.set_class(waiting, "-waiting")

    def compose(self) -> ComposeResult:
        with PlacedVertical(classes="column"):
            yield Static(Content(ROLE_LABELS.get(self._role, "")), classes="who", markup=False)
            yield ForeignText(self._text, classes="text")
            for file in self.message.attachments if self.message is not None else ():
                length = wording.size(len(file.text.encode("utf-8", errors="replace")))
                yield ForeignText(f"file · {one_line(file.label, 80)} · {length}", classes="note")

    @property
    def source(self) -> str:
        return self._text

    def commit(self, message: Message) -> None:
        """It is on the disk now."""
        self.message = message
        self.set_class(False, "-waiting")


class AnswerView(MessageView):
    """An answer: a heading with the model and the measures, the text, a note on the end."""

    def __init__(self, message: Message) -> None:
        super().__init__(message, classes="-assistant")
        self._shown: Message = message
        self._streaming = message.status is MessageStatus.WRITING
        self._heading = Static("", classes="who", markup=False)
        self.answer = Answer(message.text, streaming=self._streaming)
        self._note = ForeignText("", classes="note")
        self.set_class(self._streaming, "-writing")

    def compose(self) -> ComposeResult:
        with PlacedVertical(classes="column"):
            yield self._heading
            yield self.answer
            yield self._note

    def on_mount(self) -> None:
        self._describe(self._shown)

    @property
    def source(self) -> str:
        return self.answer.source

    def feed(self, text: str) -> None:
        """Add a streamed piece."""
        self.answer.feed(text)

    async def finish(self, message: Message) -> None:
        """Show the stored end of the answer."""
        self.message = self._shown = message
        self._streaming = False
        self.set_class(False, "-writing")
        self._describe(message)
        await self.answer.settle(message.text)

    def _describe(self, message: Message) -> None:
        details = "" if self._streaming else wording.stats(message)
        name = foreign(message.model or "assistant", "bold $primary")
        self._heading.update(
            Content.assemble(name, ("  " + details, "$muted")) if details else name
        )
        text, tone = ("", "") if self._streaming else wording.ending(message)
        self._note.show(text)
        self._note.display = bool(text)
        self._note.set_classes(f"note -{tone}" if tone else "note")


def view_of(message: Message) -> MessageView:
    """The widget for a stored message."""
    return AnswerView(message) if message.role is Role.ASSISTANT else WrittenView(message)
