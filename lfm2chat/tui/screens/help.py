"""F1: every key and command, from the registry; those of the place in focus first."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from lfm2chat.tui.keymap import Keymap, keymap_of
from lfm2chat.tui.keys import COMMANDS, Command

SCOPE_TITLES = {
    "prompt": "In the prompt",
    "app": "Everywhere",
    "read": "While reading",
    "list": "In the list",
}


def scope_of(focused: Widget | None) -> str:
    """The scope of the commands for a widget: that of the region which it is in, by its
    ``SCOPE`` or its id.
    """
    scopes = {command.scope for command in COMMANDS}
    if focused is not None:
        for node in focused.ancestors_with_self:
            scope = getattr(node, "SCOPE", node.id)
            if scope in scopes:
                return str(scope)
    return "app"


def scopes_from(here: str) -> list[str]:
    """All scopes that have commands, ``here`` first."""
    used = dict.fromkeys([*SCOPE_TITLES, *(command.scope for command in COMMANDS)])
    found = [scope for scope in used if any(entry.scope == scope for entry in COMMANDS)]
    return sorted(found, key=lambda scope: scope != here)


class HelpRow(Horizontal):
    """One command."""

    def __init__(self, command: Command, keymap: Keymap) -> None:
        super().__init__(classes="help-row")
        self._command = command
        # What has no key is done by its name, in the palette.
        self._keys = keymap.shown_keys(command.id) or command.label
        self._said = f"{command.label} {command.help} {command.id} {self._keys}".lower()

    def compose(self) -> ComposeResult:
        yield Static(Content(self._keys), classes="help-keys", markup=False)
        yield Static(Content(self._command.help), classes="help-text", markup=False)
        yield Static(Content(self._command.id), classes="help-id", markup=False)

    def fits(self, words: list[str]) -> bool:
        """Whether all ``words`` stand in it."""
        return all(word in self._said for word in words)


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

    def compose(self) -> ComposeResult:
        keymap = keymap_of(self.app)
        with Vertical(classes="card", id="help"):
            yield Static(Content("Keys and commands"), classes="card-title", markup=False)
            yield Input(placeholder="Type to search", id="help-search", compact=True)
            with VerticalScroll(id="help-list", can_focus=False):
                for scope in scopes_from(self._here):
                    with Vertical(classes="help-area"):
                        title = SCOPE_TITLES.get(scope, f"In the {scope}")
                        yield Static(Content(title), classes="help-scope", markup=False)
                        for command in keymap.commands:
                            if command.scope == scope:
                                yield HelpRow(command, keymap)
                yield Static(Content("No command has these words."), id="help-none", markup=False)
            yield Static(
                Content("Esc closes · other keys: table [keys] of config.toml"),
                classes="card-hint",
                markup=False,
            )

    def on_mount(self) -> None:
        self.query_one("#help-none").display = False

    @on(Input.Submitted)
    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        words = event.value.lower().split()
        found = False
        for area in self.query(".help-area"):
            rows = list(area.query(HelpRow))
            for row in rows:
                row.display = row.fits(words)
            area.display = any(row.display for row in rows)
            found = found or area.display
        self.query_one("#help-none").display = not found

    @property
    def _list(self) -> VerticalScroll:
        return self.query_one("#help-list", VerticalScroll)

    def action_scroll(self, rows: int) -> None:
        """Scroll by rows."""
        self._list.scroll_relative(y=rows, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self._list.scroll_relative(y=pages * self._list.size.height, animate=False)
