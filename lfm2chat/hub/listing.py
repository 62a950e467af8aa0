"""Which files of a repository are wanted, and what the hub promises about each of them.

Everything the hub says is checked before it is believed: commits and hashes by their grammar,
lengths by their bounds, names against a whitelist. No name of the hub's becomes a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lfm2chat.errors import HubError, WeightsError
from lfm2chat.hub.access import CHECK_MIRROR
from lfm2chat.hub.manifest import COMMIT, SHA256
from lfm2chat.hub.refusals import quote
from lfm2chat.hub.transport import Transport

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

_MAX_PAGES = 20
_MAX_WEIGHTS = 50 * 10**9
_MIB = 1024 * 1024
_LIMITS = {
    CONFIG: _MIB,
    "generation_config.json": _MIB,
    "tokenizer.json": 64 * _MIB,
    "tokenizer_config.json": 16 * _MIB,
    "special_tokens_map.json": _MIB,
    "chat_template.jinja": _MIB,
    "LICENSE": _MIB,
    "LICENSE.md": _MIB,
    "LICENSE.txt": _MIB,
    WEIGHTS_INDEX: 16 * _MIB,
}
"""The small files that are wanted, and the most bytes that each may have."""

_LICENCES = {name for name in _LIMITS if name.startswith("LICENSE")}
_GGUF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.gguf")
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One wanted file as the hub promises it.

    Attributes:
        name: Its name; one of the whitelist, so it is safe as a file name.
        size: Its length in bytes.
        sha256: The SHA-256 of its content, in hex; empty where the hub does not say it.
        git_sha1: The SHA-1 of its blob in Git, in hex; empty where the other is known.
    """

    name: str
    size: int
    sha256: str
    git_sha1: str

    @property
    def key(self) -> str:
        """The hash that names its partial file: 40 or 64 hex digits."""
        return self.sha256 or self.git_sha1

    def check_headers(self, headers: Mapping[str, str]) -> None:
        """Refuse headers of the hub that contradict the listing or break their own grammar.

        Raises:
            HubError: They speak of other content; nothing was written yet.
        """
        linked = headers.get("X-Linked-Etag")
        size = headers.get("X-Linked-Size")
        tag = linked if linked is not None else headers.get("ETag")
        redirects = "Location" in headers
        if size is not None and size != str(self.size):
            self._contradiction("length", size, str(self.size))
        if tag is not None and not (redirects and linked is None):
            value = tag.removeprefix("W/").strip('"')
            if value not in (self.sha256, self.git_sha1) or not value:
                self._contradiction("hash", value, self.key)

    def _contradiction(self, what: str, said: str, expected: str) -> None:
        raise HubError(
            f"the hub names the {what} of {self.name} as {quote(said, limit=80)!r}, "
            f"its own list as {expected!r}",
            hint=f"try again; if it stays, {CHECK_MIRROR}",
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """The wanted files of one commit, config.json first (where one is) and the weights last."""

    repository: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]


