"""`lfm2chat prune` and `lfm2chat uninstall-data`: making room, and leaving nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from lfm2chat.chat.text import safe
from lfm2chat.cli.process import confirm, exit_codes, narrate, prepare_folders, size
from lfm2chat.errors import StoreError
from lfm2chat.paths import Paths
from lfm2chat.runtime.leftovers import (
    Kind,
    find_everything,
    find_leftovers,
    remove,
    remove_empty_folders,
)
from lfm2chat.store.db import is_open_elsewhere

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@exit_codes()
def prune(
    packed: Annotated[bool, typer.Option("--packed", help="Packed models alone.")] = False,
    contexts: Annotated[bool, typer.Option("--contexts", help="Saved contexts alone.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Partial downloads alone.")] = False,
    yes: Yes = False,
) -> None:
    """Delete what can be made again: packed models, saved contexts, partial downloads.

    Conversations, settings and whole models stay.
    """
    wanted = {Kind.PACKED: packed, Kind.CONTEXTS: contexts, Kind.PARTIAL: partial}
    kinds = [kind for kind in Kind if wanted[kind]] or list(Kind)
    found = find_leftovers(prepare_folders(), kinds)
    for kind, group in groupby(found, key=lambda one: one.kind):
        several = list(group)
        total = size(sum(one.size_bytes for one in several))
        print(f"{kind:<20} {len(several):>5}  {total:>9}")
    if not found:
        narrate("there is nothing to delete")
        return
    if not yes:
        confirm(f"delete {size(sum(one.size_bytes for one in found))}?")
    for one in found:
        remove(one.path)
    narrate("deleted")


@exit_codes()
def uninstall_data(yes: Yes = False) -> None:
    """Delete everything that lfm2chat keeps: conversations, models, settings, caches, the log.

    The program itself stays: remove it with the tool that installed it.
    """
    paths = Paths.from_environment()
    if is_open_elsewhere(paths.store):
        raise StoreError("lfm2chat is running with these conversations", hint="close it first")
    everything = find_everything(paths)
    for path, size_bytes in everything:
        print(safe(f"{size(size_bytes):>9}  {path}"))
    if everything and not yes:
        confirm("delete all of this, for ever?")
    for path, _ in everything:
        remove(path)
    _tell_what_is_left(remove_empty_folders(paths))


def _tell_what_is_left(folders: Sequence[Path]) -> None:
    for folder in folders:
        if names := sorted(entry.name for entry in folder.iterdir()):
            narrate(f"{folder} stays: {', '.join(names[:5])} is not lfm2chat's")
    narrate("nothing of lfm2chat is left but the program")
