"""Products of many rows in tiles, done here step by step in plain C++ as tiles would do them.

Everything around the instructions is the same code. Where the processor has tiles, the last test
runs the instructions themselves; elsewhere they are at least compiled.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from ctypes import c_int32, c_void_p
from pathlib import Path

import pytest
import torch

from lfm2chat.engine.backends.native_library import (
    KernelSet,
    kernel_sets,
    library,
    matrix_of,
    usable_kernels,
)
from lfm2chat.engine.quantize import PackedMatrix, pack
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


def product(kernels: KernelSet, weights: PackedMatrix, x: torch.Tensor) -> torch.Tensor:
    out = torch.full((len(x), weights.rows), torch.nan)
    matrix = ctypes.byref(matrix_of(weights))
    assert not library().lfm2_product(
        *(matrix, x.data_ptr(), len(x), weights.columns, out.data_ptr(), 2, kernels.kind)
    )
    return out


def drawn(rows: int, bits: int) -> tuple[PackedMatrix, torch.Tensor]:
    """Weights, and rows of activations of very different sizes."""
    draw = torch.Generator().manual_seed(rows)
    weights = pack(torch.randn(ROWS, COLUMNS, generator=draw), bits)
    return weights, torch.randn(rows, COLUMNS, generator=draw) * torch.logspace(-3, 3, rows)[
        :, None
    ]


each_bits = pytest.mark.parametrize("bits", [8, 6, 4])
each_height = pytest.mark.parametrize("rows", [1, 15, 16, 37, 192, 211])


@each_bits
@each_height
def test_a_product_in_tiles_has_the_bits_of_one_without(tiles, bits, rows):
    weights, x = drawn(rows, bits)
    found = torch.full((rows, ROWS), torch.nan)
    matrix = ctypes.byref(matrix_of(weights))
    tiles.tiled_product(matrix, x.data_ptr(), rows, COLUMNS, found.data_ptr())
    (plain,) = (one for one in kernel_sets() if one.name == PLAIN)
    assert torch.equal(found, product(plain, weights, x))


def test_the_instructions_are_known_to_the_assembler(tmp_path):
    # Only where one is too old for them does the build leave them out, and says nothing.
    probe = tmp_path / "probe.cpp"
    probe.write_text('void f() { asm("tdpbssd %tmm5, %tmm4, %tmm0"); }')
    to = ["-c", "-o", os.devnull]
    if subprocess.run([*compiler, *to, probe], check=False, capture_output=True).returncode:
        pytest.skip("this assembler knows no tiles")
    source = build_hook.FOLDER / "kernels_amx.cpp"
    flags = ["-std=c++20", "-fPIC", "-w", *build_hook.AVX512]
    subprocess.run([*compiler, *flags, *to, source], check=True)


@each_bits
@each_height
def test_every_set_with_a_fused_multiply_add_gives_the_same_bits(bits, rows):
    weights, x = drawn(rows, bits)
    fused = [kernels for kernels in usable_kernels() if kernels.name != PLAIN]
    found = [product(kernels, weights, x) for kernels in fused]
    assert all(torch.equal(found[0], other) for other in found)


def test_what_runs_on_every_processor_has_the_instructions_of_every_processor():
    disassemble = shutil.which("objdump")
    if disassemble is None or platform.machine() != "x86_64":
        pytest.skip("nothing to look into the library with")
    command = [disassemble, "-d", "--no-show-raw-insn", "-C", build_hook.LIBRARY]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wide = set()
    for function in listing.split("\n\n"):
        name = function.partition("<")[2].partition("\n")[0]
        if re.search(r"%[yz]mm", function) and not re.match(r"(\w+ )?lfm2_(amx|avx)", name):
            wide.add(name)
    # Asked for once the processor is known to be one of that kind.
    assert {name for name in wide if not name.startswith("lfm2::kernels_amx()")} == set()
