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
from lfm2chat.engine import (
    KernelTrial,
    choose_device,
    kernel_names,
    read_trials,
    set_threads,
)
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.paths import Paths
from lfm2chat.runtime.machine import read_machine
from lfm2chat.runtime.models import available_models
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.summaries import summary_files
from lfm2chat.settings import Settings, read_settings
from lfm2chat.spec.free_memory import available_memory_bytes

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
        Section("kernels tried", tuple(_trials(paths))),
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
    yield "memory speed", _memory_speed(paths)
    memory = available_memory_bytes()
    yield "free memory", "unknown" if memory is None else f"{memory / 1e9:.1f} GB"


def _memory_speed(paths: Paths) -> str:
    machine = read_machine(paths.machine)
    if machine is None:
        return "not measured (`lfm2chat bench --machine` does)"
    speed, day = machine.read_bytes_per_s / 1e9, machine.measured_at[:10]
    return f"{speed:.1f} GB/s on {machine.threads} threads, measured {day}"


def _folders(paths: Paths) -> Iterator[tuple[str, str]]:
    for name in ("data", "config", "cache", "log"):
        yield name, str(getattr(paths, name))
    yield "store", _size_of(paths.store)
    yield "settings", _size_of(paths.config_file)
    yield "log file", _size_of(paths.log_file)
    yield "saved contexts", _saved_contexts(paths)
    count = len(summary_files(paths.summaries).files())
    yield "summaries", f"{paths.summaries} ({count} of conversations)"
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


def _trials(paths: Paths) -> Iterator[tuple[str, str]]:
    """For each kind of model the kernels that were chosen for it, with the figures of all."""
    trials = read_trials(paths.kernels)
    if not trials:
        yield "none", "they are tried when a model in 8 or 4 bits is first loaded"
    for trial in trials:
        yield _trial(trial)


def _trial(trial: KernelTrial) -> tuple[str, str]:
    times = ", ".join(
        f"{time.name} {1e3 * time.decode_s:.1f} and {1e3 * time.read_64_s:.1f} ms"
        for time in trial.times
    )
    kind = f"{trial.weights / 1e6:,.0f} M in {trial.bits} bits"
    again = ", beside other programs: will be tried again" if trial.provisional else ""
    return kind, (
        f"{trial.chosen}, on {trial.threads} threads, tried {trial.tried_at[:10]}{again}"
        f" (one token, and 64 read: {times})"
    )
