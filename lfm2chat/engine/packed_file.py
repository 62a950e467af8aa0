"""A packed model on the disk: quantized once, then read in one go.

In: a :class:`PackedModel` and a fingerprint of the weights that it was made from. Out: a file, or
the model again. Whatever differs, a torn, cut, changed or foreign file, is a
:class:`WeightsError`: the caller packs anew.

The file, all numbers little-endian::

    8 bytes   magic                  JSON   fingerprint, precision, byte order
    u32       format number          u32    CRC-32 of everything before
    u32       bytes of JSON          zeros  up to a multiple of 4096
    then the buffer, and its CRC-32
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

from lfm2chat.engine.files import new_file, regular_file
from lfm2chat.engine.packed import PackedModel, allocate, buffer_bytes
from lfm2chat.engine.quantize import Precision
from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles.strictjson import parse_json
from lfm2chat.spec.config import Lfm2Config

FORMAT = 1
"""Goes up with every change of the layout, and of how numbers are rounded."""

_MAGIC = b"\x89LFM2PK\n"
_FIXED = struct.Struct("<8sII")
_CRC = struct.Struct("<I")
_MAX_JSON_BYTES = 4096
_PAGE = 4096
_PIECE = 4 << 20  # read, and then checked while it is in the processor's cache
_SYNC_BYTES = 64 << 20


def save_packed(packed: PackedModel, path: Path, *, fingerprint: str) -> None:
    """Write ``packed`` to ``path``; the file there is replaced at once, by a whole one, or not.

    Raises:
        WeightsError: The file cannot be written (a full disk, no right).
    """
    data = _bytes_of(packed)
    try:
        with new_file(path) as (file, name):
            file.write(_header(packed.precision, fingerprint))
            crc = 0
            for at in range(0, len(data), _SYNC_BYTES):
                piece = data[at : at + _SYNC_BYTES]
                crc = zlib.crc32(piece, crc)
                file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            file.write(_CRC.pack(crc))
            file.flush()
            os.fsync(file.fileno())
            name.replace(path)
    except OSError as error:
        raise WeightsError(
            f"cannot save the packed model to {path}: {error.strerror or error}",
            hint="free some space; until then the model is packed anew at every start",
        ) from error


def load_packed(
    path: Path, config: Lfm2Config, precision: Precision, *, fingerprint: str
) -> PackedModel:
    """The packed model in ``path``, in memory of its own, every byte checked.

    Every size is derived from ``config`` and compared with the file before anything is allocated.

    Raises:
        WeightsError: No such file, or anything in it is not as it has to be.
        NotEnoughMemoryError: There is no room.
    """
    total = buffer_bytes(config, precision)
    try:
        with regular_file(path) as file:
            start = _check_header(file, path, precision, fingerprint)
            expected = start + total + _CRC.size
            found = os.fstat(file.fileno()).st_size
            if found != expected:
                raise _unusable(path, f"has {found:,} bytes, expected {expected:,}")
            file.seek(start)
            buffer = allocate(total)
            packed = PackedModel(config, precision, buffer)
            data, crc = _bytes_of(packed), 0
            for at in range(0, total, _PIECE):
                piece = data[at : at + _PIECE]
                if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
                    raise _unusable(path, "is cut off")
                crc = zlib.crc32(piece, crc)
            if file.read(_CRC.size) != _CRC.pack(crc):
                raise _unusable(path, "is damaged")
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from error
    return packed


def _bytes_of(packed: PackedModel) -> memoryview:
    """The buffer as bytes, without a copy and without numpy; the model must outlive it."""
    buffer = packed.buffer
    return memoryview((ctypes.c_char * buffer.numel()).from_address(buffer.data_ptr())).cast("B")


def _header(precision: Precision, fingerprint: str) -> bytes:
    facts = {"fingerprint": fingerprint, "precision": precision.value, "byteorder": sys.byteorder}
    text = json.dumps(facts).encode()
    head = _FIXED.pack(_MAGIC, FORMAT, len(text)) + text
    head += _CRC.pack(zlib.crc32(head))
    return head + bytes(-len(head) % _PAGE)


def _check_header(file: BinaryIO, path: Path, precision: Precision, fingerprint: str) -> int:
    """Where the buffer begins.

    Raises:
        WeightsError: The header is another model's, damaged, or no header of ours.
    """
    fixed = file.read(_FIXED.size)
    if len(fixed) < _FIXED.size or not fixed.startswith(_MAGIC):
        raise _unusable(path, "is of another kind")
    _, number, length = _FIXED.unpack(fixed)
    if number != FORMAT or length > _MAX_JSON_BYTES:
        raise _unusable(path, f"is of format {number}, this is {FORMAT}")
    text = file.read(length)
    if file.read(_CRC.size) != _CRC.pack(zlib.crc32(fixed + text)):
        raise _unusable(path, "is damaged")
    try:
        facts = parse_json(text, name=f"the header of {path.name}")
    except ConfigError as error:
        raise _unusable(path, str(error)) from None
    wanted = {"fingerprint": fingerprint, "precision": precision.value, "byteorder": sys.byteorder}
    if facts != wanted:
        raise _unusable(path, "is of other weights, another precision or another machine")
    end: int = _FIXED.size + length + _CRC.size
    return end + -end % _PAGE


def _unusable(path: Path, fault: str) -> WeightsError:
    return WeightsError(
        f"the packed model {path} {fault}", hint="nothing is lost: the model is packed anew"
    )
