"""What an empty conversation shows: what this is, and the keys to begin with."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from lfm2chat.tui.keys import command
from lfm2chat.tui.widgets.keybar import key_name

FIRST_KEYS = ("send", "newline", "stop", "new", "models", "help")
SHORT = {
    "send": "send",
    "newline": "new line",
    "stop": "stop the answer",
    "new": "new conversation",
    "models": "other models",
    "help": "all keys",
}


GUIDE_NOTE = "The guide knows lfm2chat; F3 brings the others."


class Welcome(Vertical):
    """A greeting of a few rows, in the middle."""

    def compose(self) -> ComposeResult:
        yield Static(Content("lfm2chat"), classes="welcome-title", markup=False)
        yield Static(
            Content("A conversation with a model on this machine."),
            classes="welcome-line",
            markup=False,
        )
        yield Static(Content("Nothing you write leaves it."), classes="welcome-note", markup=False)
        yield Static(_keys(), classes="welcome-keys", markup=False)
        yield Static(Content(GUIDE_NOTE), id="welcome-guide", markup=False)

    def show_guide(self, answers: bool) -> None:
        """Whether the built-in guide ``answers``: people should know what it is not for."""
        self.query_one("#welcome-guide").display = answers


def _keys() -> Content:
    cells = [
        Content.assemble(
            (key_name(command(name).keys[0]).rjust(5), "bold $primary"),
            "  ",
            (SHORT[name].ljust(16), "$muted"),
        )
        for name in FIRST_KEYS
    ]
    pairs = zip(cells[::2], cells[1::2], strict=True)
    return Content("\n").join([Content.assemble(left, "  ", right) for left, right in pairs])
