"""What an empty conversation shows: what this is, and the keys to begin with."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from lfm2chat.tui.keymap import Keymap, keymap_of

FIRST_KEYS = ("send", "newline", "stop", "new", "models", "help")
SHORT = {
    "send": "send",
    "newline": "new line",
    "stop": "stop the answer",
    "new": "new conversation",
    "models": "other models",
    "help": "all keys",
}


TEMPORARY_NOTE = "Temporary: gone when the app is closed."
GUIDE_NOTE = "The guide knows lfm2chat; {models} brings the others."


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
        yield Static(_keys(keymap_of(self.app)), classes="welcome-keys", markup=False)
        yield Static("", id="welcome-note", markup=False)

    def describe(self, *, guide: bool, temporary: bool) -> None:
        """Say what people should know: that the ``guide`` answers, that nothing is kept."""
        models = keymap_of(self.app).shown("models")
        note = TEMPORARY_NOTE if temporary else GUIDE_NOTE.format(models=models) if guide else ""
        line = self.query_one("#welcome-note", Static)
        line.display = bool(note)
        line.update(Content(note))


def _keys(keymap: Keymap) -> Content:
    cells = [
        Content.assemble(
            (keymap.shown(name).rjust(5), "bold $primary"),
            "  ",
            (SHORT[name].ljust(16), "$muted"),
        )
        for name in FIRST_KEYS
    ]
    pairs = zip(cells[::2], cells[1::2], strict=True)
    return Content("\n").join([Content.assemble(left, "  ", right) for left, right in pairs])
