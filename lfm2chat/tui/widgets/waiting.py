"""The queue: messages that were sent while an answer runs, and go out when it ends."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.events import Click
from textual.message import Message as Notice
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.widgets.foreign import foreign

MOST_ROWS = 3
HURRY, DROP = "↑", "✕"
LABELS = ("next  ", "then  ")


class WaitingList(Static):
    """The messages that wait, one row each; hidden while there are none.

    A click on the text takes a message back, one on the marks behind it moves or drops it.
    """

    class Asked(Notice):
        """Something is to be done with the message at ``index``."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Taken(Asked):
        """It is to be written anew."""

    class Dropped(Asked):
        """It is not wanted any more."""

    class Hurried(Asked):
        """It is to go before the one above it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self.display = False
        self._shown: tuple[Draft, ...] = ()

    def show(self, drafts: Sequence[Draft]) -> None:
        """Show ``drafts``, the next to go first."""
        if tuple(drafts) != self._shown:
            self._shown = tuple(drafts)
            self.display = bool(drafts)
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_click(self, event: Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y >= min(MOST_ROWS, len(self._shown)):
            return
        event.stop()
        behind = self.content_size.width - offset.x
        # Two columns each, so that a mark need not be hit exactly.
        if behind <= 2:
            self.post_message(self.Dropped(offset.y))
        elif behind <= 4 and offset.y > 0:
            self.post_message(self.Hurried(offset.y))
        else:
            self.post_message(self.Taken(offset.y))

    def _draw(self) -> None:
        width = self.content_size.width
        rows = [
            Content.assemble(
                _text(draft, first=index == 0).truncate(max(1, width - 5), ellipsis=True, pad=True),
                (f" {HURRY if index else ' '} {DROP} ", "$muted"),
            )
            for index, draft in enumerate(self._shown[:MOST_ROWS])
        ]
        if len(self._shown) > MOST_ROWS:
            rows.append(Content.styled(f"      and {len(self._shown) - MOST_ROWS} more", "$muted"))
        self.update(Content("\n").join(rows))


def _text(draft: Draft, *, first: bool) -> Content:
    """One message as a line of its own."""
    files = ", ".join(file.label for file in draft.files)
    said = [foreign(one_line(draft.text, 200))] if draft.text.strip() else []
    if files:
        said.append(foreign(one_line(f"+ {files}", 100), "$muted"))
    return Content.assemble((LABELS[0 if first else 1], "$accent"), Content(" ").join(said))
