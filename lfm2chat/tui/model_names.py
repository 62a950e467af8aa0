"""The name of a model after ``/model``: where one is typed, and what it may become. No Textual."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lfm2chat.tui.keys import command
from lfm2chat.tui.slash import SLASH_COMMANDS, slash_name

_COMMAND = command("models")
MODEL_COMMAND = slash_name(_COMMAND)
_TYPED = re.compile(r"/(\S+)[ \t]+([^\n]*)")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model that is here, by its name, which may be foreign text."""

    name: str


def typed_model(line: str, column: int) -> str | None:
    """What is typed of a model's name, in front of the cursor of a prompt that holds only ``line``;
    None where none is being typed.
    """
    found = _TYPED.fullmatch(line[:column])
    if found is None or line[column:].strip():
        return None
    called = found[1].casefold()
    ours = any(one.command == _COMMAND.id and one.name == called for one in SLASH_COMMANDS)
    return found[2] if ours else None


def models_matching(typed: str, names: Iterable[str]) -> tuple[ModelName, ...]:
    """The models that ``typed`` may become, in any case and with a maker or without: the one that
    is called so, those that begin so, those that hold it. None where it is all of the only one.
    """
    wanted = typed.rpartition("/")[2].strip().casefold()
    bare = {name: name.rpartition("/")[2].casefold() for name in names}
    holding = [name for name in bare if wanted in bare[name]]
    found = tuple(
        sorted(
            holding,
            key=lambda name: (bare[name] != wanted, not bare[name].startswith(wanted)),
        )
    )
    return () if found == (typed,) else tuple(ModelName(name) for name in found)
