"""The models on disk: what there is, finding one by name or by path.

Only names, lengths and each config.json are read (never the weights, never the network), so a
list of ten models takes a few milliseconds; the header of a GGUF file, which has the vocabulary in
it, takes a tenth of a second. A broken folder is listed with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lfm2chat.errors import ModelError, ModelNotFoundError
from lfm2chat.hub.catalog import catalog, find_card, is_repository, local_name
from lfm2chat.hub.manifest import read_manifest
from lfm2chat.hub.places import Origin, Place, folder_bytes, places
from lfm2chat.modelfiles import open_folder
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
        origin: Whose the files are.
        problem: Why it cannot be used, as one sentence; empty when nothing is known against it.
    """

    name: str
    folder: Path
    bytes: int
    repository: str = ""
    revision: str = ""
    problem: str = ""
    origin: Origin = Origin.OURS


def list_models(models_dir: Path) -> list[LocalModel]:
    """Every model, sorted by name; broken ones carry a ``problem``.

    Those under ``models_dir`` (a missing one holds none), those that were added, and whole ones
    in the cache of Hugging Face's own programs.
    """
    found = [describe(place) for place in places(models_dir)]
    return sorted(found, key=lambda model: model.name.casefold())


def find_model(name: str, models_dir: Path) -> LocalModel:
    """The model called ``name``, as :func:`locate_model` finds it, fit for use.

    Raises:
        ModelNotFoundError: Nothing by that name; the message lists every place looked at.
        ModelError: The folder is there but cannot be used; the message says why.
    """
    return _usable(locate_model(name, models_dir))


def locate_model(name: str, models_dir: Path) -> LocalModel:
    """The model called ``name``: a name, a repository, or the path of a folder or a GGUF file.

    It may be broken.

    Names are compared in any case of letters. A name wins over a path of the same spelling.

    Raises:
        ModelNotFoundError: Nothing by that name; the message lists every place looked at.
    """
    wanted = {name.casefold()}
    card = find_card(name)
    if card is not None:
        wanted.add(card.name.casefold())
    elif is_repository(name):
        wanted.add(local_name(name).casefold())
    for place in places(models_dir):
        if place.name.casefold() in wanted:
            return describe(place)
    path = Path(name).expanduser()
    if path.suffix.lower() == GGUF and is_file(path):
        path = path.absolute().parent
    if name.strip() and path.is_dir():
        path = path.absolute()
        return describe(Place(path.name or str(path), path, Origin.ADDED))
    raise _not_found(name, models_dir, path)


def describe(place: Place) -> LocalModel:
    """What lies at ``place``; a fault becomes its ``problem``."""
    manifest = read_manifest(place.folder) if place.origin is Origin.OURS else None
    return LocalModel(
        name=place.name,
        folder=place.folder.absolute(),
        bytes=folder_bytes(place.folder),
        repository=manifest.repository if manifest else place.repository,
        revision=manifest.commit if manifest else place.revision,
        problem=(manifest.damage(place.folder) if manifest else "")
        or open_folder(place.folder).problem(),
        origin=place.origin,
    )


def _usable(model: LocalModel) -> LocalModel:
    if not model.problem:
        return model
    again = f"run `lfm2chat models pull {model.repository}` to mend it"
    raise ModelError(
        f"the model in {model.folder} cannot be used: {model.problem}",
        hint=again if model.repository else "put a whole LFM2 folder there, or choose another",
    )


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
