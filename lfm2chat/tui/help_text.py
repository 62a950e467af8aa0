"""The text of the help: every command of the registry, in columns. Content, no widgets."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from textual.content import Content

from lfm2chat.tui.keymap import Keymap
from lfm2chat.tui.keys import COMMANDS, Command
from lfm2chat.tui.slash import slash_name

SCOPE_TITLES = {
    "prompt": "In the prompt",
    "app": "Everywhere",
    "read": "While reading",
    "list": "In the list",
}
KEYS_CELLS = 17
NAME_CELLS = 18
GAP_CELLS = 2
# Narrower, the names that the table [keys] takes are left out.
NAMES_FROM = 82


def scopes_from(here: str) -> list[str]:
    """All scopes that have commands, ``here`` first."""
    used = dict.fromkeys([*SCOPE_TITLES, *(command.scope for command in COMMANDS)])
    found = [scope for scope in used if any(entry.scope == scope for entry in COMMANDS)]
    return sorted(found, key=lambda scope: scope != here)


def help_text(keymap: Keymap, *, here: str, words: Sequence[str], width: int) -> Content:
    """The commands that hold all ``words`` (in small letters), those of ``here`` first, in rows of
    ``width`` cells; empty where none does.
    """
    lines: list[Content] = []
    for scope in scopes_from(here):
        rows = [
            line
            for command in keymap.commands
            if command.scope == scope and _holds(command, keymap, words)
            for line in _rows(command, keymap, width)
        ]
        if rows:
            title = SCOPE_TITLES.get(scope, f"In the {scope}")
            lines += [Content(""), Content.styled(title, "$accent"), *rows]
    return Content("\n").join(lines[1:])


def _keys_of(command: Command, keymap: Keymap) -> str:
    """What to press, or what to type where there is no key."""
    name = slash_name(command)
    return keymap.shown_keys(command.id) or (f"/{name}" if name else command.label)


def _holds(command: Command, keymap: Keymap, words: Sequence[str]) -> bool:
    keys = _keys_of(command, keymap)
    said = f"{command.label} {command.help} {command.id} {keys}".lower()
    return all(word in said for word in words)


def _rows(command: Command, keymap: Keymap, width: int) -> list[Content]:
    keys = _keys_of(command, keymap)
    name = command.id if width >= NAMES_FROM else ""
    room = max(10, width - KEYS_CELLS - (NAME_CELLS if name else 0))
    texts = textwrap.wrap(command.help, room - GAP_CELLS if name else room) or [""]
    # Keys that are longer than their column have a row of their own.
    first = Content.styled(keys.ljust(KEYS_CELLS), "bold $footer-key-foreground")
    rows = [first] if len(keys) >= KEYS_CELLS else []
    for number, text in enumerate(texts):
        head = first if number == 0 and not rows else Content(" " * KEYS_CELLS)
        last = Content.styled(name, "$muted") if number == 0 else Content("")
        rows.append(Content.assemble(head, text.ljust(room) if name else text, last))
    return rows
