"""Which keys the commands have: the registry's, with the user's table ``[keys]`` laid over them.

The table maps a command's id to its keys, ``stop = "escape"``, ``new = "ctrl+n, f13"``; an empty
text takes the keys away. Plain data, no Textual. A mistake costs its own entry only, which keeps
the keys of the registry; everything that shows or binds a key asks a :class:`Keymap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lfm2chat.errors import SettingsError
from lfm2chat.tui.keys import COMMANDS, Command


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")
PUNCTUATION = _names(
    "comma full_stop slash backslash minus plus equals_sign semicolon colon apostrophe "
    "quotation_mark question_mark exclamation_mark underscore tilde grave_accent circumflex_accent "
    "left_square_bracket right_square_bracket left_parenthesis right_parenthesis "
    "left_curly_bracket right_curly_bracket less_than_sign greater_than_sign vertical_line "
    "number_sign dollar_sign percent_sign ampersand asterisk at"
)
NAMED = _names(
    "escape enter tab space backspace delete insert home end pageup pagedown up down left right"
) | {f"f{number}" for number in range(1, 25)}
# Readline's keys belong to whoever writes, everywhere.
READLINE = frozenset(f"ctrl+{letter}" for letter in "aekuwdy")
# A terminal sends the same byte for these as for tab, enter and backspace.
SAME_BYTE = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace"}
# Keys without which nobody can write; a command that works everywhere may not take them.
WRITING = _names(
    "enter shift+enter tab shift+tab space backspace delete home end up down left right"
)
# What works everywhere is pressed in the prompt too.
EVERYWHERE, PROMPT = "app", "prompt"
SHOWN_NAMES = {
    "escape": "Esc",
    "slash": "/",
    "delete": "Del",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "enter": "Enter",
    "backslash": "\\",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}
ARROWS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}


def key_name(key: str) -> str:
    """A key as people read it: ``ctrl+n`` is ``^n``, ``f1`` is ``F1``, ``escape`` is ``Esc``."""
    if key in SHOWN_NAMES:
        return SHOWN_NAMES[key]
    modifier, _, rest = key.rpartition("+")
    name = SHOWN_NAMES.get(rest, rest)
    if modifier == "ctrl" and len(name) == 1:
        return f"^{name}"
    if name.startswith("f") and name[1:].isdigit():
        name = name.upper()
    if not modifier:
        return ARROWS.get(name, name)
    return "+".join([*(part.capitalize() for part in modifier.split("+")), ARROWS.get(name, name)])


def no_key(id: str) -> str:
    """What stands for the key of a command that has none: Textual takes no empty ones, and a
    binding has to be there for the user's keys to replace it. No terminal sends it.
    """
    return f"none_{id}"


@dataclass(frozen=True, slots=True)
class Keymap:
    """The commands with the keys that they have now, in the order of the registry.

    Attributes:
        commands: What the registry holds; ``keys`` may be empty.
        changed: The ids whose keys are the user's.
        errors: One for each entry of the table that could not be used.
    """

    commands: tuple[Command, ...] = COMMANDS
    changed: frozenset[str] = frozenset()
    errors: tuple[SettingsError, ...] = ()

    def bindings(self) -> dict[str, str]:
        """The keys that each command of the user's has, as Textual's own keymap wants them."""
        return {name: ",".join(self.command(name).keys) or no_key(name) for name in self.changed}

    def command(self, id: str) -> Command:
        """The command with this id.

        Raises:
            KeyError: There is none.
        """
        for entry in self.commands:
            if entry.id == id:
                return entry
        raise KeyError(id)

    def has(self, id: str, key: str) -> bool:
        """Whether ``key`` is one of the command's."""
        return key in self.command(id).keys

    def shown(self, id: str) -> str:
        """The first key as people read it; where there is none, the command's name in the
        palette.
        """
        entry = self.command(id)
        return key_name(entry.keys[0]) if entry.keys else f"“{entry.label}”"

    def spelled(self, id: str) -> str:
        """As :meth:`shown`, for a sentence: ``Ctrl+C`` and not ``^c``."""
        entry = self.command(id)
        modifier, _, rest = entry.keys[0].rpartition("+") if entry.keys else ("", "", "")
        if not modifier or len(rest) != 1:
            return self.shown(id)
        return "+".join(part.capitalize() for part in (*modifier.split("+"), rest))

    def shown_keys(self, id: str) -> str:
        """All keys as people read them; may be empty."""
        return ", ".join(key_name(key) for key in self.command(id).keys)


