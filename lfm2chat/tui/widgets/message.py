"""One message of the transcript: who wrote it, the text, how it ended."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.style import Style
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
        self._version = Content("")

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


class WrittenView(MessageView):
    """A message that was not generated here: plain text, exactly as it was typed."""

    def __init__(self, message: Message | None, *, text: str = "", waiting: bool = False) -> None:
        role = Role.USER if message is None else message.role
        super().__init__(message, classes=f"-{role.value}")
        self._text = text if message is None else message.text
        self._role = role
        self._heading = Static("", classes="who", markup=False)
        self.set_class(waiting, "-waiting")

    def on_mount(self) -> None:
        self._show_heading()

    def _show_heading(self) -> None:
        self._heading.update(Content(ROLE_LABELS.get(self._role, "")) + self._version)

    def compose(self) -> ComposeResult:
        with PlacedVertical(classes="column"):
            yield self._heading
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
