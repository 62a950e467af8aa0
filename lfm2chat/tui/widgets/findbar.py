"""The bar above the prompt that finds words in the conversation."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message as Notice
from textual.widgets import Input, Static


class FindBar(Horizontal):
    """A field and what was found; hidden until it is asked for. The screen does the finding."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "walk(1)", show=False),
        Binding("up,shift+enter", "walk(-1)", show=False),
        Binding("escape", "close", show=False),
    ]

    class Asked(Notice):
        """Something else is looked for: ``query``, which may be empty."""

        def __init__(self, query: str) -> None:
            super().__init__()
            self.query = query

    class Walked(Notice):
        """To the next hit (1), or the one before (-1)."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Closed(Notice):
        """Nothing is looked for any more."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._input = Input(placeholder="Find in this conversation", compact=True, id="find-input")
        self._count = Static("", id="find-count", markup=False)
        self.display = False

    def compose(self) -> ComposeResult:
        yield self._input
        yield self._count

    @property
    def query_text(self) -> str:
        """What is looked for."""
        return self._input.value

    def open(self) -> None:
        """Show it, with what was looked for last selected."""
        self.display = True
        self._input.focus()
        self._input.select_all()

    def close(self) -> None:
        """Hide it."""
        self.display = False

    def show_count(self, at: int, total: int) -> None:
        """Say that hit ``at`` (from 1; 0 for none) of ``total`` is shown."""
        said = f"{at}/{total}" if total else "nothing found" if self.query_text.strip() else ""
        walk = "Enter next · Shift+Enter back · " if self.app.size.width >= 80 else ""
        hint = f"  {walk}Esc closes"
        self._count.update(Content.assemble((said, "bold"), (hint, "$muted")))

    def action_walk(self, by: int) -> None:
        """Go to another hit."""
        self.post_message(self.Walked(by))

    def action_close(self) -> None:
        """Close it."""
        self.close()
        self.post_message(self.Closed())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Asked(event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Walked(1))
