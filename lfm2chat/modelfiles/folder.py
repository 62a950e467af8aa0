"""A model's folder, of either kind: a checkpoint (safetensors and JSON), or one GGUF file.

In: a path. Out: an object that reads the configuration, the headers of the weights and the
tokenizer from wherever this kind keeps them. All that differs between the two is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Protocol

from lfm2chat.errors import ModelError, WeightsError
from lfm2chat.modelfiles.config import CONFIG, GenerationConfig, recommended_generation
from lfm2chat.modelfiles.gguf import GgufHeader, read_gguf_header
from lfm2chat.modelfiles.gguf_model import checkpoint_header, gguf_config
from lfm2chat.modelfiles.gguf_vocabulary import Vocabulary, gguf_vocabulary
from lfm2chat.modelfiles.safetensors import Header
from lfm2chat.modelfiles.shards import INDEX, SINGLE, safetensors_headers
from lfm2chat.modelfiles.strictjson import MAX_JSON_BYTES, read_bytes, read_json
from lfm2chat.spec import Lfm2Config

TOKENIZER = "tokenizer.json"
GGUF = ".gguf"


class ModelFolder(Protocol):
    """What both kinds can be asked for. Nothing is read before it is asked for."""

    @property
    def path(self) -> Path:
        """The folder."""

    @property
    def weight_paths(self) -> tuple[Path, ...]:
        """The files with the weights, sorted; empty where there are none."""

    def config(self) -> Lfm2Config:
        """The checked configuration."""

    def declared_dtype(self) -> str:
        """The precision that the configuration names (``bfloat16``); empty where it names none."""

    def generation_config(self) -> GenerationConfig:
        """What is recommended for generation; empty where nothing is."""

    def headers(self) -> Iterator[Header]:
        """The header of each weights file, with the names that a checkpoint has."""

    def description(self) -> bytes:
        """What names this model beside the headers: for its fingerprint."""

    def vocabulary(self) -> Vocabulary | None:
        """The tokenizer where the weights bring it; None where it has files of its own."""

    def problem(self) -> str:
        """Why this is no whole model, as one sentence; empty where nothing is known against it."""


class CheckpointFolder:
    """A folder as it is published: config.json, model.safetensors, tokenizer.json."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def weight_paths(self) -> tuple[Path, ...]:
        """All safetensors files."""
        return tuple(sorted(self.path.glob("*.safetensors")))

    def config(self) -> Lfm2Config:
        """That of config.json."""
        return Lfm2Config.from_dict(read_json(self.path / CONFIG))

    def declared_dtype(self) -> str:
        """``dtype`` in config.json, or ``torch_dtype``, its older name."""
        values = read_json(self.path / CONFIG)
        named = values.get("dtype") or values.get("torch_dtype")
        return named if isinstance(named, str) else ""

    def generation_config(self) -> GenerationConfig:
        """That of generation_config.json."""
        return recommended_generation(self.path)

    def headers(self) -> Iterator[Header]:
        """Those of model.safetensors, or of what its index names."""
        return safetensors_headers(self.path)

    def description(self) -> bytes:
        """The bytes of config.json."""
        return read_bytes(self.path / CONFIG, max_bytes=MAX_JSON_BYTES)

    def vocabulary(self) -> None:
        """It has files of its own."""

    def problem(self) -> str:
        """A bad config.json, or a file that is missing."""
        try:
            self.config()
        except ModelError as error:
            return str(error)
        except OSError as error:
            return f"{CONFIG} cannot be read: {error.strerror or error}"
        if not any(is_file(self.path / name) for name in (SINGLE, INDEX)):
            return f"it has no safetensors weights ({SINGLE})"
        if not is_file(self.path / TOKENIZER):
            return f"it has no {TOKENIZER}"
        return ""


class GgufFolder:
    """A folder with a GGUF file, which has everything inside. Whatever lies beside it is ignored.

    Its header is read once.
    """

    def __init__(self, path: Path, files: tuple[Path, ...]) -> None:
        self.path = path
        self.weight_paths = files

    @cached_property
    def _header(self) -> GgufHeader:
        if len(self.weight_paths) > 1:
            names = " and ".join(file.name for file in self.weight_paths[:4])
            raise WeightsError(
                f"{self.path} holds {names}: each GGUF file needs a folder of its own",
                hint="move all but one of them elsewhere",
            )
        return read_gguf_header(self.weight_paths[0])

    def config(self) -> Lfm2Config:
        """That of the metadata."""
        return gguf_config(self._header)

    def declared_dtype(self) -> str:
        """None: each tensor has its own."""
        return ""

    def generation_config(self) -> GenerationConfig:
        """Nothing: the tokens that end an answer are in the configuration."""
        return GenerationConfig()

    def headers(self) -> Iterator[Header]:
        """That of the file."""
        yield checkpoint_header(self._header)

    def description(self) -> bytes:
        """Nothing: the configuration is in the header."""
        return b""

    def vocabulary(self) -> Vocabulary:
        """That of the metadata."""
        return gguf_vocabulary(self._header)

    def problem(self) -> str:
        """A bad header, or another model's."""
        try:
            self.config()
        except ModelError as error:
            return str(error)
        return ""


def open_folder(folder: Path | ModelFolder) -> ModelFolder:
    """The model in ``folder``, or ``folder`` itself where it is one already.

    A GGUF file counts where there are no safetensors weights: published folders with such weights
    stay what they are whatever somebody puts beside them.
    """
    if not isinstance(folder, Path):
        return folder
    files = _gguf_files(folder)
    if files and not any(is_file(folder / name) for name in (SINGLE, INDEX)):
        return GgufFolder(folder, files)
    return CheckpointFolder(folder)


def looks_like_model(folder: Path) -> bool:
    """Whether ``folder`` holds a file that only models have, good or bad."""
    return any(is_file(folder / name) for name in (CONFIG, SINGLE, INDEX)) or bool(
        _gguf_files(folder)
    )


def read_config(folder: Path | ModelFolder) -> Lfm2Config:
    """The configuration of the model in ``folder``.

    Raises:
        ConfigError: No config.json, not a plain one, another kind of model, a value out of
            bounds.
        WeightsError: It would be in a GGUF file, which is damaged.
    """
    return open_folder(folder).config()


def read_generation_config(folder: Path | ModelFolder) -> GenerationConfig:
    """What ``folder`` recommends; empty where it recommends nothing.

    Raises:
        ConfigError: The file is there but damaged, or a value is out of range.
    """
    return open_folder(folder).generation_config()


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file that can be seen."""
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered
        return False


def _gguf_files(folder: Path) -> tuple[Path, ...]:
    """The GGUF files in ``folder``; a hidden one is a download that goes on, or not meant."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return ()
    return tuple(
        entry
        for entry in entries
        if entry.suffix.lower() == GGUF and entry.name[0] != "." and is_file(entry)
    )
