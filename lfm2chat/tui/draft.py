"""What stands in a prompt: typed text, and the files that go with it. Plain data, no Textual."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lfm2chat.chat.attachments import MAX_BYTES, Attachment

_PASTED = re.compile(r"pasted (\d+)")


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is not sent. ``files`` are as they were read; pastes too large for an editor
    are files too.
    """

    text: str = ""
    files: tuple[Attachment, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.text.strip() and not self.files

    def followed_by(self, other: Draft) -> Draft:
        """This draft with ``other`` below it."""
        text = (
            f"{self.text}\n\n{other.text}" if self.text and other.text else self.text or other.text
        )
        return Draft(text, (*self.files, *other.files))

    def joined(self) -> str:
        """All of it as one text, for where a draft can be a text only: nothing is left out."""
        return "\n\n".join(
            part for part in (self.text.strip("\n"), *map(_as_text, self.files)) if part
        )


def joined(drafts: Iterable[Draft]) -> Draft:
    """One draft with all of ``drafts``, the first on top."""
    whole = Draft()
    for draft in drafts:
        whole = whole.followed_by(draft)
    return whole


def pasted(text: str, beside: Iterable[Attachment] = ()) -> tuple[Attachment, ...]:
    """``text`` as files called ``pasted 1`` and so on, after those that are in ``beside``.

    More than one only where a single file may not be that long: a paste is never refused.
    """
    numbers = [int(found[1]) for one in beside if (found := _PASTED.fullmatch(one.name))]
    first = max(numbers, default=0) + 1
    # A character has four bytes at most.
    length = MAX_BYTES if text.isascii() else MAX_BYTES // 4
    pieces = [text[start : start + length] for start in range(0, len(text), length)]
    return tuple(
        Attachment(f"pasted {number}", piece) for number, piece in enumerate(pieces, first)
    )


def _as_text(file: Attachment) -> str:
    # What was pasted had no name before.
    return file.text if _PASTED.fullmatch(file.name) else f"File: {file.label}\n{file.text}"
