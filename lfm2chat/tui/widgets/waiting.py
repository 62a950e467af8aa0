"""The queue: messages that were sent while an answer runs, and go out when it ends."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.tui.widgets.foreign import foreign

MOST_ROWS = 3


class WaitingList(Static):
    """The messages that wait, one row each; hidden while there are none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self.display = False
        self._shown: tuple[str, ...] = ()

    def show(self, texts: Sequence[str]) -> None:
        """Show ``texts``, the next to go first."""
        if tuple(texts) == self._shown:
            return
        self._shown = tuple(texts)
        self.display = bool(texts)
        rows = [
            Content.assemble(("next  ", "$accent"), foreign(one_line(text, 200), "$foreground"))
            for text in texts[:MOST_ROWS]
        ]
        if len(texts) > MOST_ROWS:
            rows.append(Content.styled(f"      and {len(texts) - MOST_ROWS} more", "$muted"))
        self.update(Content("\n").join(rows))
