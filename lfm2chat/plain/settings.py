"""The settings: said, and changed for now and for later."""

from __future__ import annotations

from typing import Any

from lfm2chat.chat.text import one_line
from lfm2chat.errors import SettingsError
from lfm2chat.plain.base import PlainBase
from lfm2chat.settings import SCHEMA, Setting, shown_settings, write_setting

ON, OFF = ("true", "yes", "on"), ("false", "no", "off")


class SettingsCommands(PlainBase):
    """Those of config.toml; a table in it is changed in an editor."""

    def do_settings(self, argument: str) -> None:
        """Say the settings, or one of them, or change it."""
        name, _, value = argument.partition(" ")
        name = name.replace("-", "_").casefold()
        rows = [row for row in SCHEMA if name in ("", row.name)]
        if not rows:
            raise SettingsError(
                f"there is no setting {one_line(name, 40)}", hint="/settings lists them"
            )
        if value.strip():
            self._change(rows[0], value.strip())
        shown = {name: (told, other) for name, told, other in shown_settings(self._settings)}
        for row in rows:
            told, changed = shown[row.name]
            self._say(f"{row.name} {told}{' (changed)' if changed else ''}: {row.help}")

    def _change(self, row: Setting, text: str) -> None:
        value = _meant(row, text)
        settings = self._settings.changed(**{row.name: value})
        write_setting(self._paths.config_file, row.name, value)
        self._settings = settings
        self._service.take_settings(settings)


def _meant(row: Setting, text: str) -> Any:
    """The value that ``text`` means for a setting; whether it is allowed the schema says.

    Raises:
        SettingsError: It is of another kind.
    """
    text = text[1:-1] if text[:1] == text[-1:] == '"' and len(text) > 1 else text
    if row.kind is dict:
        raise SettingsError(f"{row.name} is a table", hint="`lfm2chat config edit` opens the file")
    if row.kind is bool:
        if text.casefold() not in (*ON, *OFF):
            raise SettingsError(f"{row.name} is {text!r}", hint="say on or off")
        return text.casefold() in ON
    if row.kind is int:
        try:
            return int(text)
        except ValueError as error:
            raise SettingsError(f"{row.name} is {text!r}", hint=row.help) from error
    return text
