"""F1: every key and command, from the registry; those of the place in focus first."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from lfm2chat.tui.help_text import help_text
from lfm2chat.tui.keymap import keymap_of


class HelpScreen(ModalScreen[None]):
    """A list to read and to search. ``here`` is the scope that comes first."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "leave", "Close", show=False),
        Binding("f1", "leave", "Close", show=False, id="help"),
        Binding("up", "scroll(-1)", "Up", show=False),
        Binding("down", "scroll(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
    ]

    def __init__(self, *, here: str = "app") -> None:
        super().__init__()
        self._here = here
        self._words: list[str] = []
        self._text = Static("", id="help-text", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="help"):
            yield Static(Content("Keys and commands"), classes="card-title", markup=False)
            yield Input(placeholder="Type to search", id="help-search", compact=True)
            with VerticalScroll(id="help-list", can_focus=False):
                yield self._text
            yield Static(
                Content("Esc closes · other keys: table [keys] of config.toml"),
                classes="card-hint",
                markup=False,
            )

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        """One widget draws all of it: a widget for each cell of it took a second to open."""
        width = self._list.scrollable_content_region.width
        text = help_text(keymap_of(self.app), here=self._here, words=self._words, width=width)
        self._text.update(text or Content.styled("No command has these words.", "$muted"))

    @on(Input.Submitted)
    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self._words = event.value.lower().split()
        self._draw()

    @property
    def _list(self) -> VerticalScroll:
        return self.query_one("#help-list", VerticalScroll)

    def action_scroll(self, rows: int) -> None:
        """Scroll by rows."""
        self._list.scroll_relative(y=rows, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self._list.scroll_relative(y=pages * self._list.size.height, animate=False)
