"""A weights file opened for its header, and the errors that say what is wrong with it.

In: a path. Out: the open file and its size, or :class:`WeightsError` with the file's name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lfm2chat.errors import WeightsError
from lfm2chat.modelfiles.strictjson import DOWNLOAD_AGAIN


@contextmanager
def weights_file(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """``path`` opened for reading, with the bytes that it has.

    Raises:
        WeightsError: It is missing, unreadable or something else (a folder, a pipe); also where
            reading fails inside.
    """
    try:
        # Never open a pipe or a device: that could wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise bad_file(path, "no regular file")
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="check that the folder holds a whole model and that you may read it",
        ) from None


def bad_file(path: Path, fault: str, *, hint: str = DOWNLOAD_AGAIN) -> WeightsError:
    """The error for a file whose header is not as it has to be."""
    return WeightsError(f"{path.name} is no usable weights file: {fault}", hint=hint)


def mixed_files(message: str) -> WeightsError:
    """The error for files that are well-formed and do not belong together."""
    return WeightsError(message, hint="the folder mixes two models: download it again")
