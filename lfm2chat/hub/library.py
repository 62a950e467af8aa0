"""The models on disk: what the models folder holds, and finding one by name or by path.

Only names, lengths and each config.json are read (never the weights, never the network), so a
list of ten models takes a few milliseconds; the header of a GGUF file, which has the vocabulary in
it, takes a tenth of a second. A broken folder is listed with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.errors import ModelError, ModelNotFoundError
from lfm2chat.hub.catalog import catalog, find_card, is_repository, local_name
from lfm2chat.hub.manifest import MANIFEST, read_manifest
from lfm2chat.modelfiles import looks_like_model, open_folder
from lfm2chat.modelfiles.folder import GGUF, is_file


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One model folder.

    Attributes:
        name: What the user calls it: the folder's name, with its organisation where it has one.
        folder: Where it lies, absolute.
        bytes: What its files take on disk.
        repository: Where it was pulled from; empty for a folder that the user made.
        revision: The commit it was pulled at, 40 hex digits; empty as above.
        problem: Why it cannot be used, as one sentence; empty when nothing is known against it.
    """

    name: str
    folder: Path
    bytes: int
    repository: str = ""
    revision: str = ""
    problem: str = ""


def list_models(models_dir: Path) -> list[LocalModel]:
    """Every model folder under ``models_dir``, sorted by name; broken ones carry a ``problem``.

    A missing ``models_dir`` is an empty list.
    """
    found = [describe(folder, name) for name, folder in _candidates(models_dir)]
    return sorted(found, key=lambda model: model.name.casefold())


def find_model(name: str, models_dir: Path) -> LocalModel:
    """The model called ``name``: a name, a repository, or the path of a folder or a GGUF file.

    Names are compared in any case of letters. A name wins over a path of the same spelling.

    Raises:
        ModelNotFoundError: Nothing by that name; the message lists every place looked at.
        ModelError: The folder is there but cannot be used; the message says why.
    """
    wanted = {name.casefold()}
    card = find_card(name)
    if card is not None:
        wanted.add(card.name.casefold())
    elif is_repository(name):
        wanted.add(local_name(name).casefold())
    for candidate, folder in _candidates(models_dir):
        if candidate.casefold() in wanted:
            return _usable(describe(folder, candidate))
    path = Path(name).expanduser()
    if path.suffix.lower() == GGUF and is_file(path):
        path = path.absolute().parent
    if name.strip() and path.is_dir():
        path = path.absolute()
        return _usable(describe(path, path.name or str(path)))
    raise _not_found(name, models_dir, path)


def describe(folder: Path, name: str) -> LocalModel:
    """What ``folder`` holds, under the name ``name``; a fault becomes its ``problem``."""
    manifest = read_manifest(folder)
    return LocalModel(
        name=name,
        folder=folder.absolute(),
        bytes=_bytes(folder),
        repository=manifest.repository if manifest else "",
        revision=manifest.commit if manifest else "",
        problem=(manifest.damage(folder) if manifest else "") or open_folder(folder).problem(),
    )


def _usable(model: LocalModel) -> LocalModel:
    if not model.problem:
        return model
    again = f"run `lfm2chat models pull {model.repository}` to mend it"
    raise ModelError(
        f"the model in {model.folder} cannot be used: {model.problem}",
        hint=again if model.repository else "put a whole LFM2 folder there, or choose another",
    )


def _candidates(models_dir: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of all that looks like a model, one or two levels below ``models_dir``."""
    for folder in _folders(models_dir):
        if _looks_like_model(folder):
            yield folder.name, folder
            continue
        for inner in _folders(folder):
            if _looks_like_model(inner):
                yield f"{folder.name}/{inner.name}", inner


def _folders(parent: Path) -> list[Path]:
    """The folders inside ``parent``; hidden ones are ours (partial downloads) or not meant."""
    try:
        entries = sorted(parent.iterdir())
    except OSError:
        return []
    return [entry for entry in entries if entry.name[:1] != "." and entry.is_dir()]


def _looks_like_model(folder: Path) -> bool:
    return looks_like_model(folder) or is_file(folder / MANIFEST)


def _bytes(folder: Path) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    total += entry.stat().st_size
    except OSError:
        return total
    return total


def _not_found(name: str, models_dir: Path, path: Path) -> ModelNotFoundError:
    places = [str(models_dir / local_name(name)), str(path.absolute())]
    here = ", ".join(model.name for model in list_models(models_dir)) or "none"
    card = find_card(name)
    if card is not None:
        hint = f"run `lfm2chat models pull {card.name}` to download it"
    elif is_repository(name):
        hint = f"run `lfm2chat models pull {name}` to download it"
    else:
        known = ", ".join(card.name for card in catalog())
        hint = f"on disk: {here}; to download with `lfm2chat models pull NAME`: {known}"
    return ModelNotFoundError(
        f"there is no model named {name!r}; looked at {' and '.join(dict.fromkeys(places))}",
        hint=hint,
    )
