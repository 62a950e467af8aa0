"""The header of a safetensors file, checked before anything is allocated.

In: a path. Out: names, dtypes, shapes and places of its tensors, all of them inside the file. The
format's own library leaves these to us: duplicate keys (the last wins there), names with escape
sequences, headers with a million empty tensors.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles.opened import bad_file, weights_file
from lfm2chat.modelfiles.strictjson import parse_json

MAX_HEADER_BYTES = 4 * 2**20
MAX_TENSORS = 4096
MAX_DIMENSIONS = 8
LENGTH_BYTES = 8
ITEM_BYTES: Mapping[str, int] = {"BF16": 2, "F16": 2, "F32": 4}

_NAME = re.compile(r"[A-Za-z0-9._]{1,200}")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: its dtype as the file spells it (``BF16``), and its bytes in the file.

    Of a GGUF file the dtype may be one of blocks (``Q4_0``): see ``gguf.BLOCKS``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # from the beginning of the file
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a weights file says of its tensors, which are in the order of their bytes."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    file_bytes: int
    sha256: str  # of the header alone


def read_safetensors_header(path: Path) -> Header:
    """The checked header of ``path``: each byte of the file belongs to one known tensor.

    Raises:
        WeightsError: The file is missing, cut off, or anything in its header is not as it has
            to be; the message names the first fault.
    """
    with weights_file(path) as (file, file_bytes):
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if file_bytes < LENGTH_BYTES or LENGTH_BYTES + length > file_bytes:
            raise bad_file(path, f"cut off: {file_bytes:,} bytes")
        if length > MAX_HEADER_BYTES:
            raise bad_file(path, f"a header of {length:,} bytes, at most {MAX_HEADER_BYTES:,}")
        raw = file.read(length)
    try:
        entries = parse_json(raw, name=f"the header of {path.name}")
    except ConfigError as error:
        raise WeightsError(str(error), hint=error.hint) from None
    entries.pop("__metadata__", None)
    if len(entries) > MAX_TENSORS:
        raise bad_file(path, f"{len(entries):,} tensors, at most {MAX_TENSORS:,}")
    data_start = LENGTH_BYTES + length
    tensors = [_tensor(path, name, entry, data_start) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.nbytes))
    _check_places(path, tensors, data_start, file_bytes)
    by_name = {tensor.name: tensor for tensor in tensors}
    return Header(path, by_name, file_bytes, hashlib.sha256(raw).hexdigest())


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    if not _NAME.fullmatch(name):
        raise bad_file(path, f"a tensor named {ascii(name)[:60]}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise bad_file(path, f"{name} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        expected = ", ".join(ITEM_BYTES)
        raise bad_file(path, f"{name} has the dtype {str(dtype)[:20]!r}, expected {expected}")
    if not _all_whole(shape) or len(shape) > MAX_DIMENSIONS:
        raise bad_file(path, f"{name} has the shape {str(shape)[:60]}")
    if not _all_whole(offsets) or len(offsets) != 2:
        raise bad_file(path, f"{name} has the data_offsets {str(offsets)[:60]}")
    nbytes = math.prod(shape) * ITEM_BYTES[dtype]
    if offsets[1] - offsets[0] != nbytes:
        raise bad_file(path, f"{name} takes {offsets[1] - offsets[0]} bytes, its shape {nbytes}")
    return TensorInfo(name, dtype, tuple(shape), data_start + offsets[0], nbytes)


def _check_places(path: Path, tensors: list[TensorInfo], start: int, file_bytes: int) -> None:
    place = start
    for tensor in tensors:
        if tensor.start != place:
            what = "overlaps the tensor before it" if tensor.start < place else "leaves a gap"
            raise bad_file(path, f"{tensor.name} {what}")
        place += tensor.nbytes
    if place != file_bytes:
        raise bad_file(path, f"{file_bytes:,} bytes, its header says {place:,}")


def _all_whole(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
        for value in values
    )
