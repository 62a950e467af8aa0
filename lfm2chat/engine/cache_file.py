"""A cache in a file: written piece by piece, and read only where every byte is as it was written.

In: a settled cache of one sequence, its token ids, and a fingerprint that names model and
precision. Out: one file, or the cache again. Whatever differs, a torn, cut, changed or foreign
file, is a :class:`CacheError`: never a wrong cache, never a large allocation.

The file, all numbers little-endian::

    8 bytes   magic                      JSON   what HybridCache must be made with, fingerprint
    u32       format number              u32[]  token ids
    u32, u32  bytes of JSON, token ids   u32    CRC-32 of everything before
    then for each tensor of :meth:`HybridCache.tensors`: its bytes, and the CRC-32 so far

CRC-32 finds every torn or cut file and every flip of a few bits, at 7 GB/s where SHA-256 does 2
(one core of a server); a file that somebody forged inside the user's own folder it does not find.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.files import new_file, regular_file
from lfm2chat.errors import CacheError, ConfigError
from lfm2chat.modelfiles.strictjson import parse_json
from lfm2chat.spec.config import Lfm2Config

FORMAT = 1
"""Goes up with every change of the layout, and of what the engine keeps in a cache."""

_MAGIC = b"\x89LFM2KV\n"
_FIXED = struct.Struct("<8sIII")
_CRC = struct.Struct("<I")
_MAX_JSON_BYTES = 4096
_MAX_TOKENS = 1 << 20
_SYNC_BYTES = 32 << 20  # as much as waits for the disk at once
_SPARE_TOKENS = 2048
_SERIAL_NUMBERS = 32_767  # torch uses one thread below 32,768
_READ_ANEW = "nothing is lost: the conversation is read anew"


@dataclass(frozen=True, slots=True)
class CacheHeader:
    """What a cache file says of itself, checked against its own checksum.

    ``token_ids`` are unsigned 32-bit numbers, one for each token in the cache; ``dtype`` is as
    torch spells it (``bfloat16``); ``payload_start`` and ``crc`` are for :func:`load_cache`.
    """

    fingerprint: str
    dtype: str
    quantized: bool
    token_ids: array[int]
    file_bytes: int
    payload_start: int
    crc: int


def save_cache(
    cache: HybridCache,
    path: Path,
    *,
    token_ids: Sequence[int],
    fingerprint: str,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Write ``cache`` to ``path``; the file there is replaced at once, by a whole one, or not.

    One tensor at a time is copied, so little memory is needed; ``stopped`` is asked before each.
    Only the owner may read the file. Returns False where ``stopped`` ended it.

    Raises:
        CacheError: The cache was rewound and not read on, holds several sequences or other
            tokens than ``token_ids``, or the file cannot be written (a full disk, no right).
    """
    if cache.batch_size != 1 or len(token_ids) != cache.length:
        raise CacheError(
            f"a cache of {cache.batch_size} sequences and {cache.length} tokens cannot be saved"
            f" with {len(token_ids)} ids",
            hint="save one sequence, with the id of each of its tokens",
        )
    tensors = cache.tensors()
    try:
        with new_file(path) as (file, name):
            writer = _Writer(file)
            writer.write(_header(cache, token_ids, fingerprint))
            for tensor in tensors:
                if stopped():
                    return False
                writer.write_tensor(tensor)
            writer.sync()
            name.replace(path)
    except OSError as error:
        raise CacheError(
            f"cannot save a cache to {path}: {error.strerror or error}",
            hint="free some space, or set saved_context_mb = 0",
        ) from error
    return True


def read_cache_header(path: Path) -> CacheHeader:
    """The header of ``path``, without the payload: a few milliseconds at most.

    Raises:
        CacheError: No file of ours, damaged, or of another format.
    """
    with _reading(path) as file:
        return _read_header(file, path)


