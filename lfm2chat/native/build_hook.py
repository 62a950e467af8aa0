"""Builds the native kernels when the package is built; without a compiler it builds none.

Each kind of processor has a file of its own, compiled with that processor's instructions; which
one runs is decided when the library is loaded. So a wheel built here runs anywhere of its platform.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / ("_kernels.dll" if sys.platform == "win32" else "_kernels.so")
COMMON = ("pool.cpp", "forward.cpp", "api.cpp")
FLAGS = (
    *("-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-pthread", "-w"),
    # Products of matrices must be equal bit for bit on every processor: fused where it is written.
    "-ffp-contract=off",
)
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mfma")
X86_KERNELS: dict[str, tuple[str, ...]] = {
    "kernels_amx.cpp": AVX512,
    "kernels_avx512.cpp": AVX512,
    "kernels_avxvnni.cpp": ("-mavx2", "-mfma", "-mavxvnni"),
    "kernels_avx2.cpp": ("-mavx2", "-mfma"),
    "kernels_plain.cpp": (),
}
WITHOUT = {"kernels_amx.cpp": ("-DLFM2_NO_TILES",)}
"""What a file is compiled with where the assembler is too old for its instructions."""

TOO_OLD = (b"no such instruction", b"invalid instruction mnemonic", b"unknown mnemonic")
"""What such an assembler says."""

OTHER_KERNELS: dict[str, tuple[str, ...]] = {"kernels_plain.cpp": ()}


class KernelsHook(BuildHookInterface[BuilderConfig]):
    """Called by hatchling for wheels, editable ones too."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's
        """Compile, and put the library into the wheel, which is then one for this platform."""
        LIBRARY.unlink(missing_ok=True)
        problem = compile_library(LIBRARY)
        if problem:
            self.app.display_warning(f"no native kernels: {problem}; lfm2chat runs on torch alone")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["artifacts"].append(f"lfm2chat/native/{LIBRARY.name}")


def compile_library(target: Path) -> str:
    """Build ``target``; why it could not be done, or an empty text. What fails leaves no file."""
    if os.environ.get("LFM2CHAT_KERNELS") == "torch":
        return "LFM2CHAT_KERNELS is torch"
    compiler = _compiler()
    if compiler is None:
        return "no C++ compiler was found"
    machine = platform.machine().lower()
    kernels = X86_KERNELS if machine in ("x86_64", "amd64") else OTHER_KERNELS
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / target.name
        try:
            objects = list(_objects(compiler, kernels, Path(folder)))
            _run([*compiler, "-shared", "-pthread", "-o", str(built), *objects, *_static()])
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", b"") or b""
            last = output.decode(errors="replace").strip().splitlines()[-1:]
            return f"{compiler[0]} failed ({last[0] if last else error})"
        # One rename: whoever has the old library open keeps it whole.
        staged = target.with_suffix(".new")
        shutil.copyfile(built, staged)
        staged.replace(target)
    return ""


def _objects(
    compiler: list[str], kernels: dict[str, tuple[str, ...]], folder: Path
) -> Iterator[str]:
    def compiled(source: tuple[str, tuple[str, ...]]) -> str:
        name, flags = source
        out = folder / f"{name}.o"
        command = [*compiler, *FLAGS, *flags, "-c", str(FOLDER / name), "-o", str(out)]
        try:
            _run(command)
        except subprocess.CalledProcessError as error:
            if name not in WITHOUT or not any(words in error.stderr for words in TOO_OLD):
                raise
            _run([*command, *WITHOUT[name]])
        return str(out)

    with ThreadPoolExecutor(os.cpu_count()) as several:
        yield from several.map(compiled, [*kernels.items(), *((name, ()) for name in COMMON)])


def _compiler() -> list[str] | None:
    named = os.environ.get("CXX", "").split()
    if named:
        return named if shutil.which(named[0]) else None
    found = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    return [found] if found else None


def _static() -> list[str]:
    """The C++ library inside ours, where the linker can: the target may have an older one."""
    return [] if sys.platform == "darwin" else ["-static-libstdc++", "-static-libgcc"]


def _run(command: list[str]) -> None:
    # The compiler that the user named, or the system's own.
    subprocess.run(command, check=True, capture_output=True, timeout=600)  # noqa: S603


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


if __name__ == "__main__":
    sys.stdout.write(f"{compile_library(LIBRARY) or f'built {LIBRARY}'}\n")
