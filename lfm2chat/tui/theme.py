"""Colour themes: TOML files in ``themes/`` of the package and in the user's own folder.

A file holds ``label`` (what people read), ``dark`` (true or false), optionally ``ansi = true``
(the terminal's own sixteen colours), a table ``[colors]`` with the names of a Textual theme and a
table ``[variables]`` with further style variables. The file's name is the theme's name. A mistake
is an error that names the file, the line and the key; the other themes are not touched by it.
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
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_ENTRY = re.compile(r"""\s*([A-Za-z0-9_."' -]+?)\s*=""")
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


def theme_files(folder: Path) -> list[Path]:
    """The theme files in ``folder``, by name; none where it cannot be read."""
    return sorted(folder.glob("*.toml"))


def load_themes(folders: Iterable[Path]) -> ThemeSet:
    """Every theme in ``folders``; a later folder replaces a theme of the same name.

    A folder that does not exist has no themes. Reads files.
    """
    themes: dict[str, Theme] = {}
    labels: dict[str, str] = {}
    errors: list[SettingsError] = []
    for folder in folders:
        for path in theme_files(folder):
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
            has a value that is no colour; the message names the file, the line and the key.
    """
    name = path.stem
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{path}: the file name is {name!r}", hint="use a-z, 0-9 and - only")
    source = _read_text(path)
    values = _parse(source)
    known = {"label", "dark", "ansi", "colors", "variables"}
    for key in values:
        if key not in known:
            raise source.mistake(key, "is unknown", "known are: " + ", ".join(sorted(known)))
    label = values.get("label", name)
    if not isinstance(label, str):
        raise source.mistake("label", f"is {label!r}", "write a text")
    flags = {key: values.get(key, key == "dark") for key in ("dark", "ansi")}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise source.mistake(key, f"is {value!r}", "write true or false")
    colors = _colors(source, values.get("colors"))
    variables = _variables(source, values.get("variables", {}))
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


@dataclass(frozen=True, slots=True)
class _Source:
    """A theme file as it was read."""

    path: Path
    text: str

    def mistake(self, key: str, what: str, hint: str, *, line_of: str = "") -> SettingsError:
        """What is wrong with ``key``, with its line, or that of ``line_of`` where it is missing."""
        line = key_line(self.text, line_of or key)
        place = f"{self.path}, line {line}" if line else str(self.path)
        return SettingsError(f"{place}: {key} {what}", hint=hint)


def key_line(text: str, key: str) -> int | None:
    """The line, from 1, of a key such as ``dark``, ``colors.primary`` or ``[colors]`` in TOML.

    None where no line begins with it. For messages: what stands inside of texts is not looked at.
    """
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _bare(header[1])
            if key == f"[{table}]":
                return number
        elif entry := _ENTRY.match(line):
            name = _bare(entry[1])
            if key == (f"{table}.{name}" if table else name):
                return number
            # A table may be written inline, or as dotted keys.
            if not table and key.startswith(("[" + name + "]", name + ".")):
                return number
    return None


def _bare(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _read_text(path: Path) -> _Source:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SettingsError(f"{path}: the file is larger than 64 KiB", hint="themes are small")
        return _Source(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the file cannot be read: {error}", hint="check it") from error


def _parse(source: _Source) -> dict[str, Any]:
    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        # The parser says the line and the column.
        raise SettingsError(f"{source.path}: not valid TOML: {error}", hint="mend it") from error


def _colors(source: _Source, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise source.mistake("[colors]", "is missing", "add the table with its colours")
    for key in table:
        if key not in COLORS:
            raise source.mistake(f"colors.{key}", "is unknown", "known: " + ", ".join(COLORS))
    for key in REQUIRED_COLORS:
        if key not in table:
            raise source.mistake(
                f"colors.{key}", "is missing", 'write it, such as "#a3b4f5"', line_of="[colors]"
            )
    for key, value in table.items():
        _check_color(source, f"colors.{key}", value)
    return dict(table)


def _variables(source: _Source, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise source.mistake("[variables]", "is no table", "write key = value lines under it")
    for key, value in table.items():
        if not _VARIABLE.fullmatch(key):
            raise source.mistake(f"variables.{key}", "is no name", "use a-z, 0-9 and -")
        if key.endswith("-style"):
            if not isinstance(value, str) or not _STYLE.fullmatch(value):
                raise source.mistake(f"variables.{key}", f"is {value!r}", 'such as "bold"')
        else:
            _check_color(source, f"variables.{key}", value)
    return dict(table)


def _check_color(source: _Source, key: str, value: Any) -> None:
    mistake = source.mistake(
        key, f"is {value!r}, which is no colour", 'write one such as "#a3b4f5"'
    )
    if not isinstance(value, str):
        raise mistake
    try:
        Color.parse(value)
    except ColorParseError as error:
        raise mistake from error
