"""The models that can be chosen now: the built-in guide, and what lies on disk.

A model's name is the same everywhere: ``guide``, a catalogue name (``LFM2-350M``), a repository
(``LiquidAI/LFM2-350M``) or a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lfm2chat.hub import places
from lfm2chat.hub.library import LocalModel, find_model, list_models

GUIDE = places.GUIDE


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model on disk. ``problem`` says why it cannot be used; empty when it can.

    ``borrowed`` files are not ours: nothing may be written beside them.
    """

    name: str
    folder: Path
    size_bytes: int
    builtin: bool = False
    problem: str = ""
    borrowed: bool = False


def guide_folder() -> Path:
    """The folder of the model that ships inside the package."""
    return Path(str(resources.files("lfm2chat.guide")))


def guide_entry() -> ModelEntry:
    """The built-in guide."""
    folder = guide_folder()
    weights = folder / "model.safetensors"
    size = weights.stat().st_size if weights.exists() else 0
    return ModelEntry(GUIDE, folder, size, builtin=True, borrowed=True)


def available_models(models_folder: Path) -> list[ModelEntry]:
    """The guide first, then what ``models_folder`` holds, by name. Reads folders: not for the
    event loop.
    """
    return [guide_entry(), *(_entry(model) for model in list_models(models_folder))]


def resolve_model(name: str, models_folder: Path) -> ModelEntry:
    """The model called ``name``; an empty name means the guide.

    Raises:
        ModelNotFoundError: No such model; the message lists every place looked at.
    """
    if name in ("", GUIDE):
        return guide_entry()
    return _entry(find_model(name, models_folder))


def packed_place(entry: ModelEntry, packed_folder: Path | None) -> Path | None:
    """The folder for the packed weights of ``entry``: a download's belong beside it.

    A folder of the user's own, or of another program, is not ours to write to: those of its model
    go to ``packed_folder``, or nowhere.
    """
    return packed_folder if entry.borrowed else entry.folder


def _entry(model: LocalModel) -> ModelEntry:
    borrowed = model.origin is not places.Origin.OURS
    return ModelEntry(
        model.name, model.folder, model.bytes, problem=model.problem, borrowed=borrowed
    )
