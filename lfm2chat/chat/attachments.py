"""Text files that go with a message, and the frame in which they are read.

What the model reads of a message and its files is put together by :func:`with_attachments` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lfm2chat.chat.text import one_line, safe
from lfm2chat.errors import UsageError

MAX_BYTES = 4 * 2**20
"""Of one file, in UTF-8."""
MAX_FILES = 100
"""With one message."""

_MAX_NAME = 1_000
_LABEL_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file as it was when it was attached; all of it raw, as messages are.

    Raises:
        UsageError: The file is too long, or its name is.
    """

    name: str
    text: str
    media_type: str = "text/plain"

    def __post_init__(self) -> None:
        for value in (self.name, self.media_type):
            if len(value) > _MAX_NAME:
                raise UsageError(
                    f"a file's name has {len(value):,} characters, at most {_MAX_NAME:,} may be",
                    hint="give the file a shorter name",
                )
        # The first spares the copy that counting bytes makes.
        size = max(len(self.text), len(self.text.encode("utf-8", "surrogatepass")))
        if size > MAX_BYTES:
            raise UsageError(
                f"{self.label} has {size:,} bytes, at most {MAX_BYTES:,} may be attached",
                hint="attach a part of it",
            )

    @property
    def label(self) -> str:
        """The name as it may be shown: one safe line that is never empty."""
        return one_line(self.name, _LABEL_LENGTH) or "unnamed"


def attached(files: Iterable[Attachment]) -> tuple[Attachment, ...]:
    """``files`` as one message takes them.

    Raises:
        UsageError: They are too many.
    """
    found = tuple(files)
    if len(found) > MAX_FILES:
        raise UsageError(
            f"a message takes at most {MAX_FILES} files, not {len(found)}",
            hint="put several into one file, or send them one after the other",
        )
    return found


def with_attachments(text: str, files: Sequence[Attachment]) -> str:
    """What the model reads: each file under its name, in a frame; the message last.

    A file cannot end its own frame. Control tokens in it are as harmless as they are in ``text``:
    the tokenizer takes the content of a message for plain text.
    """
    frames = [_frame(one) for one in files]
    return "\n\n".join([*frames, text] if text or not frames else frames)


def attachment_spans(text: str, files: Sequence[Attachment]) -> list[int]:
    """Where each of ``files`` ends in ``text``, made by :func:`with_attachments`; what separates
    it from the next part is its own.
    """
    ends, end = [], 0
    for one in files:
        end = min(end + len(_frame(one)) + len("\n\n"), len(text))
        ends.append(end)
    return ends


def _frame(file: Attachment) -> str:
    return f"File: {file.label}\n{fenced(file.text)}"


def fenced(text: str) -> str:
    """``text`` as a code block of Markdown, between fences longer than any that is in it.

    It stays one where it is passed through :func:`lfm2chat.chat.text.safe` afterwards, which may
    bring backticks together that something invisible kept apart.
    """
    longest = max((len(run) for run in re.findall("`+", safe(text))), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}\n{text}{end}{fence}"
