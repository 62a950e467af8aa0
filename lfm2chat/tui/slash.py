"""Slash commands: what a line that begins with ``/`` means. Plain data and functions, no Textual.

They come from the one registry of commands, and both front ends read them here: the prompt of the
screen and the lines of the plain one. ``//`` at the start sends a message that begins with ``/``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lfm2chat.chat.text import one_line
from lfm2chat.errors import UsageError
from lfm2chat.tui.keys import COMMANDS, Command
from lfm2chat.tui.parameters import FIELDS

_WORD = re.compile(r"/(\S*)\s*(.*)", re.DOTALL)
_HINT_LITERAL = "begin with // to send it as a message"


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One of them. ``name`` is without the slash; ``command`` is the id in the registry.

    ``argument`` says in a word or two what may follow: in brackets where it may be left out, empty
    where nothing may. ``before`` is put in front of what follows.
    """

    name: str
    command: str
    argument: str
    help: str
    before: str = ""

    @property
    def needs_argument(self) -> bool:
        """Whether it means nothing alone."""
        return bool(self.argument) and not self.argument.startswith("[")


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked for: the id of a command in the registry, and what it is given, or ``""``."""

    command: str
    argument: str = ""


def slash_name(command: Command) -> str:
    """What ``command`` is called after a ``/``; empty where it is not."""
    if command.slash is None or command.scope != "app":
        return ""
    return command.slash or command.id.replace("_", "-")


def slash_commands(commands: Iterable[Command]) -> tuple[SlashCommand, ...]:
    """All that ``commands`` can be called by, and one for each sampling parameter whose name is
    free; by name.
    """
    found: dict[str, SlashCommand] = {}
    for entry in commands:
        if not (own := slash_name(entry)):
            continue
        for name in (own, *entry.aliases):
            found[name] = SlashCommand(name, entry.id, entry.argument, entry.help)
    for field in FIELDS:
        name = field.name.replace("_", "-")
        if name in found:
            continue
        said = f"Sample with another {field.name}: {field.span}; {field.meaning}."
        found[name] = SlashCommand(name, "sampling", "[value]", said, before=f"{field.name} ")
    return tuple(found[name] for name in sorted(found))


SLASH_COMMANDS = slash_commands(COMMANDS)


def parse(text: str, known: Sequence[SlashCommand] = SLASH_COMMANDS) -> Call | str:
    """What ``text`` asks for: a command, or a message to be sent (without the first of ``//``).

    Raises:
        UsageError: It begins with a slash and names no command, or the command takes nothing
            like this.
    """
    if not text.startswith("/"):
        return text
    if text.startswith("//"):
        return text[1:]
    match = _WORD.fullmatch(text)
    assert match is not None  # it takes any text with a slash in front
    name, argument = match[1].replace("_", "-").casefold(), match[2].strip()
    entry = next((one for one in known if one.name == name), None)
    if entry is None:
        near = difflib.get_close_matches(name, [one.name for one in known], n=1)
        meant = f"; did you mean /{near[0]}?" if near else ""
        raise UsageError(f"there is no command /{match[1][:40]}{meant}", hint=_HINT_LITERAL)
    if argument and not entry.argument:
        raise UsageError(f"/{entry.name} takes nothing after it", hint=_HINT_LITERAL)
    if entry.needs_argument and not argument:
        raise UsageError(f"/{entry.name} needs more: /{entry.name} {entry.argument}")
    return Call(entry.command, entry.before + argument if argument else "")


def answers_wanted(argument: str) -> int:
    """How many answers a ``/regenerate`` asks for; one where nothing follows it.

    Raises:
        UsageError: ``argument`` is no whole number.
    """
    return whole_number(
        argument or "1", hint="write how many answers you want, as in /regenerate 3"
    )


def whole_number(text: str, *, hint: str) -> int:
    """The number in ``text``.

    Raises:
        UsageError: It is none; ``hint`` says what to do.
    """
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{one_line(text, 40)} is no number", hint=hint) from error


def as_typed(message: str) -> str:
    """What to type so that ``message`` is sent: the other way round of :func:`parse`."""
    return f"/{message}" if message.startswith("/") else message


def message_of(text: str) -> str | None:
    """The message that ``text`` would send, or None where it begins as a command does."""
    if not text.startswith("/"):
        return text
    return text[1:] if text.startswith("//") else None


def typed_name(line: str, column: int) -> str | None:
    """The part of a command's name in front of the cursor of a prompt that holds only ``line``;
    None where no name is being typed.
    """
    if not line.startswith("/") or line.startswith("//") or column < 1:
        return None
    name = line[1:column]
    return None if any(character.isspace() for character in name) else name


def matching(name: str, known: Sequence[SlashCommand] = SLASH_COMMANDS) -> tuple[SlashCommand, ...]:
    """The commands that ``name`` may become: those that begin so, then those that hold it."""
    name = name.replace("_", "-").casefold()
    first = [one for one in known if one.name.startswith(name)]
    rest = [one for one in known if name in one.name and one not in first]
    return (*first, *rest)
