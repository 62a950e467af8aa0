"""A packed model on the disk: quantized once, then read in one go.

In: a :class:`PackedModel` and a fingerprint of the weights that it was made from. Out: a file, or
the model again. Whatever differs, a torn, cut, changed or foreign file, is a
:class:`WeightsError`: the caller packs anew.

The file, all numbers little-endian::

    8 bytes   magic                  JSON   fingerprint, precision, byte order
    u32       format number          u32    CRC-32 of everything before
    u32       bytes of JSON          zeros  up to a multiple of 4096
    then the buffer
    u32       CRC-32 of each 4 MiB of the buffer, and one of all these
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from lfm2chat.engine.files import new_file, regular_file
from lfm2chat.engine.packed import PackedModel, allocate, buffer_bytes
from lfm2chat.engine.quantize import Precision
from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles.strictjson import parse_json
from lfm2chat.spec.config import Lfm2Config

FORMAT = 3
"""Goes up with every change of the layout, and of how numbers are rounded."""

_MAGIC = b"\x89LFM2PK\n"
_FIXED = struct.Struct("<8sII")
_CRC = struct.Struct("<I")
_MAX_JSON_BYTES = 4096
_PAGE = 4096
_PIECE = 4 << 20
_READ_BYTES = 1 << 20  # and then checked while it is in the processor's cache
_SYNC_PIECES = 16
_MOST_THREADS = 4


def save_packed(packed: PackedModel, path: Path, *, fingerprint: str) -> None:
    """Write ``packed`` to ``path``; the file there is replaced at once, by a whole one, or not.

    Raises:
        WeightsError: The file cannot be written (a full disk, no right).
    """
    data = _bytes_of(packed)
    try:
        with new_file(path) as (file, name):
            file.write(_header(packed.precision, fingerprint))
            table = b""
            for number, at in enumerate(range(0, len(data), _PIECE)):
                piece = data[at : at + _PIECE]
                table += _CRC.pack(zlib.crc32(piece))
                file.write(piece)
                if number % _SYNC_PIECES == 0:
                    file.flush()
                    os.fsync(file.fileno())
            file.write(table + _CRC.pack(zlib.crc32(table)))
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
            expected = start + total + (pieces(total) + 1) * _CRC.size
            found = os.fstat(file.fileno()).st_size
            if found != expected:
                raise _unusable(path, f"has {found:,} bytes, expected {expected:,}")
            file.seek(start + total)
            *crcs, over_all = struct.iter_unpack("<I", file.read())
            table = b"".join(_CRC.pack(*crc) for crc in crcs)
            if over_all != (zlib.crc32(table),):
                raise _unusable(path, "is damaged")
            packed = PackedModel(config, precision, allocate(total))
            _read(file.fileno(), start, _bytes_of(packed), [crc for (crc,) in crcs], path)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from error
    return packed


def pieces(total: int) -> int:
    """How many pieces of their own CRC a buffer of ``total`` bytes has."""
    return -(-total // _PIECE)


def _read(number: int, start: int, data: memoryview, crcs: list[int], path: Path) -> None:
    """Fill ``data`` from the open file ``number``, in threads: both steps let Python go on.

    Raises:
        WeightsError: The file ends too soon, or a piece is not what was written.
    """

    def read(piece: int) -> str:
        crc = 0
        for at in range(piece * _PIECE, min((piece + 1) * _PIECE, len(data)), _READ_BYTES):
            part = data[at : min(at + _READ_BYTES, (piece + 1) * _PIECE)]
            if _read_at(number, part, start + at) != len(part):
                return "is cut off"
            crc = zlib.crc32(part, crc)
        return "" if crc == crcs[piece] else "is damaged"

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        problem = next(filter(None, pool.map(read, range(len(crcs)))), "")
    if problem:
        raise _unusable(path, problem)


_reading = threading.Lock()


def _read_at(number: int, into: memoryview, place: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(number, [into], place)
    with _reading:  # Windows has no read that leaves the file's place alone
        os.lseek(number, place, os.SEEK_SET)
        found = os.read(number, len(into))
    into[: len(found)] = found
    return len(found)


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
