"""Threads: torch's own choice, another, and back."""

import subprocess
import sys

CODE = """
import torch
from lfm2chat.engine import set_threads
own = torch.get_num_threads()
assert set_threads(1) == 1
assert set_threads(3) == 3
assert set_threads(0) == own == torch.get_num_threads()
"""


def test_no_number_of_threads_goes_back_to_torchs_own_choice():
    # A process of its own: the number of threads holds for all of one.
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
