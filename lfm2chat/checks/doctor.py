"""Gathers facts on this installation for a person or a bug report. Reads, never changes."""

from __future__ import annotations

import platform
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import lfm2chat
from lfm2chat.engine import available_memory_bytes, choose_device, kernel_names, set_threads
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.paths import Paths
from lfm2chat.runtime.models import available_models
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.settings import Settings, read_settings

LIBRARIES = ("torch", "textual", "rich", "tokenizers", "transformers", "safetensors", "typer")


@dataclass(frozen=True, slots=True)
class Section:
    """A titled list of facts, each with its name."""

    title: str
    rows: tuple[tuple[str, str], ...]


def examine(paths: Paths) -> list[Section]:
    """Everything that `lfm2chat doctor` prints, in order."""
    return [
        Section("versions", tuple(_versions())),
        Section("machine", tuple(_machine(paths))),
        Section("folders", tuple(_folders(paths))),
        Section("models", tuple(_models(paths))),
    ]


def _versions() -> Iterator[tuple[str, str]]:
    yield "lfm2chat", lfm2chat.__version__
    yield "python", platform.python_version()
    yield "sqlite", sqlite3.sqlite_version
    for name in LIBRARIES:
        yield name, metadata.version(name)


def _machine(paths: Paths) -> Iterator[tuple[str, str]]:
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    try:
        settings = read_settings(paths.config_file)
        yield "device", str(choose_device(settings.device))
        yield "threads", str(set_threads(settings.threads))
    except Lfm2ChatError as error:
        yield "settings", f"{error} ({error.hint})"
    yield "kernels", ", ".join(kernel_names())
    memory = available_memory_bytes()
    yield "free memory", "unknown" if memory is None else f"{memory / 1e9:.1f} GB"


def _folders(paths: Paths) -> Iterator[tuple[str, str]]:
    for name in ("data", "config", "cache", "log"):
        yield name, str(getattr(paths, name))
    yield "store", _size_of(paths.store)
    yield "settings", _size_of(paths.config_file)
    yield "log file", _size_of(paths.log_file)
    yield "saved contexts", _saved_contexts(paths)
    yield "free disk", f"{shutil.disk_usage(paths.data).free / 1e9:.1f} GB"


def _size_of(path: Path) -> str:
    return f"{path} ({path.stat().st_size:,} bytes)" if path.exists() else f"{path} (not there)"


def _saved_contexts(paths: Paths) -> str:
    try:
        settings = read_settings(paths.config_file)
    except Lfm2ChatError:  # told among the facts on the machine
        settings = Settings()
    files = SavedFiles(paths.contexts, settings.saved_context_mb << 20).files()
    size = sum(file.size_bytes for file in files)
    return (
        f"{paths.contexts} ({len(files)} of conversations, {size / 1e6:.1f} MB"
        f" of at most {settings.saved_context_mb:,} MB)"
    )


def _models(paths: Paths) -> Iterator[tuple[str, str]]:
    for entry in available_models(paths.models):
        state = entry.problem or "ready"
        yield entry.name, f"{state}, {entry.size_bytes / 1e6:.0f} MB, {entry.folder}"
