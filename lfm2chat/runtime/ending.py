"""The end of a process whose worker is inside native code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import NoReturn


def end_now(code: int) -> NoReturn:
    """End the process without unwinding it; everything must be saved, the terminal restored.

    The worker is inside native code that nothing interrupts (importing torch, most likely), and
    an interpreter that finalizes under it is aborted.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
    os._exit(code)
