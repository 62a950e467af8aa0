"""The native kernels as Python sees them: structures, functions, and which of them run here.

In: addresses and numbers. Out: numbers. The other side is ``native/api.h``, whose structures stand
here once more, field by field. Calls let go of the interpreter while they run.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from lfm2chat.engine.quantize import PackedMatrix
from lfm2chat.spec.installation import package_version

ABI = 7
SWITCH = "LFM2CHAT_KERNELS"
"""Environment variable: ``torch`` leaves the native kernels out, a name takes those alone."""

LIBRARY = "_kernels.dll" if sys.platform == "win32" else "_kernels.so"


class Ahead(IntEnum):
    """``lfm2::Ahead``: how far weights are read ahead of their use."""

    NOTHING = 0
    NEAR = 1
    SHORT = 2
    LONG = 3
    PASSING = 4


COMMON_AHEAD = {8: Ahead.SHORT, 6: Ahead.SHORT, 4: Ahead.NOTHING}
"""By the bits of a matrix, where nothing was measured on this machine."""


class Matrix(Structure):
    """``lfm2::Matrix``."""

    _fields_ = (
        ("data", c_void_p),
        ("rows", c_int32),
        ("columns", c_int32),
        ("bits", c_int32),
        ("group", c_int32),
        ("ahead", c_int32),
    )


class Layer(Structure):
    """``lfm2_layer``."""

    _fields_ = (
        ("has_attention", c_int32),
        ("operator_norm", c_void_p),
        ("ffn_norm", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
        ("taps", c_void_p),
        ("in_", Matrix),
        ("out", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
    )


class Config(Structure):
    """``lfm2_config``."""

    _fields_ = (
        ("hidden", c_int32),
        ("ff", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("head_dim", c_int32),
        ("conv_width", c_int32),
        ("vocab", c_int32),
        ("layers", c_int32),
        ("norm_eps", c_float),
        ("inverse_frequencies", c_void_p),
        ("final_norm", c_void_p),
        ("layer", POINTER(Layer)),
        ("embedding", Matrix),
        ("head", Matrix),
    )


class Sequence(Structure):
    """``lfm2_sequence``."""

    _fields_ = (
        ("tokens", c_int32),
        ("position", c_int32),
        ("known", c_int32),
        ("capacity", c_int32),
        ("keys", POINTER(c_void_p)),
        ("values", POINTER(c_void_p)),
        ("kept", POINTER(c_void_p)),
        ("left", POINTER(c_void_p)),
        ("every", c_int32),
    )


class Groups(Structure):
    """``lfm2::Groups``."""

    _fields_ = (
        ("numbers", c_void_p),
        ("bases", c_void_p),
        ("count", c_int64),
        ("groups_of_a_base", c_int64),
        ("group", c_int32),
        ("bits", c_int32),
    )


BeforeLayerFunction = ctypes.CFUNCTYPE(c_int32)


@dataclass(frozen=True, slots=True)
class KernelSet:
    """The kernels for one kind of processor; ``kind`` is their number in the library.

    ``ahead`` says how matrices are read from memory, by their bits.
    """

    name: str
    kind: int
    usable: bool
    ahead: tuple[tuple[int, Ahead], ...] = field(default=tuple(COMMON_AHEAD.items()), compare=False)


def matrix_of(packed: PackedMatrix, kernels: KernelSet | None = None) -> Matrix:
    """``packed`` as the library takes it, read as ``kernels`` says; the buffer must outlive it."""
    ahead = COMMON_AHEAD if kernels is None else dict(kernels.ahead)
    return Matrix(
        packed.data.data_ptr(),
        packed.rows,
        packed.padded_columns,
        packed.bits,
        packed.group,
        ahead[packed.bits],
    )


def addresses(tensors: Iterable[Tensor]) -> Any:
    """A C array of the tensors' addresses; the tensors must outlive it."""
    found = [tensor.data_ptr() for tensor in tensors]
    return (c_void_p * max(1, len(found)))(*found)


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None where the package was built without a compiler.

    One that cannot be loaded, or of another version, counts as none: everything works without.
    """
    try:
        loaded = ctypes.CDLL(str(_library_file()))
        loaded.lfm2_abi.restype = c_int32
        if loaded.lfm2_abi() != ABI:
            return None
    except (OSError, AttributeError):
        return None
    loaded.lfm2_kernels.argtypes = (c_int32, POINTER(c_int32))
    loaded.lfm2_kernels.restype = c_char_p
    loaded.lfm2_open.argtypes = (POINTER(Config), c_int32, c_int32)
    loaded.lfm2_open.restype = c_void_p
    loaded.lfm2_close.argtypes = (c_void_p,)
    loaded.lfm2_close.restype = None
    loaded.lfm2_forward.argtypes = (
        *(c_void_p, c_int32, POINTER(Sequence), c_void_p, c_int32, c_void_p),
        BeforeLayerFunction,
    )
    loaded.lfm2_forward.restype = c_int32
    loaded.lfm2_product.argtypes = (
        *(POINTER(Matrix), c_void_p, c_int32, c_int32, c_void_p, c_int32, c_int32),
    )
    loaded.lfm2_product.restype = c_int32
    loaded.lfm2_best_scales.argtypes = (POINTER(Groups), c_void_p, c_int32, c_void_p, c_int32)
    loaded.lfm2_best_scales.restype = c_int32
    loaded.lfm2_read_seconds.argtypes = (c_void_p, c_int64, c_int32, c_int32)
    loaded.lfm2_read_seconds.restype = c_double
    return loaded


def library_version() -> str:
    """Another string for another library: what was measured with one says nothing of the next."""
    facts = _library_file().stat()  # a rebuilt one has the same numbers
    return f"{package_version()} {ABI} {facts.st_size} {facts.st_mtime_ns}"


def _library_file() -> Path:
    return Path(__file__).parents[2] / "native" / LIBRARY


def kernel_sets() -> list[KernelSet]:
    """All kernels in the library, the best for a new processor first; none without a library."""
    loaded = library()
    if loaded is None:
        return []
    found = []
    for kind in range(16):
        usable = c_int32()
        name = loaded.lfm2_kernels(kind, ctypes.byref(usable))
        if name is None:
            break
        found.append(KernelSet(name.decode(), kind, bool(usable.value)))
    return found


def usable_kernels() -> list[KernelSet]:
    """Those that run here, and that ``LFM2CHAT_KERNELS`` does not leave out."""
    wanted = os.environ.get(SWITCH, "")
    usable = [kernels for kernels in kernel_sets() if kernels.usable]
    return [kernels for kernels in usable if wanted in ("", "native", kernels.name)]
