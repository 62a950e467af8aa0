"""F1: every key and command, from the registry."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.tui.keys import COMMANDS, Command
from lfm2chat.tui.widgets.keybar import key_name

SCOPE_TITLES = {"prompt": "In the prompt", "app": "Everywhere", "list": "In the list"}


class HelpScreen(ModalScreen[None]):
    """A list to read; any of its keys closes it."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q,enter", "dismiss", "Close", show=False)
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="card", id="help"):
            yield Static(Content("Keys and commands"), classes="card-title", markup=False)
            with VerticalScroll(id="help-list"):
                for scope, title in SCOPE_TITLES.items():
                    commands = [command for command in COMMANDS if command.scope == scope]
                    if commands:
                        yield Static(Content(title), classes="help-scope", markup=False)
                    for command in commands:
                        yield from _row(command)
            yield Static(Content("Esc closes"), classes="card-hint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#help-list", VerticalScroll).focus()


def _row(command: Command) -> ComposeResult:
    # What has no key is done by its name, in the palette.
    keys = ", ".join(key_name(key) for key in command.keys) or command.label
    with Horizontal(classes="help-row"):
        yield Static(Content(keys), classes="help-keys", markup=False)
        yield Static(Content(command.help), classes="help-text", markup=False)
