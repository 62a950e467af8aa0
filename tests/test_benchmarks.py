"""The benchmarks can be started: nothing that they are made of has moved or changed its name."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(file.stem for file in BENCHMARKS.glob("*.py"))


def run(code: str) -> None:
    """Run ``code`` with the benchmarks' folder first in the path, as it is when one is started."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=BENCHMARKS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_benchmark_can_be_imported():
    assert len(NAMES) > 10
    run(f"import {', '.join(NAMES)}")


def test_no_benchmark_has_a_name_that_torch_imports_itself():
    run(f"import sys, torch; taken = set({NAMES}) & set(sys.modules); assert not taken, taken")
