"""The header of a GGUF file (version 3), checked before anything is allocated.

In: a path. Out: its metadata, and names, types, shapes and places of its tensors, all of them
inside the file. Knows no model: what the metadata means is for ``gguf_model``. Every length is
compared with the bytes that are left before it is used; readers of this format that trusted one
were read out of bounds by files made for that.

The file, all numbers little-endian, a text being its length (u64) and UTF-8::

    4 bytes   magic                      then each tensor: its name (a text), u32 dimensions,
    u32       version                    u64 each of them (the shortest step first), u32 type,
    u64       tensors                    u64 place from the beginning of the data
    u64       keys                       then the data, each tensor at a multiple of
    then each key: a text, u32 type,     `general.alignment` (32), none overlapping
    its value (an array: u32 type of
    its items, u64 count, the items)
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lfm2chat.errors import WeightsError
from lfm2chat.modelfiles.opened import bad_file, weights_file
from lfm2chat.modelfiles.safetensors import MAX_TENSORS, Header, TensorInfo

MAX_HEADER_BYTES = 32 * 2**20
"""A vocabulary of 65,536 tokens takes 2 to 5 MB; some files carry their tokenizer.json too."""
MAX_KEYS = 1024
MAX_ITEMS = 2**20
"""Of all arrays together: an object of Python takes ten times the bytes of a number."""
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 2**16
VERSION = 3

BLOCKS: Mapping[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q8_0": (32, 34),
    "Q6_K": (256, 210),
}
"""By type of tensor: numbers in a block, and the bytes that it takes."""

_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 8: "Q8_0", 14: "Q6_K", 30: "BF16"}
_OTHER_TYPES = (
    {3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K"}
    | {16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S"}
    | {22: "IQ2_S", 23: "IQ4_XS", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}
)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
_BOOL, _TEXT, _ARRAY = 7, 8, 9
_ALIGNMENT_KEY = "general.alignment"
_KEY = re.compile(r"[A-Za-z0-9._-]{1,256}")
_NAME = re.compile(r"[A-Za-z0-9._]{1,200}")
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        metadata: By key a number, a bool, a text, or a tuple of these.
        weights: The tensors in the order of their bytes, named as the file names them, the shape
            with the rows first, as torch has it.
    """

    metadata: Mapping[str, Any]
    weights: Header

    @property
    def path(self) -> Path:
        """The file."""
        return self.weights.path


def read_gguf_header(path: Path) -> GgufHeader:
    """The checked header of ``path``: each byte of the data belongs to one known tensor.

    Raises:
        WeightsError: The file is missing, cut off, or anything in its header is not as it has
            to be; the message names the first fault.
    """
    with weights_file(path) as (file, file_bytes):
        front = _Front(file, path, file_bytes)
        tensor_count = _check_front(front)
        metadata = _metadata(front)
        alignment = metadata.get(_ALIGNMENT_KEY, 32)
        if not _is_alignment(alignment):
            raise bad_file(path, f"{_ALIGNMENT_KEY} is {str(alignment)[:60]}")
        tensors = [_tensor(front) for _ in range(tensor_count)]
        start = front.at + -front.at % alignment
        digest = hashlib.sha256(front.seen()).hexdigest()
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) != len(tensors):
        raise bad_file(path, "two tensors have the same name")
    placed = sorted(tensors, key=lambda tensor: (tensor.start, tensor.nbytes))
    placed = _check_places(path, placed, start, alignment, file_bytes)
    tensors_by_name = {tensor.name: tensor for tensor in placed}
    return GgufHeader(metadata, Header(path, tensors_by_name, file_bytes, digest))


class _Front:
    """The beginning of a file, read as far as it is asked for and never beyond the limit.

    ``at`` is how far it was taken, ``items`` how many there were in arrays.
    """

    def __init__(self, file: BinaryIO, path: Path, file_bytes: int) -> None:
        self.path = path
        self.at = 0
        self.items = 0
        self._file = file
        self._data = b""
        self._limit = min(file_bytes, MAX_HEADER_BYTES)

    def seen(self) -> bytes:
        """All that was taken."""
        return self._data[: self.at]

    def number(self, code: str) -> Any:
        """The next number, of ``struct``'s type ``code``."""
        return self.numbers(code, 1)[0]

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        """The next ``count`` numbers."""
        size = struct.calcsize(f"<{code}")
        self._need(size * count)  # before the format, which is as long as `count` says
        found = struct.unpack_from(f"<{count}{code}", self._data, self.at)
        self.at += size * count
        return found

    def text(self) -> str:
        """The next text."""
        return self.texts(1)[0]

    def texts(self, count: int) -> tuple[str, ...]:
        """The next ``count`` texts. Most of a header's time is spent here."""
        data = self._need(8 * count)
        found, at = [], self.at
        length_at = struct.Struct("<Q").unpack_from
        try:
            for _ in range(count):
                if at + 8 > len(data):
                    data = self._need(8, at=at)
                begin = at + 8
                at = begin + length_at(data, at)[0]
                if at > len(data):
                    data = self._need(at - begin, at=begin)
                found.append(data[begin:at].decode())
        except UnicodeDecodeError:
            raise bad_file(self.path, "a text in its header is not UTF-8") from None
        self.at = at
        return tuple(found)

    def _need(self, nbytes: int, *, at: int | None = None) -> bytes:
        """All that was read, with ``nbytes`` more than now, or than before ``at``.

        Raises:
            WeightsError: The file or the limit ends before; nothing was read then.
        """
        end = (self.at if at is None else at) + nbytes
        if end > self._limit:
            why = "it is cut off" if self._limit < MAX_HEADER_BYTES else "it is too large"
            raise bad_file(self.path, f"{why}: its header needs {end:,} bytes or more")
        if len(self._data) < end:
            # Twice as much each time: bytes, which are copied to grow, are decoded faster than
            # a bytearray.
            more = max(_PIECE, len(self._data), end - len(self._data))
            self._data += self._file.read(more)
            if len(self._data) < end:
                raise bad_file(self.path, "it became shorter while it was read")
        return self._data


