"""A text file on disk, read to be attached: what is too large or no text is refused by name."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from lfm2chat.chat.attachments import MAX_BYTES, Attachment
from lfm2chat.errors import UsageError

_MARKED = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # The longer mark first: that of UTF-16 is its beginning.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text_file(path: Path, *, name: str = "") -> Attachment:
    """The file at ``path`` as an attachment called ``name``, by default as the file is called.

    Line ends become newlines. Reads the disk: not for the event loop.

    Raises:
        UsageError: There is no such file, it cannot be read, is no regular file, is too large, or
            holds no text.
    """
    name = name or path.name
    text = _decoded(_content(path, name), name)
    return Attachment(name, text.replace("\r\n", "\n").replace("\r", "\n"))


def _content(path: Path, name: str) -> bytes:
    # Opening a pipe would wait for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            os.close(descriptor)
            if stat.S_ISDIR(kind):
                raise UsageError(f"{name} is a folder", hint="attach the files in it")
            raise UsageError(f"{name} is no file", hint="attach a text file")
        with os.fdopen(descriptor, "rb") as file:
            # One more than may be: a file grows, and some have no size until they are read.
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{name} cannot be read: {reason}", hint="look at its path and its permissions"
        ) from error
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{name} has more than {MAX_BYTES:,} bytes, which is the most that may be attached",
            hint="attach a part of it",
        )
    return content


def _decoded(content: bytes, name: str) -> str:
    encoding = next((one for mark, one in _MARKED if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_text(name) from error
    if "\0" in text:
        raise _not_text(name)
    return text


def _not_text(name: str) -> UsageError:
    return UsageError(
        f"{name} is not text in UTF-8", hint="attach a text file, or convert it to UTF-8"
    )
