"""Products of many rows in tiles, done here step by step in plain C++ as tiles would do them.

Where the processor has tiles, the same kernels run with the instructions themselves in
``test_packed_models.py``; everything around the instructions is the same code.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from ctypes import c_int32, c_void_p
from pathlib import Path

import pytest
import torch

from lfm2chat.engine.backends.native_library import kernel_sets, library, matrix_of, usable_kernels
from lfm2chat.engine.quantize import pack
from lfm2chat.engine.trial import PLAIN
from lfm2chat.native import build_hook

compiler = build_hook._compiler()
pytestmark = pytest.mark.skipif(
    compiler is None or not usable_kernels(), reason="no native kernels were built"
)


ROWS, COLUMNS = 70, 1104
"""Of the weights: neither fills its last panel or block."""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> ctypes.CDLL:
    """The kernels of tiles, with emulated ones."""
    built = tmp_path_factory.mktemp("tiles") / "tiles.so"
    source = Path(__file__).with_name("emulated_tiles.cpp")
    flags = ["-std=c++20", "-fPIC", "-w", "-ffp-contract=off", f"-I{build_hook.FOLDER}"]
    subprocess.run([*compiler, *flags, "-shared", "-o", built, source], check=True)
    loaded = ctypes.CDLL(os.fspath(built))
    loaded.tiled_product.argtypes = (c_void_p, c_void_p, c_int32, c_int32, c_void_p)
    return loaded


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("rows", [1, 15, 16, 37, 192, 211])
def test_a_product_in_tiles_has_the_bits_of_one_without(tiles, bits, rows):
    draw = torch.Generator().manual_seed(rows)
    weights = pack(torch.randn(ROWS, COLUMNS, generator=draw), bits)
    x = torch.randn(rows, COLUMNS, generator=draw) * torch.logspace(-3, 3, rows)[:, None]
    found, expected = torch.full((2, rows, ROWS), torch.nan)
    matrix = ctypes.byref(matrix_of(weights))
    tiles.tiled_product(matrix, x.data_ptr(), rows, COLUMNS, found.data_ptr())
    (plain,) = (one for one in kernel_sets() if one.name == PLAIN)
    assert not library().lfm2_product(
        *(matrix, x.data_ptr(), rows, COLUMNS, expected.data_ptr(), 2, plain.kind)
    )
    assert torch.equal(found, expected)
