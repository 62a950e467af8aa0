"""One pane: a conversation on the screen, under a heading where there are several."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click
from textual.message import Message as Notice
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.tui.widgets.foreign import foreign
from lfm2chat.tui.widgets.reading import ReadingTranscript
from lfm2chat.tui.widgets.transcript import Transcript

TITLE_LENGTH = 60
MORE_BELOW = "↓ more below"


class Pane(Vertical):
    """A transcript, with the way back to its end. A click anywhere in it chooses it."""

    class Chosen(Notice):
        """The user wants to speak in ``pane``."""

        def __init__(self, pane: Pane) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self.transcript = ReadingTranscript()
        self._heading = Static("", classes="pane-heading", markup=False)
        self._heading.display = False
        self._below = Static(Content(MORE_BELOW), classes="below", markup=False)
        self._below.display = False

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self.transcript
        yield self._below

    def describe(self, title: str, details: str, *, alone: bool, addressed: bool) -> None:
        """Say whose conversation this is; ``addressed`` when the prompt speaks to it."""
        self._heading.display = not alone
        self.set_class(addressed and not alone, "-addressed")
        mark = ("▌ ", "$accent") if addressed else ("  ", "")
        name = foreign(one_line(title, TITLE_LENGTH), "bold" if addressed else "$muted")
        more = foreign(f"  {one_line(details, TITLE_LENGTH)}", "$muted")
        self._heading.update(Content.assemble(mark, name, more))

    @on(Transcript.FollowChanged)
    def _show_below(self, event: Transcript.FollowChanged) -> None:
        event.stop()
        self._below.display = not event.following
        self._below.update(Content(MORE_BELOW))

    @on(Transcript.NewBelow)
    def _count_below(self, event: Transcript.NewBelow) -> None:
        event.stop()
        lines = "line" if event.lines == 1 else "lines"
        self._below.update(Content(f"↓ {event.lines:,} new {lines}"))

    @on(Click, ".below")
    def _go_below(self) -> None:
        self.transcript.follow()

    def on_click(self) -> None:
        self.post_message(self.Chosen(self))
