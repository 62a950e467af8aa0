"""Reads a file of conversations of any format that we know, recognised by what is in it."""

from __future__ import annotations

import codecs
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from lfm2chat.errors import ArchiveError
from lfm2chat.store.archive import FORMAT, MAX_BYTES, Tree, read_archive
from lfm2chat.store.imports.fields import parsed
from lfm2chat.store.imports.markdown import names_a_speaker, read_markdown
from lfm2chat.store.imports.open_webui import read_chat
from lfm2chat.store.imports.openai import read_conversation
from lfm2chat.store.imports.transcripts import is_ours, read_transcripts
from lfm2chat.store.imports.trees import LeftOut, read_each, refused

_ZIP = b"PK\x03\x04"
# A large export is in several files, with numbers.
_MEMBER = re.compile(r"(?:[^/]+/)?conversations(?:-\d+)?\.json")
_KNOWN = (
    "known are lfm2chat's JSON Lines and Markdown, OpenAI's conversations.json or zip, "
    "Open WebUI's chats, and transcripts with `## User`, `**User:**` or `User:`"
)


class ImportFormat(StrEnum):
    """What a file of conversations is."""

    AUTO = "auto"
    JSONL = "jsonl"
    OPENAI = "openai"
    OPEN_WEBUI = "open-webui"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class Imported:
    """The conversations of a file, and what of it is not in them, with how many of each."""

    trees: tuple[Tree, ...]
    left_out: Mapping[str, int]


def read_conversations(
    path: Path, form: ImportFormat = ImportFormat.AUTO, *, now: float
) -> Imported:
    """All conversations in the file at ``path``; ``now`` is the time of those that have none.

    Raises:
        ArchiveError: It cannot be read, is too large, of no known format, or a part of it
            cannot be meant.
    """
    left_out = LeftOut()
    try:
        with path.open("rb") as file:
            head = file.read(len(_ZIP))
            if head == _ZIP:
                values = [one for data in _members(file) for one in _listed(_json(data))]
                trees = _read_json(values, form, left_out, now)
            else:
                data = head + file.read(MAX_BYTES + 1)
                if len(data) > MAX_BYTES:
                    raise _too_long()
                trees = _read(data, form, left_out, now)
    except OSError as error:
        raise ArchiveError(
            f"cannot read {path}: {error.strerror or error}", hint="check the name of the file"
        ) from error
    return Imported(tuple(trees), +left_out)


def _read(data: bytes, form: ImportFormat, left_out: LeftOut, now: float) -> list[Tree]:
    if form is ImportFormat.AUTO:
        form = _recognised(data)
    if form is ImportFormat.JSONL:
        return read_archive(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)))
    if form is ImportFormat.MARKDOWN:
        return _read_text(data, left_out, now)
    return _read_json(_listed(_json(data)), form, left_out, now)


def _recognised(data: bytes) -> ImportFormat:
    """AUTO stays for JSON, whose conversations are looked at when they are read."""
    begin = data[:1000].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if not begin:
        raise ArchiveError("the file is empty", hint="choose another file")
    if begin == b"{":
        try:
            first = json.loads(data.split(b"\n", 1)[0])
        except (ValueError, RecursionError):
            first = None
        if isinstance(first, dict) and first.get("format") == FORMAT:
            return ImportFormat.JSONL
    return ImportFormat.AUTO if begin in {b"{", b"["} else ImportFormat.MARKDOWN


def _read_json(values: list[Any], form: ImportFormat, left_out: LeftOut, now: float) -> list[Tree]:
    if form is ImportFormat.AUTO:
        form = _recognised_json(values)
    readers = {ImportFormat.OPENAI: read_conversation, ImportFormat.OPEN_WEBUI: read_chat}
    if form not in readers:
        raise ArchiveError(f"the file is JSON, and no {form}", hint=_KNOWN)
    if not values:
        raise ArchiveError("the file holds no conversation", hint="choose another file")
    return read_each(values, partial(readers[form], left_out=left_out, now=now))


def _recognised_json(values: list[Any]) -> ImportFormat:
    """By the first conversation: the readers refuse a file that holds both kinds."""
    first = values[0] if values and isinstance(values[0], dict) else {}
    if "mapping" in first:
        return ImportFormat.OPENAI
    if {"chat", "history", "messages"} & first.keys():
        return ImportFormat.OPEN_WEBUI
    raise ArchiveError("the file is JSON that holds no conversation", hint=_KNOWN)


def _read_text(data: bytes, left_out: LeftOut, now: float) -> list[Tree]:
    try:
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"the file is no text in UTF-8: {error}", hint=_KNOWN) from error
    if is_ours(lines):
        return read_transcripts(lines)
    if not names_a_speaker(lines):
        raise ArchiveError("no line of the file names who speaks", hint=_KNOWN)
    try:
        return [read_markdown(lines, left_out, now)]
    except ValueError as error:
        raise refused(1, "", error) from error


def _json(data: bytes) -> Any:
    try:
        return parsed(data)
    except ValueError as error:
        raise ArchiveError(
            f"the file is no JSON that can be read: {error}",
            hint="nothing was imported; export it once more",
        ) from error


def _listed(value: Any) -> list[Any]:
    """One conversation may stand alone."""
    return value if isinstance(value, list) else [value]


def _members(file: BinaryIO) -> list[bytes]:
    """The files of conversations in a zip, unpacked in memory; nothing else of it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = [one for one in archive.infolist() if _MEMBER.fullmatch(one.filename)]
            if not found:
                raise ArchiveError(
                    "the zip holds no conversations.json", hint="choose the zip that OpenAI sent"
                )
            unpacked: list[bytes] = []
            for member in sorted(found, key=lambda one: one.filename):
                unpacked.append(_unpacked(archive, member, MAX_BYTES - sum(map(len, unpacked))))
            return unpacked
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError,
        RuntimeError,
    ) as error:  # fmt: skip
        raise ArchiveError(
            f"the zip cannot be read: {error}", hint="download it once more, or unpack it yourself"
        ) from error


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise zipfile.BadZipFile(f"{member.filename} is packed in a way that is not known here")
    with archive.open(member) as unpacked:
        # What the zip says of the size may be a lie: only what comes out counts.
        data = unpacked.read(most + 1)
    if len(data) > most:
        raise _too_long()
    return data


def _too_long() -> ArchiveError:
    return ArchiveError(
        f"the file holds more than {MAX_BYTES // 2**20} MiB",
        hint="split it, or export fewer conversations",
    )
