"""The footer: the keys of the registry that fit the width, most important first."""

from __future__ import annotations

from textual.content import Content
from textual.events import Click
from textual.widgets import Static

from lfm2chat.tui.keys import COMMANDS, Command

# In what order they are kept when the width runs short; the rest follows in registry order.
KEEP_FIRST = ("stop", "help", "new", "models", "quit", "palette", "sampling", "sidebar")
KEY_NAMES = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "enter": "Enter",
    "backslash": "\\",
}


def key_name(key: str) -> str:
    """A key as people read it: ``ctrl+n`` is ``^n``, ``f1`` is ``F1``, ``escape`` is ``Esc``."""
    if key in KEY_NAMES:
        return KEY_NAMES[key]
    modifier, _, rest = key.rpartition("+")
    name = KEY_NAMES.get(rest, rest)
    if modifier == "ctrl" and len(name) == 1:
        return f"^{name}"
    if not modifier:
        return name.upper() if name.startswith("f") and name[1:].isdigit() else name
    arrows = {"up": "↑", "down": "↓"}
    return "+".join([*(part.capitalize() for part in modifier.split("+")), arrows.get(name, name)])


class KeyBar(Static):
    """One row of keys. A click on one does what the key does."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._busy = False
        self._places: list[tuple[int, int, Command]] = []

    def show_busy(self, busy: bool) -> None:
        """Whether there is an answer to stop: then that key stands out."""
        if busy != self._busy:
            self._busy = busy
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_click(self, event: Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        for start, end, command in self._places:
            if start <= offset.x < end:
                self.app.simulate_key(command.keys[0])

    def _draw(self) -> None:
        width = self.content_size.width
        shown = _fitting(width)
        pieces: list[Content] = []
        self._places = []
        column = 0
        for command in shown:
            piece = self._piece(command)
            self._places.append((column, column + piece.cell_length, command))
            pieces.append(piece)
            column += piece.cell_length + 2
        self.update(Content("  ").join(pieces), layout=False)

    def _piece(self, command: Command) -> Content:
        hot = command.id == "stop" and self._busy
        return Content.assemble(
            (key_name(command.keys[0]), "bold $accent" if hot else "bold $footer-key-foreground"),
            " ",
            (command.label, "$accent" if hot else "$muted"),
        )


def _fitting(width: int) -> list[Command]:
    """The footer's commands that fit into ``width`` columns, in registry order."""
    footer = [command for command in COMMANDS if command.footer]
    order = sorted(
        footer,
        key=lambda command: KEEP_FIRST.index(command.id) if command.id in KEEP_FIRST else 99,
    )
    kept: set[str] = set()
    used = 0
    for command in order:
        need = len(key_name(command.keys[0])) + 1 + len(command.label) + (2 if kept else 0)
        if used + need <= width:
            kept.add(command.id)
            used += need
    return [command for command in footer if command.id in kept]
