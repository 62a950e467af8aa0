"""Files of our own: written whole or not at all, and opened only where they are files.

In: paths. Out: open files. What a failure means to the caller, the caller says.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"
"""How the name of a file ends that is still being written."""


@contextmanager
def new_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path``, for its owner only, that is gone in the end if not renamed.

    Raises:
        OSError: It cannot be made, or written to.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-", suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, Path(name)
    finally:
        with suppress(OSError):
            Path(name).unlink(missing_ok=True)


@contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """``path`` opened for reading; a pipe or a link is not waited for.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(EINVAL, "it is no regular file", str(path))
        yield file
