"""Adding a folder as a model, removing a model, and proving that its bytes are what they were."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.errors import ModelError
from lfm2chat.hub.catalog import catalog
from lfm2chat.hub.library import LocalModel, describe
from lfm2chat.hub.manifest import SHA256, read_manifest
from lfm2chat.hub.places import (
    GUIDE,
    PARTIAL,
    Origin,
    Place,
    places,
    read_added,
    write_added,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """One file of a model: whether its bytes are those that were promised for it.

    ``problem`` is one phrase, empty where all is well.
    """

    file: str
    size_bytes: int
    problem: str = ""


def add_model(folder: Path, models_dir: Path, *, name: str = "") -> LocalModel:
    """Let the model in ``folder`` be called ``name`` (empty: as the folder is), where it lies.

    Nothing is copied, and nothing is ever written into it.

    Raises:
        ModelError: It cannot be used, or another model has that name.
    """
    folder = folder.expanduser().absolute()
    name = name or folder.name
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} cannot be the name of a model",
            hint="give it one of letters, digits, '.', '_' and '-' with --name",
        )
    added = read_added(models_dir)
    taken = {place.name.casefold() for place in places(models_dir)} | {GUIDE}
    taken |= {card.name.casefold() for card in catalog()}
    if name.casefold() in taken and added.get(name) != folder:
        raise ModelError(
            f"there is a model named {name} already", hint="give this one another with --name"
        )
    model = describe(Place(name, folder, Origin.ADDED))
    if model.problem:
        raise ModelError(
            f"the model in {folder} cannot be used: {model.problem}",
            hint="add a folder with a whole LFM2 model",
        )
    write_added(models_dir, {**added, name: folder})
    return model


def remove_model(model: LocalModel, models_dir: Path) -> None:
    """Delete the files of ``model`` with what was packed beside them; forget an added one.

    The folder vanishes at once: a half model is never seen.

    Raises:
        ModelError: It belongs to another program, or the disk refuses.
    """
    added = read_added(models_dir)
    if model.origin is Origin.ADDED:
        if added.pop(model.name, None) is None:
            raise ModelError(
                f"{model.folder} is a folder of your own", hint="delete it as you made it"
            )
        write_added(models_dir, added)
        return
    if model.origin is Origin.CACHE:
        raise ModelError(
            f"{model.name} lies in the cache of Hugging Face's own programs, {model.folder}",
            hint=f"they remove it: `hf cache rm model/{model.repository}`",
        )
    leaving = models_dir / PARTIAL / f"removed-{model.name.replace('/', '--')}"
    try:
        leaving.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(leaving, ignore_errors=True)
        model.folder.rename(leaving)
        shutil.rmtree(leaving)
        if model.folder.parent != models_dir.absolute() and not any(model.folder.parent.iterdir()):
            model.folder.parent.rmdir()
    except OSError as error:
        raise ModelError(
            f"{model.folder} cannot be removed: {error.strerror or error}",
            hint="check that the folder is yours",
        ) from error


def verify_model(
    model: LocalModel, *, on_progress: Callable[[int], None] = lambda _: None
) -> list[Checked]:
    """Read every byte of ``model`` and compare it with what its download promised.

    Blocks for about a second for each gigabyte. ``on_progress`` is told the bytes read so far.
    Of a folder of the user's own nothing was promised: its list is empty.
    """
    read = 0

    def count(more: int) -> None:
        nonlocal read
        read += more
        on_progress(read)

    return [
        Checked(name, size, _difference(model.folder / name, size, promised, count))
        for name, size, promised in _promises(model)
    ]


def _promises(model: LocalModel) -> Iterator[tuple[str, int, str]]:
    """Name, length and hash of each file: SHA-256 in hex, or Git's SHA-1 of the blob."""
    if model.origin is Origin.CACHE:
        # Each is a link to a blob that is named by the hash of its content.
        for path in sorted(model.folder.iterdir()):
            target = path.resolve()
            if target.is_file():
                yield path.name, target.stat().st_size, target.name
        return
    manifest = read_manifest(model.folder) if model.origin is Origin.OURS else None
    for name, record in sorted(manifest.files.items()) if manifest is not None else ():
        yield name, record.size, record.sha256


def _difference(path: Path, size: int, promised: str, count: Callable[[int], None]) -> str:
    blob = not SHA256.fullmatch(promised)
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if blob else hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                count(len(piece))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if digest.hexdigest() == promised else "has other bytes than were promised"
