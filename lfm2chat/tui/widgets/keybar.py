"""The footer: the keys of the registry that fit the width, most important first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from textual.content import Content
from textual.events import Click
from textual.geometry import Offset
from textual.widget import Widget
from textual.widgets import Static

from lfm2chat.tui.keymap import Keymap, key_name, keymap_of
from lfm2chat.tui.keys import COMMANDS, Command

# In what order those of each place are kept when the width runs short; the rest follows in
# registry order.
KEEP_FIRST = (
    "stop", "help", "new", "models", "quit", "palette", "sampling", "sidebar",
    "list_open", "list_filter", "list_pin", "list_rename", "list_delete", "list_archive",
    "leave_reading", "copy_block", "read_edit", "read_again", "quote", "read_fork", "copy_code",
)  # fmt: skip


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


class KeyBar(Static):
    """One row of keys. A click on one does what the key does."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._busy = False
        self._scope = "app"
        self._places: list[tuple[int, int, Command]] = []

    def show_busy(self, busy: bool) -> None:
        """Whether there is an answer to stop: then that key stands out."""
        if busy != self._busy:
            self._busy = busy
            self._draw()

    def show_focus(self, focused: Widget | None) -> None:
        """Show the keys of the region where the focus is, if it has some for the footer."""
        scope = scope_of(focused)
        if not any(command.footer for command in COMMANDS if command.scope == scope):
            scope = "app"
        if scope != self._scope:
            self._scope = scope
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

    def places(self) -> list[tuple[Offset, Callable[[], Awaitable[object]]]]:
        """Where its keys stand, and what they do."""
        return [
            (Offset(start, 0), partial(self._press, command.keys[0]))
            for start, _, command in self._places
        ]

    async def _press(self, key: str) -> None:
        self.app.simulate_key(key)

    def _draw(self) -> None:
        width = self.content_size.width
        shown = _fitting(keymap_of(self.app), width, self._scope)
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


def _fitting(keymap: Keymap, width: int, scope: str) -> list[Command]:
    """The footer's commands of ``scope`` that fit into ``width`` columns, in registry order."""
    footer = [
        command
        for command in keymap.commands
        if command.footer and command.keys and command.scope == scope
    ]
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