STANDARD = Keymap()


def keymap_of(app: object) -> Keymap:
    """The keymap of the app; the registry's own for one that has none."""
    found = getattr(app, "keymap", None)
    return found if isinstance(found, Keymap) else STANDARD


def read_keymap(table: Mapping[str, Any], *, where: str) -> Keymap:
    """The registry with ``table`` laid over it; ``where`` is the file that errors name."""
    wanted: dict[str, tuple[str, ...]] = {}
    errors: list[SettingsError] = []
    for name, value in table.items():
        try:
            wanted[name] = _read_entry(name, value, where=where)
        except SettingsError as error:
            errors.append(error)
    # An entry that is dropped gives its command the old keys back, which may clash in turn.
    while (clash := _first_clash(wanted)) is not None:
        name, key, other = clash
        del wanted[name]
        errors.append(
            _mistake(where, name, f"{key!r} is a key of {other!r} too", "give one of them another")
        )
    commands = tuple(replace(entry, keys=wanted.get(entry.id, entry.keys)) for entry in COMMANDS)
    return Keymap(commands, frozenset(wanted), tuple(errors))


def _read_entry(name: str, value: Any, *, where: str) -> tuple[str, ...]:
    command = next((entry for entry in COMMANDS if entry.id == name), None)
    if command is None:
        known = ", ".join(entry.id for entry in COMMANDS)
        raise _mistake(where, name, "there is no such command", f"known are: {known}")
    if not isinstance(value, str):
        raise _mistake(
            where, name, f"is {value!r}", 'write its keys as a text, such as "ctrl+n, f6"'
        )
    keys = tuple(dict.fromkeys(_small(part.strip()) for part in value.split(",") if part.strip()))
    for key in keys:
        _check_key(command, key, where=where)
    # As the terminal's reports are named: the modifiers in the order of the alphabet.
    return tuple("+".join([*sorted(key.split("+")[:-1]), key.split("+")[-1]]) for key in keys)


def _small(key: str) -> str:
    # A letter alone is itself: y and Y are two keys.
    return key if len(key) == 1 else key.lower()


def _check_key(command: Command, key: str, *, where: str) -> None:
    *modifiers, base = key.split("+")
    good = (base in NAMED or base in PUNCTUATION or (len(base) == 1 and base.isalnum())) and all(
        modifier in MODIFIERS for modifier in modifiers
    )
    if not good or len(set(modifiers)) != len(modifiers):
        raise _mistake(
            where, command.id, f"{key!r} is no key", 'such as "ctrl+n", "f6", "alt+up", "escape"'
        )
    if key in SAME_BYTE:
        raise _mistake(
            where, command.id, f"{key!r} reaches no program: it is {SAME_BYTE[key]}", "take another"
        )
    if command.scope in (EVERYWHERE, PROMPT) and key not in command.keys:
        typed = set(modifiers) <= {"shift"} and (len(base) == 1 or base in PUNCTUATION)
        sends = command.scope == PROMPT and base == "enter"
        if typed or key in READLINE or (key in WRITING and not sends):
            raise _mistake(where, command.id, f"{key!r} is needed for writing", "take another key")


def _first_clash(wanted: Mapping[str, tuple[str, ...]]) -> tuple[str, str, str] | None:
    """An entry of the user's to drop, the key, and the other command that has it."""
    for name in reversed(list(wanted)):
        for other, key in _others_with_keys_of(name, wanted):
            return name, key, other
    return None


def _others_with_keys_of(
    name: str, wanted: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    scopes = {entry.id: entry.scope for entry in COMMANDS}
    for entry in COMMANDS:
        same = entry.scope == scopes[name] or {entry.scope, scopes[name]} == {EVERYWHERE, PROMPT}
        if entry.id != name and same:
            theirs = wanted.get(entry.id, entry.keys)
            yield from ((entry.id, key) for key in wanted[name] if key in theirs)


def _mistake(where: str, name: str, what: str, hint: str) -> SettingsError:
    return SettingsError(f"{where}: keys.{name}: {what}", hint=hint)
