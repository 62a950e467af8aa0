"""How the app looks and sounds: themes, keys, title, bell, and the settings that say so.

:class:`AppearanceApp` is the lower half of the app. Everything runs on the event loop's thread;
files are read and written in threads.
"""

from __future__ import annotations

import asyncio
from typing import Any

from textual import constants, work
from textual.app import App
from textual.driver import Driver
from textual.events import Event, Paste

from lfm2chat.chat.text import safe
from lfm2chat.errors import SettingsError
from lfm2chat.paths import Paths
from lfm2chat.settings import Settings, write_setting
from lfm2chat.tui.driver import lending_title
from lfm2chat.tui.keymap import read_keymap
from lfm2chat.tui.messages import Failure
from lfm2chat.tui.terminal import set_title
from lfm2chat.tui.theme import DEFAULT_THEME, ThemeSet, load_themes, packaged_themes
from lfm2chat.tui.theme_watch import ThemeChanges, ThemeWatch

# How often the user's themes are looked at.
THEMES_S = 2.0
# Below this width the list and the sampling controls are shown only when asked for, one at a time.
WIDE = 100


class AppearanceApp(App[None]):
    """An app with our settings, themes and keymap. ``settings`` are those of now."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - as Textual declares it
        (0, "-narrow"),
        (80, "-normal"),
        (WIDE, "-wide"),
        (140, "-huge"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012 - as above

    def __init__(self, *, paths: Paths, settings: Settings) -> None:
        super().__init__()
        self.paths = paths
        self.settings = settings
        self.keymap = read_keymap(settings.keys, where=str(paths.config_file))
        self.set_keymap(self.keymap.bindings())
        self._writing = asyncio.Lock()
        # Before the themes are read: what changes meanwhile is seen.
        self._theme_watch = ThemeWatch(paths.user_themes)
        self._looking = False
        self._packaged = load_themes((packaged_themes(),))
        self.theme_labels: dict[str, str] = {}
        self._load_themes()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Stand-ins for our own style variables, for Textual's themes, which lack them."""
        return {"muted": "ansi_bright_black", "rule": "ansi_bright_black"}

    def on_mount(self) -> None:
        for error in (*self._theme_errors, *self.keymap.errors):
            self._say_error(error)
        self._set_animations()
        self.set_interval(THEMES_S, self._look_at_themes)

    def _say_error(self, error: SettingsError) -> None:
        self.post_message(Failure(str(error), error.hint))

    # --- settings -----------------------------------------------------------------------------

    async def change_setting(self, name: str, value: Any) -> None:
        """Set it now where it can be, and in config.toml for every later start.

        Raises:
            SettingsError: The schema does not allow ``value`` (then nothing changes), or the file
                cannot be written (then it holds until the app is closed).
        """
        self.settings = self.settings.changed(**{name: value})
        if name == "theme":
            self.theme = value
        elif name == "animations":
            self._set_animations()
        self.look_changed(name)
        async with self._writing:  # in the order in which they were changed
            await asyncio.to_thread(write_setting, self.paths.config_file, name, value)

    def look_changed(self, name: str) -> None:
        """Setting ``name`` changed; what the app shows follows."""

    def _set_animations(self) -> None:
        # The environment may forbid what the settings allow.
        level = constants.TEXTUAL_ANIMATIONS
        self.animation_level = level if self.settings.animations else "none"

    @work(group="theme", exit_on_error=False)
    async def choose_theme(self, name: str) -> None:
        """Use a theme, now and at the next start."""
        try:
            await self.change_setting("theme", name)
        except SettingsError as error:
            self._say_error(error)

    # --- themes -------------------------------------------------------------------------------

    def _load_themes(self) -> None:
        users = load_themes((self.paths.user_themes,))
        for found in (self._packaged, users):
            self._take_themes(found)
        known = {**self._packaged.themes, **users.themes}
        self._theme_errors = [*self._packaged.errors, *users.errors]
        wanted = self.settings.theme
        if wanted in known:
            self.theme = wanted
            return
        hint = "known are: " + ", ".join(sorted(known))
        self._theme_errors.append(SettingsError(f"there is no theme {wanted!r}", hint=hint))
        if DEFAULT_THEME in known:
            self.theme = DEFAULT_THEME

    def _take_themes(self, found: ThemeSet) -> None:
        for theme in found.themes.values():
            self.register_theme(theme)
        self.theme_labels.update(found.labels)

    async def _look_at_themes(self) -> None:
        if self._looking:  # a slow disk
            return
        self._looking = True
        try:
            changes = await asyncio.to_thread(self._theme_watch.look)
        finally:
            self._looking = False
        if changes.any:
            self._take_changes(changes)

    def _take_changes(self, changes: ThemeChanges) -> None:
        for error in changes.errors:
            self._say_error(error)
        for label, theme in changes.themes:
            self.register_theme(theme)
            self.theme_labels[theme.name] = label
        for name in changes.gone:
            self._lose_theme(name)
        if self.theme in {*changes.gone, *(theme.name for _, theme in changes.themes)}:
            self.mutate_reactive(App.theme)

    def _lose_theme(self, name: str) -> None:
        """The user's file is gone: ours by that name is back; one in use stays until it is left."""
        ours = self._packaged.themes.get(name)
        if ours is not None:
            self.register_theme(ours)
            self.theme_labels[name] = self._packaged.labels[name]
        elif self.theme_labels.pop(name, None) is not None and name != self.theme:
            self.unregister_theme(name)

    # --- the terminal -------------------------------------------------------------------------

    async def on_event(self, event: Event) -> None:
        """As Textual's. What is pasted is made safe here, for whichever field takes it."""
        if isinstance(event, Paste) and not event.is_forwarded:
            event.text = safe(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        await super().on_event(event)

    def get_driver_class(self) -> type[Driver]:
        """Textual's own for this system, which leaves the terminal with its own title."""
        return lending_title(super().get_driver_class())

    def write_terminal(self, sequence: str) -> None:
        """Send a control sequence of ours past the screen."""
        if self._driver is not None:
            self._driver.write(sequence)

    def name_terminal(self, title: str | None) -> None:
        """Put ``title``, which may be foreign, into the terminal's, if the settings want that."""
        if self.settings.terminal_title:
            self.write_terminal(set_title(f"lfm2chat · {title}" if title else "lfm2chat"))
        else:
            self.write_terminal(set_title(""))

    def ring(self, *, looked_at: bool) -> None:
        """Ring the bell for a long answer that ended, as the settings want it.

        ``looked_at`` says whether it is the one on the screen.
        """
        match self.settings.bell:
            case "always":
                self.bell()
            case "background" if not (looked_at and self.app_focus):
                self.bell()
            case _:
                pass
