"""Colour themes: TOML files in ``themes/`` of the package and in the user's own folder.

A file holds ``label`` (what people read), ``dark`` (true or false), optionally ``ansi = true``
(the terminal's own sixteen colours), a table ``[colors]`` with the names of a Textual theme and a
table ``[variables]`` with further style variables. The file's name is the theme's name. A mistake
is an error that names the file and the key; the other themes are not touched by it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from lfm2chat.errors import SettingsError

DEFAULT_THEME = "dusk"
LARGEST_FILE = 64 * 1024
COLORS = (
    "primary",
    "secondary",
    "accent",
    "background",
    "surface",
    "panel",
    "foreground",
    "success",
    "warning",
    "error",
    "boost",
)
REQUIRED_COLORS = COLORS[:-1]
# Ours, beside those of Textual: every style sheet may use them, so every theme has them.
EXTRA_VARIABLES = {"muted": "foreground-muted", "rule": "border-blurred"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_VARIABLE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_STYLE = re.compile(r"(?:not |bold|dim|italic|underline|reverse|strike|none|\s)+")


@dataclass(frozen=True, slots=True)
class ThemeSet:
    """What was found: themes by name, and one error for each file that could not be used."""

    themes: Mapping[str, Theme]
    labels: Mapping[str, str]
    errors: tuple[SettingsError, ...]


def packaged_themes() -> Path:
    """The folder of our own themes: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def load_themes(folders: Iterable[Path]) -> ThemeSet:
    """Every theme in ``folders``; a later folder replaces a theme of the same name.

    A folder that does not exist has no themes. Reads files: at the start only.
    """
    themes: dict[str, Theme] = {}
    labels: dict[str, str] = {}
    errors: list[SettingsError] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                label, theme = read_theme(path)
            except SettingsError as error:
                errors.append(error)
            else:
                themes[theme.name] = theme
                labels[theme.name] = label
    return ThemeSet(themes, labels, tuple(errors))


def read_theme(path: Path) -> tuple[str, Theme]:
    """The label and the theme in ``path``.

    Raises:
        SettingsError: The file cannot be read or is no TOML, or a key is unknown, missing or
            has a value that is no colour; the message names the file and the key.
    """
    name = path.stem
    if not _NAME.fullmatch(name):
        raise _mistake(path, "the file name", f"is {name!r}", "use a-z, 0-9 and - only")
    values = _read_toml(path)
    known = {"label", "dark", "ansi", "colors", "variables"}
    for key in values:
        if key not in known:
            raise _mistake(path, key, "is unknown", "known are: " + ", ".join(sorted(known)))
    label = values.get("label", name)
    if not isinstance(label, str):
        raise _mistake(path, "label", f"is {label!r}", "write a text")
    flags = {key: values.get(key, key == "dark") for key in ("dark", "ansi")}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise _mistake(path, key, f"is {value!r}", "write true or false")
    colors = _colors(path, values.get("colors"))
    variables = _variables(path, values.get("variables", {}))
    for extra, stand_in in EXTRA_VARIABLES.items():
        variables.setdefault(extra, variables.get(stand_in, colors["foreground"]))
    # Text that is quieter than the rest has one colour, whoever draws it.
    variables.setdefault("foreground-muted", variables["muted"])
    variables.setdefault("text-muted", variables["muted"])
    return label, Theme(
        name=name,
        primary=colors["primary"],
        secondary=colors["secondary"],
        accent=colors["accent"],
        background=colors["background"],
        surface=colors["surface"],
        panel=colors["panel"],
        foreground=colors["foreground"],
        success=colors["success"],
        warning=colors["warning"],
        error=colors["error"],
        boost=colors.get("boost"),
        dark=flags["dark"],
        ansi=flags["ansi"],
        variables=variables,
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _mistake(path, "the file", "is larger than 64 KiB", "themes are small")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _mistake(path, "the file", f"cannot be read: {error}", "check it") from error
    except tomllib.TOMLDecodeError as error:
        raise _mistake(path, "the file", f"is not valid TOML: {error}", "mend it") from error


def _colors(path: Path, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise _mistake(path, "[colors]", "is missing", "add the table with its colours")
    for key in table:
        if key not in COLORS:
            raise _mistake(path, f"colors.{key}", "is unknown", "known: " + ", ".join(COLORS))
    for key in REQUIRED_COLORS:
        if key not in table:
            raise _mistake(path, f"colors.{key}", "is missing", 'write it, such as "#a3b4f5"')
    for key, value in table.items():
        _check_color(path, f"colors.{key}", value)
    return dict(table)


def _variables(path: Path, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise _mistake(path, "[variables]", "is no table", "write key = value lines under it")
    for key, value in table.items():
        if not _VARIABLE.fullmatch(key):
            raise _mistake(path, f"variables.{key}", "is no name", "use a-z, 0-9 and -")
        if key.endswith("-style"):
            if not isinstance(value, str) or not _STYLE.fullmatch(value):
                raise _mistake(path, f"variables.{key}", f"is {value!r}", 'such as "bold"')
        else:
            _check_color(path, f"variables.{key}", value)
    return dict(table)


def _check_color(path: Path, key: str, value: Any) -> None:
    mistake = _mistake(
        path, key, f"is {value!r}, which is no colour", 'write one such as "#a3b4f5"'
    )
    if not isinstance(value, str):
        raise mistake
    try:
        Color.parse(value)
    except ColorParseError as error:
        raise mistake from error


def _mistake(path: Path, key: str, what: str, hint: str) -> SettingsError:
    return SettingsError(f"{path}: {key} {what}", hint=hint)
