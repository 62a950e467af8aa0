"""The command palette: the registry of commands, the themes, the conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from lfm2chat.chat.text import one_line
from lfm2chat.tui.keymap import keymap_of
from lfm2chat.tui.screens.regions import action_of

if TYPE_CHECKING:
    from lfm2chat.tui.app import Lfm2ChatApp

TITLE_LENGTH = 60
# Commands of the prompt only make sense with the keys that they have there.
SHOWN_SCOPES = ("app",)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the palette. ``label`` may be foreign; it is made content, never markup."""

    label: str
    help: str
    run: Callable[[], object]


class ChatCommands(Provider):
    """Everything that can be done, by name. Foreign titles never reach a markup parser."""

    async def discover(self) -> Hits:
        for entry in self._entries():
            yield DiscoveryHit(Content(entry.label), entry.run, text=entry.label, help=entry.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for entry in self._entries():
            score = matcher.match(entry.label)
            if score > 0:
                yield Hit(score, Content(entry.label), entry.run, text=entry.label, help=entry.help)

    def _entries(self) -> Iterator[Entry]:
        app: Lfm2ChatApp = self.app  # type: ignore[assignment]
        chat = app.chat
        keymap = keymap_of(app)
        for command in keymap.commands:
            if command.scope in SHOWN_SCOPES and command.id not in ("palette", "copy_or_quit"):
                keys = keymap.shown_keys(command.id)
                yield Entry(
                    f"{command.label}  ({keys})" if keys else command.label,
                    command.help,
                    partial(app.run_action, action_of(command), chat),
                )
        for name, label in sorted(app.theme_labels.items()):
            yield Entry(f"Theme: {one_line(label, 40)}", "", partial(app.choose_theme, name))
        for entry in chat.conversations:
            title = one_line(entry.title, TITLE_LENGTH) or "untitled"
            yield Entry(f"Open: {title}", "", partial(chat.open_conversation, entry.id))