def load_cache(
    path: Path,
    config: Lfm2Config,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    fingerprint: str,
) -> tuple[HybridCache, list[int]]:
    """The cache in ``path`` and its token ids.

    Every size is derived from ``config`` and compared with the file before anything is allocated.

    Raises:
        CacheError: No such file, or anything in it is not as it has to be.
    """
    with _reading(path) as file:
        header = _read_header(file, path)
        if (header.fingerprint, header.dtype) != (fingerprint, _name_of(dtype)):
            raise _unusable(path, "of another model or precision")
        ids = header.token_ids
        if len(ids) > config.max_position_embeddings or max(ids, default=0) >= config.vocab_size:
            raise _unusable(path, "with tokens that the model does not have")
        expected = header.payload_start + _payload_bytes(config, dtype, header)
        if expected != header.file_bytes:
            raise _unusable(path, f"of {header.file_bytes:,} bytes, expected {expected:,}")
        # Room for the next turn too: growing would copy everything once more.
        cache = HybridCache(
            config,
            dtype=dtype,
            device=device,
            capacity=len(ids) + max(_SPARE_TOKENS, len(ids) // 4),
            quantized=header.quantized,
        )
        file.seek(header.payload_start)
        crc, staging = header.crc, bytearray()
        for tensor in cache.open_to(len(ids)):
            if len(staging) < tensor.nbytes:
                staging = bytearray(tensor.nbytes)
            crc = _read_tensor(file, tensor, staging, crc, path)
    return cache, ids.tolist()


class _Writer:
    """Counts and checks what goes into one file, and lets the disk catch up now and then."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self._unsynced = 0
        self._staging = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Write ``data`` and the checksum of everything so far."""
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(data)
        self._file.write(_CRC.pack(self._crc))
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES:
            self.sync()

    def write_tensor(self, tensor: Tensor) -> None:
        """Write the numbers of ``tensor`` in order; nothing for one without numbers."""
        if not tensor.numel():
            return
        if len(self._staging) < tensor.nbytes:
            self._staging = bytearray(tensor.nbytes)
        _copy(_staged(self._staging, tensor), tensor)
        self.write(memoryview(self._staging)[: tensor.nbytes])

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = 0


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with regular_file(path) as file:
            yield file
    except OSError as error:
        raise CacheError(
            f"cannot read {path}: {error.strerror or error}", hint=_READ_ANEW
        ) from error


def _header(cache: HybridCache, token_ids: Sequence[int], fingerprint: str) -> bytes:
    facts = {
        "fingerprint": fingerprint,
        "dtype": _name_of(cache.dtype),
        "quantized": cache.quantized,
        "byteorder": sys.byteorder,
    }
    text = json.dumps(facts).encode()
    ids = array("I", token_ids)
    if sys.byteorder == "big":
        ids.byteswap()
    return _FIXED.pack(_MAGIC, FORMAT, len(text), len(ids)) + text + ids.tobytes()


def _read_header(file: BinaryIO, path: Path) -> CacheHeader:
    fixed = file.read(_FIXED.size)
    if len(fixed) < _FIXED.size or not fixed.startswith(_MAGIC):
        raise _unusable(path, "of another kind")
    _, number, json_bytes, tokens = _FIXED.unpack(fixed)
    if number != FORMAT:
        raise _unusable(path, f"of format {number}, this is {FORMAT}")
    file_bytes = os.fstat(file.fileno()).st_size
    length = json_bytes + array("I").itemsize * tokens
    start = _FIXED.size + length + _CRC.size
    if json_bytes > _MAX_JSON_BYTES or tokens > _MAX_TOKENS or start > file_bytes:
        raise _unusable(path, f"with a header of {length:,} bytes")
    data = file.read(length)
    crc = _check(file, zlib.crc32(data, zlib.crc32(fixed)), path)
    try:
        facts = parse_json(data[:json_bytes], name=f"the header of {path.name}")
    except ConfigError as error:
        raise CacheError(str(error), hint=_READ_ANEW) from None
    ids = array("I", data[json_bytes:])
    if sys.byteorder == "big":
        ids.byteswap()
    fingerprint, dtype, quantized, order = (
        facts.get(name) for name in ("fingerprint", "dtype", "quantized", "byteorder")
    )
    texts = isinstance(fingerprint, str) and isinstance(dtype, str)
    if not texts or not isinstance(quantized, bool) or order != sys.byteorder:
        raise _unusable(path, "whose header this machine cannot use")
    return CacheHeader(str(fingerprint), str(dtype), quantized, ids, file_bytes, start, crc)


def _payload_bytes(config: Lfm2Config, dtype: torch.dtype, header: CacheHeader) -> int:
    # On the meta device shapes cost no memory.
    shape = HybridCache(config, dtype=dtype, device="meta", quantized=header.quantized)
    sizes = [tensor.nbytes for tensor in shape.open_to(len(header.token_ids))]
    return sum(size + _CRC.size for size in sizes if size)


def _read_tensor(file: BinaryIO, tensor: Tensor, staging: bytearray, crc: int, path: Path) -> int:
    """Fill ``tensor`` in place; returns the checksum of everything so far."""
    if not tensor.numel():
        return crc
    data = memoryview(staging)[: tensor.nbytes]
    if file.readinto(data) != tensor.nbytes:  # type: ignore[attr-defined]
        raise _unusable(path, "that is cut off")
    crc = _check(file, zlib.crc32(data, crc), path)
    _copy(tensor, _staged(staging, tensor))
    return crc


def _check(file: BinaryIO, crc: int, path: Path) -> int:
    stored = file.read(_CRC.size)
    if stored != _CRC.pack(crc):
        raise _unusable(path, "that is damaged")
    return crc


def _staged(staging: bytearray, tensor: Tensor) -> Tensor:
    """The beginning of ``staging`` as a tensor like ``tensor``, on the CPU, sharing memory."""
    return torch.frombuffer(staging, dtype=tensor.dtype, count=tensor.numel()).view(tensor.shape)


def _copy(target: Tensor, source: Tensor) -> None:
    """Fill ``target`` in place, in pieces for which torch wakes no second thread.

    A copy is bound by memory, and where another process has the second core each piece would
    wait for it: 100 ms for what takes 10.
    """
    if target.device != source.device or target.numel() <= _SERIAL_NUMBERS:
        target.copy_(source)
        return
    step = max(1, _SERIAL_NUMBERS // target.shape[-1])
    rows = (-1, *target.shape[-2:])
    for to, of in zip(target.view(rows), source.view(rows), strict=True):
        for small, part in zip(to.split(step), of.split(step), strict=True):
            small.copy_(part)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _unusable(path: Path, fault: str) -> CacheError:
    return CacheError(f"{path} is a cache file {fault}", hint=_READ_ANEW)