def _check_front(front: _Front) -> int:
    """Take the magic and the version; the number of tensors."""
    if bytes(front.numbers("B", 4)) != b"GGUF":
        raise bad_file(front.path, "it is no GGUF file")
    version = front.number("I")
    if version != VERSION:
        raise bad_file(front.path, f"it is of GGUF version {version}, expected {VERSION}")
    tensors: int = front.number("Q")
    if not 0 < tensors <= MAX_TENSORS:
        raise bad_file(front.path, f"{tensors:,} tensors, expected 1 to {MAX_TENSORS:,}")
    return tensors


def _metadata(front: _Front) -> dict[str, Any]:
    count = front.number("Q")
    if count > MAX_KEYS:
        raise bad_file(front.path, f"{count:,} keys, at most {MAX_KEYS:,}")
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = front.text()
        if not _KEY.fullmatch(key):
            raise bad_file(front.path, f"a key named {ascii(key)[:60]}")
        if key in metadata:
            raise bad_file(front.path, f"the key {key} stands there twice")
        metadata[key] = _value(front, key, front.number("I"))
    return metadata


def _value(front: _Front, key: str, kind: int) -> Any:
    if kind != _ARRAY:
        return _values(front, key, kind, 1)[0]
    kind, count = front.number("I"), front.number("Q")
    front.items += count
    if front.items > MAX_ITEMS:
        raise bad_file(front.path, f"{key} has {count:,} items, at most {MAX_ITEMS:,} in all")
    return _values(front, key, kind, count)


def _values(front: _Front, key: str, kind: int, count: int) -> tuple[Any, ...]:
    if kind == _TEXT:
        return front.texts(count)
    if kind == _BOOL:
        flags = front.numbers("B", count)
        if not {0, 1}.issuperset(flags):
            raise bad_file(front.path, f"{key} is neither true nor false")
        return tuple(map(bool, flags))
    if kind not in _NUMBERS:  # arrays of arrays among them: nothing that we read has any
        raise bad_file(front.path, f"{key} is of the unknown type {kind}")
    return front.numbers(_NUMBERS[kind], count)


def _tensor(front: _Front) -> TensorInfo:
    """The next tensor; ``start`` counts from the beginning of the data."""
    name = front.text()
    if not _NAME.fullmatch(name):
        raise bad_file(front.path, f"a tensor named {ascii(name)[:60]}")
    dimensions = front.number("I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise bad_file(front.path, f"{name} has {dimensions} dimensions")
    shape = tuple(reversed(front.numbers("Q", dimensions)))
    kind, place = front.number("I"), front.number("Q")
    if kind not in _TYPES:
        raise _unread_type(front.path, name, kind)
    columns, block_bytes = BLOCKS[_TYPES[kind]]
    if 0 in shape or math.prod(shape) >= 2**48 or shape[-1] % columns:
        raise bad_file(front.path, f"{name} has the shape {shape} in {_TYPES[kind]}")
    nbytes = math.prod(shape) // columns * block_bytes
    return TensorInfo(name, _TYPES[kind], shape, place, nbytes)


def _check_places(
    path: Path, tensors: list[TensorInfo], start: int, alignment: int, file_bytes: int
) -> list[TensorInfo]:
    """The tensors with ``start`` from the beginning of the file, if they fill the data."""
    place, placed = 0, []
    for tensor in tensors:
        place += -place % alignment
        if tensor.start != place:
            what = "overlaps the tensor before it" if tensor.start < place else "leaves a gap"
            raise bad_file(path, f"{tensor.name} {what}")
        placed.append(
            TensorInfo(tensor.name, tensor.dtype, tensor.shape, start + tensor.start, tensor.nbytes)
        )
        place += tensor.nbytes
    end = start + place
    if not end <= file_bytes <= end + -end % alignment:
        raise bad_file(path, f"{file_bytes:,} bytes, its header says {end:,}")
    return placed


def _is_alignment(value: object) -> bool:
    return type(value) is int and 8 <= value <= MAX_ALIGNMENT and not value & (value - 1)


def _unread_type(path: Path, name: str, kind: int) -> WeightsError:
    shown = _OTHER_TYPES.get(kind, f"the unknown type {kind}")
    return bad_file(
        path,
        f"{name} is in {shown}, expected {', '.join(BLOCKS)}",
        hint="take the file of the same model in Q4_0, Q8_0, F16 or BF16",
    )
