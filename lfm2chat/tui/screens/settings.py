"""Every setting with its meaning, drawn from the settings' own schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lfm2chat.chat.text import one_line
from lfm2chat.errors import SettingsError
from lfm2chat.settings import SCHEMA, Settings, defaults
from lfm2chat.tui.widgets.foreign import ForeignText
from lfm2chat.tui.widgets.setting import SettingRow

# What holds later than at once.
LATER = {
    "model": "from the next start on",
    "keys": "from the next start on",
    "saved_context_mb": "from the next start on",
    "device": "for the next model that is loaded",
    "precision": "for the next model that is loaded",
    "threads": "for the next model that is loaded",
    "context_tokens": "for the next model that is loaded",
    "system_prompt": "for the next conversation",
}
LONGEST_PATH = 200
LONGEST_MISTAKE = 300


class SettingsList(VerticalScroll, can_focus=False, inherit_bindings=False):
    """Scrolls to what has the focus; the arrow keys are the screen's."""


class SettingsScreen(ModalScreen[None]):
    """One row for each setting. What is chosen is given to ``change`` at once.

    ``settings`` gives those of now; ``change`` sets one and raises a SettingsError for what is
    not allowed or cannot be kept. ``choices`` are further values to choose from, by setting.
    """

    CSS_PATH = "settings.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False),
        Binding("ctrl+l", "leave", "Close", show=False, id="settings"),
        Binding("up", "app.focus_previous", "Up", show=False),
        Binding("down", "app.focus_next", "Down", show=False),
        Binding("ctrl+g", "app.jump", "Jump", show=False, id="jump"),
    ]

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        change: Callable[[str, Any], Awaitable[None]],
        choices: Mapping[str, Sequence[str]],
        folder: Path,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._change = change
        self._choices = choices
        self._folder = folder
        # What the user was told about and leaves all the same.
        self._told = False

    def compose(self) -> ComposeResult:
        now, usual = self._settings(), defaults()
        folder = one_line(str(self._folder), LONGEST_PATH)
        with Vertical(classes="card", id="settings"):
            yield Static(Content("Settings"), classes="card-title", markup=False)
            with SettingsList(id="settings-list"):
                for setting in SCHEMA:
                    yield SettingRow(
                        setting,
                        getattr(now, setting.name),
                        default=usual[setting.name],
                        choices=self._choices.get(setting.name, ()),
                    )
                yield ForeignText(
                    f"They are kept in {folder}/config.toml; your own themes and their changes are"
                    f" read from {folder}/themes.",
                    id="settings-place",
                )
            yield Static(
                Content("↑↓ move · ←→ choose · Enter keeps · Esc closes"),
                classes="card-hint",
                markup=False,
            )

    @on(SettingRow.Chosen)
    def _take(self, event: SettingRow.Chosen) -> None:
        event.stop()
        self._told = False
        # Of the app: it goes on when this screen is closed.
        self.app.run_worker(self._keep(event.row, event.value), exit_on_error=False)

    async def _keep(self, row: SettingRow, value: Any) -> bool:
        """Set what ``row`` is about; whether that went well."""
        name = row.setting.name
        before = getattr(self._settings(), name)
        try:
            await self._change(name, value)
        except SettingsError as error:
            mistake = error.hint if getattr(self._settings(), name) == before else str(error)
            if row.is_mounted:
                row.say(one_line(mistake, LONGEST_MISTAKE))
            return False
        if row.is_mounted:
            note = f"Kept; it holds {LATER[name]}." if name in LATER else ""
            row.show(value, note=note)
        return True

    async def action_leave(self) -> None:
        """Close. A text that is not kept yet is kept; a mistake in one is shown first."""
        for row in self.query(SettingRow):
            if not row.unfinished:
                continue
            try:
                kept = await self._keep(row, row.read())
            except SettingsError as error:
                row.say(error.hint)
                kept = False
            if not kept and not self._told:
                self._told = True
                return
        self.dismiss(None)