def resolve(transport: Transport, repository: str, revision: str) -> str:
    """The commit, 40 hex digits, that ``revision`` of ``repository`` means now.

    Raises:
        HubError: Refused, unreachable, or an answer that breaks its grammar.
    """
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise HubError(
            f"{quote(revision, limit=100)!r} is no revision of a repository",
            hint="give a branch, a tag or a commit; main is the newest",
        )
    subject = f"revision {revision}"
    url = transport.api_url(repository, "revision", revision)
    data, _ = transport.get_json(url, repository=repository, subject=subject)
    commit = data.get("sha") if isinstance(data, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise _malformed(f"names the commit of {repository} as {quote(str(commit), limit=80)!r}")
    return commit


def read_listing(
    transport: Transport, repository: str, revision: str, *, gguf: str = ""
) -> Listing:
    """Resolve ``revision`` of ``repository`` to a commit and list what a model needs of it.

    That is a checkpoint; with ``gguf`` (``Q4_0``, ``F16``, ...) the one GGUF file of that kind.

    Raises:
        HubError: Refused, unreachable, or an answer that breaks its grammar.
        WeightsError: The repository holds no safetensors weights, or no config or tokenizer.
    """
    commit = resolve(transport, repository, revision)
    subject = f"revision {revision}"
    url = transport.api_url(repository, "tree", commit)
    entries: list[Any] = []
    for _ in range(_MAX_PAGES):
        page, url = transport.get_json(url, repository=repository, subject=subject)
        if not isinstance(page, list):
            raise _malformed(f"lists the files of {repository} in no list")
        entries += page
        if not url:
            break
    else:
        raise _malformed(f"lists the files of {repository} on more than {_MAX_PAGES} pages")
    files = _wanted_gguf(repository, entries, gguf) if gguf else _wanted(repository, entries)
    return Listing(repository, revision, commit, files)


def _named(
    repository: str, entries: list[Any], wanted: Callable[[str], object]
) -> dict[str, RemoteFile]:
    """The files of the list whose names are ``wanted``."""
    files: dict[str, RemoteFile] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("type") != "file":
            continue
        name = entry.get("path")
        if not isinstance(name, str) or not wanted(name):
            continue
        if name in files:
            raise _malformed(f"lists {name} of {repository} twice")
        files[name] = _remote_file(name, entry)
    return files


def _wanted_gguf(repository: str, entries: list[Any], kind: str) -> tuple[RemoteFile, ...]:
    ending = f"-{kind}.gguf".casefold()
    every = _named(repository, entries, _GGUF.fullmatch)
    found = [file for name, file in every.items() if name.casefold().endswith(ending)]
    if len(found) != 1:
        kinds = ", ".join(name.removesuffix(".gguf").rpartition("-")[2] for name in sorted(every))
        raise WeightsError(
            f"{repository} has no GGUF file in {kind}",
            hint=f"it has {kinds}" if kinds else "choose a repository with GGUF files",
        )
    licences = _named(repository, entries, _LICENCES.__contains__)
    return (*(file for _, file in sorted(licences.items())), found[0])


def _wanted(repository: str, entries: list[Any]) -> tuple[RemoteFile, ...]:
    files = _named(repository, entries, lambda name: name in _LIMITS or _WEIGHTS.fullmatch(name))
    if WEIGHTS in files:  # a single file wins over shards, as everywhere
        files = {n: f for n, f in files.items() if n == WEIGHTS or n in _LIMITS}
        files.pop(WEIGHTS_INDEX, None)
    missing = [name for name in (CONFIG, "tokenizer.json") if name not in files]
    if WEIGHTS not in files and WEIGHTS_INDEX not in files:
        missing.append("safetensors weights")
    if missing and _named(repository, entries, _GGUF.fullmatch):
        raise WeightsError(
            f"{repository} holds GGUF files", hint="choose one of them: --gguf Q4_0, for example"
        )
    if missing:
        raise WeightsError(
            f"{repository} has no {missing[0]}",
            hint="choose a repository in the safetensors format, such as LiquidAI/LFM2-350M",
        )
    order = sorted(files.values(), key=lambda file: (file.size, file.name))
    return (files[CONFIG], *(file for file in order if file.name != CONFIG))


def _remote_file(name: str, entry: dict[str, Any]) -> RemoteFile:
    size, git_sha1, lfs = entry.get("size"), entry.get("oid"), entry.get("lfs")
    limit = _LIMITS.get(name, _MAX_WEIGHTS)
    if type(size) is not int or not 0 < size <= limit:
        raise _malformed(f"names the length of {name} as {quote(str(size), limit=40)}")
    if lfs is not None:
        sha256 = lfs.get("oid") if isinstance(lfs, dict) else None
        if not isinstance(sha256, str) or not SHA256.fullmatch(sha256) or lfs.get("size") != size:
            raise _malformed(f"describes {name} with a bad SHA-256 or length")
        return RemoteFile(name, size, sha256, "")
    if not isinstance(git_sha1, str) or not COMMIT.fullmatch(git_sha1):
        raise _malformed(f"names the hash of {name} as {quote(str(git_sha1), limit=80)!r}")
    return RemoteFile(name, size, "", git_sha1)


def _malformed(what: str) -> HubError:
    return HubError(
        f"the hub {what}, which is refused",
        hint=f"try again; if it stays, {CHECK_MIRROR}",
    )
