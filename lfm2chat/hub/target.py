"""What a pull is about: which files of which repository, and whether they are here already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.errors import UsageError
from lfm2chat.hub.catalog import find_card, local_name, repository_of
from lfm2chat.hub.library import LocalModel, describe
from lfm2chat.hub.manifest import read_manifest
from lfm2chat.hub.places import PARTIAL, Origin, Place, folder_bytes, places
from lfm2chat.hub.upkeep import verify_model

ARRIVED = "files"
"""The folder for whole files inside that of a download under way."""

GGUF = "-GGUF"
"""What the name of a repository with GGUF files ends in."""

_KIND = re.compile(r"[A-Za-z0-9_]{1,16}")


@dataclass(frozen=True, slots=True)
class Target:
    """One model to pull.

    Attributes:
        name: What it will be called on disk.
        repository: Where it comes from.
        revision: A branch, tag or commit.
        gguf: Which kind of GGUF file it is; empty for a checkpoint.
    """

    name: str
    repository: str
    revision: str
    gguf: str = ""

    @classmethod
    def of(cls, name: str, *, revision: str = "", gguf: str = "") -> Target:
        """What ``name``, of the catalogue or a repository, means.

        An empty ``revision`` is the one of the catalogue, else ``main``.

        Raises:
            ModelNotFoundError: The name is neither in the catalogue nor a repository's.
            UsageError: There is no such kind of GGUF file.
        """
        repository = repository_of(name)
        if not gguf:
            card = find_card(repository)
            pinned = card.revision if card is not None else ""
            return cls(local_name(repository), repository, revision or pinned or "main")
        if not _KIND.fullmatch(gguf):
            raise UsageError(
                f"{gguf!r} is no kind of GGUF file", hint="Q4_0, Q8_0, F16 and BF16 are"
            )
        plain = repository.removesuffix(GGUF)
        named = f"{local_name(plain)}-{gguf}"
        return cls(named, f"{plain}{GGUF}", revision or "main", gguf)

    @property
    def staging(self) -> str:
        """The name of the folder where it arrives."""
        ending = f"-{self.gguf}" if self.gguf else ""
        return f"{self.repository}{ending}".replace("/", "--")

    def arrived_bytes(self, models_dir: Path) -> int:
        """How much of an unfinished download lies on disk. Reads a folder."""
        staging = models_dir / PARTIAL / self.staging
        return folder_bytes(staging) + folder_bytes(staging / ARRIVED)

    def place(self, models_dir: Path) -> Place:
        """Where it will lie."""
        return Place(self.name, models_dir / self.name)

    def installed(self, models_dir: Path, revision: str = "") -> LocalModel | None:
        """The model on disk if a pull of it, or of another ``revision``, has nothing to do."""
        manifest = read_manifest(models_dir / self.name)
        if manifest is None or manifest.repository != self.repository:
            return None
        if (revision or self.revision) not in ("main", manifest.revision, manifest.commit):
            return None
        model = describe(self.place(models_dir))
        return None if model.problem else model

    def cached(self, models_dir: Path) -> LocalModel | None:
        """The model in the cache of Hugging Face's own programs, if a pull would bring the same.

        Every byte of it is read: it must be what its name promises.
        """
        for place in places(models_dir) if not self.gguf else ():
            if place.origin is Origin.CACHE and place.repository == self.repository:
                model = describe(place)
                same = self.revision in ("main", place.revision) and not model.problem
                intact = same and not any(file.problem for file in verify_model(model))
                return model if intact else None
        return None
