"""``lfm2chat.json``: what a pulled folder holds, as it was verified, so that it stays provable.

It is written last and is therefore the sign of a complete download.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "lfm2chat.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")

_FORMAT = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One verified file: its length in bytes and the SHA-256 of its content, in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where a folder came from and what was verified.

    Attributes:
        repository: ``organisation/name`` on the hub.
        revision: The branch or tag that was asked for.
        commit: The commit that it meant then, 40 hex digits.
        downloaded: When the download ended, ISO 8601 in UTC.
        files: Every file of the folder but the manifest itself, by name.
    """

    repository: str
    revision: str
    commit: str
    downloaded: str
    files: Mapping[str, FileRecord]

    def write(self, folder: Path) -> None:
        """Put the manifest into ``folder``, durably and at once (a reader sees all or nothing).

        Raises:
            OSError: The disk refuses.
        """
        data = {
            "format": _FORMAT,
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
            "downloaded": self.downloaded,
            "files": {
                name: {"size": record.size, "sha256": record.sha256}
                for name, record in sorted(self.files.items())
            },
        }
        temporary = folder / f"{MANIFEST}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / MANIFEST)

    def damage(self, folder: Path) -> str:
        """What differs on disk, as one phrase; empty when every file is there with its length.

        Only looks at lengths: no file is read.
        """
        for name, record in self.files.items():
            try:
                size = (folder / name).stat().st_size
            except OSError:
                return f"{name} is missing"
            if size != record.size:
                return f"{name} has {size} bytes, expected {record.size}"
        return ""


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of ``folder``; None where there is none that can be trusted.

    A folder without one is not an error: the user may have put it there.
    """
    try:
        with (folder / MANIFEST).open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
        data = json.loads(raw) if len(raw) <= _MAX_BYTES else None
        return _parse(data)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def _parse(data: Any) -> Manifest:
    if data["format"] != _FORMAT or not COMMIT.fullmatch(data["commit"]):
        raise ValueError("not a manifest of this format")
    files: dict[str, FileRecord] = {}
    for name, record in data["files"].items():
        size, sha256 = record["size"], record["sha256"]
        if type(size) is not int or not SHA256.fullmatch(sha256) or Path(name).name != name:
            raise ValueError(f"bad record of {name!r}")
        files[name] = FileRecord(size, sha256)
    repository, revision = data["repository"], data["revision"]
    commit, downloaded = data["commit"], data["downloaded"]
    if not all(isinstance(text, str) for text in (repository, revision, commit, downloaded)):
        raise TypeError("a text of the manifest is not a text")
    return Manifest(repository, revision, commit, downloaded, files)
