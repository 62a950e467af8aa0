"""Where models lie: the models folder, folders that were added, Hugging Face's own cache.

Names and lengths only; nothing is opened but small JSON files. What was added is kept in
``added.json`` inside the models folder, a name and an absolute path for each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path

from lfm2chat.errors import ConfigError, ModelError
from lfm2chat.hub.catalog import local_name
from lfm2chat.hub.manifest import COMMIT, MANIFEST
from lfm2chat.modelfiles import looks_like_model, open_folder
from lfm2chat.modelfiles.folder import is_file
from lfm2chat.modelfiles.strictjson import read_json
from lfm2chat.paths import PRIVATE_FILE, hugging_face_cache

ADDED = "added.json"
PARTIAL = ".partial"
"""The folder inside the models folder where downloads under way live, and what is leaving."""

GUIDE = "guide"
"""The name of the model inside the package; no other may have it."""


class Origin(StrEnum):
    """Whose a model's files are, and so who may write beside them or delete them."""

    OURS = "ours"
    """In the models folder: downloaded, or put there."""

    ADDED = "added"
    """A folder elsewhere that the user added by name, or gave as a path."""

    CACHE = "cache"
    """In the cache of Hugging Face's own programs."""


@dataclass(frozen=True, slots=True)
class Place:
    """One folder that looks like a model, and the name that it goes by."""

    name: str
    folder: Path
    origin: Origin = Origin.OURS
    repository: str = ""
    revision: str = ""


def places(models_dir: Path) -> Iterator[Place]:
    """Every place of a model: the nearer one first where two have one name. Looked at one by one:
    whoever has found what it wants reads no further.
    """
    seen: set[str] = set()
    for place in chain(_ours(models_dir), _added(models_dir), _cached()):
        if place.name.casefold() not in seen:
            seen.add(place.name.casefold())
            yield place


def read_added(models_dir: Path) -> dict[str, Path]:
    """The folders that were added, by name; none where the list is missing or damaged."""
    try:
        rows = read_json(models_dir / ADDED)
    except ConfigError:
        return {}
    return {
        str(name): Path(folder)
        for name, folder in rows.items()
        if isinstance(folder, str) and Path(folder).is_absolute()
    }


def write_added(models_dir: Path, folders: Mapping[str, Path]) -> None:
    """Keep ``folders`` as what was added; the list is replaced at once.

    Raises:
        ModelError: The disk refuses.
    """
    path = models_dir / ADDED
    temporary = path.with_suffix(".tmp")
    text = json.dumps({name: str(folder) for name, folder in sorted(folders.items())}, indent=2)
    try:
        models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(temporary, flags, PRIVATE_FILE), "w", encoding="utf-8") as stream:
            stream.write(f"{text}\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="check that the folder is yours; LFM2CHAT_HOME names another",
        ) from error


def folder_bytes(folder: Path) -> int:
    """What the files of ``folder`` take on disk; what cannot be looked at counts nothing."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    total += entry.stat().st_size
    except OSError:
        return total
    return total


def _ours(models_dir: Path) -> Iterator[Place]:
    """One or two levels below ``models_dir``: ``name`` or ``organisation/name``."""
    for folder in _folders(models_dir):
        if _looks_like_model(folder):
            yield Place(folder.name, folder)
            continue
        for inner in _folders(folder):
            if _looks_like_model(inner):
                yield Place(f"{folder.name}/{inner.name}", inner)


def _added(models_dir: Path) -> Iterator[Place]:
    for name, folder in sorted(read_added(models_dir).items()):
        yield Place(name, folder, Origin.ADDED)


def _cached() -> Iterator[Place]:
    """Whole LFM2 models of the cache; whatever else lies there is nobody's business here."""
    for folder in _folders(hugging_face_cache()):
        kind, _, repository = folder.name.partition("--")
        repository = repository.replace("--", "/")
        if kind != "models" or repository.count("/") != 1:
            continue
        snapshot = _snapshot(folder)
        if snapshot is not None and not open_folder(snapshot).problem():
            name = local_name(repository)
            yield Place(name, snapshot, Origin.CACHE, repository, snapshot.name)


def _snapshot(folder: Path) -> Path | None:
    """The commit that ``main`` means there."""
    try:
        commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return folder / "snapshots" / commit if COMMIT.fullmatch(commit) else None


def _folders(parent: Path) -> list[Path]:
    """The folders inside ``parent``; hidden ones are ours (partial downloads) or not meant."""
    try:
        entries = sorted(parent.iterdir())
    except OSError:
        return []
    return [entry for entry in entries if entry.name[:1] != "." and entry.is_dir()]


def _looks_like_model(folder: Path) -> bool:
    return looks_like_model(folder) or is_file(folder / MANIFEST)
