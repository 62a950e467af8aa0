"""What can be made again, or was left behind; and all that lfm2chat ever wrote for its user.

Paths and sizes only. Nothing here reads a conversation; imports no torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lfm2chat.errors import StoreError
from lfm2chat.hub.lock import is_held
from lfm2chat.hub.places import PARTIAL, Origin, folder_bytes, places
from lfm2chat.paths import Paths


class Kind(StrEnum):
    """What a leftover is, as a person says it."""

    PACKED = "packed models"
    """Made again, in seconds, when the model is used next."""

    CONTEXTS = "saved contexts"
    """What the model has read, and its summaries; made again when the conversation goes on."""

    PARTIAL = "partial downloads"
    """The next download of that model begins anew."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One file, or one folder with all that is in it."""

    kind: Kind
    path: Path
    size_bytes: int


def find_leftovers(paths: Paths, kinds: Iterable[Kind] = tuple(Kind)) -> list[Leftover]:
    """Everything of ``kinds`` on disk; what a running download holds is left out."""
    finders = {Kind.PACKED: _packed, Kind.CONTEXTS: _contexts, Kind.PARTIAL: _partial}
    return [
        Leftover(kind, path, _size(path)) for kind in kinds for path in sorted(finders[kind](paths))
    ]


def find_everything(paths: Paths) -> list[tuple[Path, int]]:
    """Every file and folder of this user's lfm2chat, by its known name, with its size.

    The four folders themselves are not named: another program's files may lie in them.
    """
    store = paths.store
    known = [
        store, *store.parent.glob(f"{store.name}-*"),
        *store.parent.glob(f"{store.name}.corrupt-*"), store.parent / "backups", paths.models,
        paths.packed, paths.contexts, paths.summaries, paths.kernels, paths.machine,
        paths.config_file, paths.user_themes, paths.copied,
        *paths.log.glob(f"{paths.log_file.name}*"),
    ]  # fmt: skip
    return [(path, _size(path)) for path in known if path.exists() or path.is_symlink()]


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; a link is deleted, not followed.

    Raises:
        StoreError: The disk refuses.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{error.filename or path} cannot be removed: {error.strerror or error}",
            hint="check that it is yours; what came before it is gone",
        ) from error


def remove_empty_folders(paths: Paths) -> list[Path]:
    """Remove the four folders, and the one that holds them all; those that are left over."""
    folders = [paths.data, paths.config, paths.cache, paths.log]
    common = {folder.parent for folder in folders}
    if len(common) == 1:  # LFM2CHAT_HOME
        folders += common
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
    return [folder for folder in folders if folder.exists()]


def _packed(paths: Paths) -> Iterator[Path]:
    yield from paths.packed.glob("*.packed")
    for place in places(paths.models):
        if place.origin is Origin.OURS:
            yield from place.folder.glob("*.packed")


def _contexts(paths: Paths) -> Iterator[Path]:
    yield from paths.contexts.glob("*.cache*")
    yield from paths.summaries.glob("*.summary*")


def _partial(paths: Paths) -> Iterator[Path]:
    folder = paths.models / PARTIAL
    for path in folder.glob("*"):
        if path.suffix != ".lock" and not is_held(folder / f"{path.name}.lock"):
            yield path


def _size(path: Path) -> int:
    if path.is_symlink():
        return 0
    if path.is_dir():
        return sum(folder_bytes(Path(folder)) for folder, _, _ in os.walk(path))
    with suppress(OSError):
        return path.stat().st_size
    return 0
