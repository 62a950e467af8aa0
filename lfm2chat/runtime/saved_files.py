"""A folder of what was made of conversations: one file for each stored one, within a budget.

Saved contexts are such files, and summaries: conversation data, so for the user's eyes only, and
gone with their conversation. Knows names, sizes and ages; what is in a file is the business of
:mod:`lfm2chat.runtime.saved` and :mod:`lfm2chat.runtime.summaries`. Imports no torch. Whatever the
disk refuses is logged, never raised: such a file saves time and nothing else.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.paths import PRIVATE_DIR

MAX_FILES = 256
FREE_DISK_BYTES = 256 << 20
"""What such a file leaves free on the disk: the conversations themselves need it more."""

_ABANDONED_S = 600.0
CONTEXT = "cache"
"""How the names of saved contexts end."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of the folder; ``state`` changes whenever the file is replaced.

    ``temporary`` ones are still being written, or were left behind by a process that was killed.
    """

    path: Path
    conversation_id: int
    size_bytes: int
    saved_at: float
    state: tuple[int, int, int]
    temporary: bool


class SavedFiles:
    """Names, budget and removal. Any thread may call anything; no method raises.

    ``ending`` is that of the files' names. ``wanted`` says whether a conversation is there and
    outside the trash (it may read the store).
    A budget of 0 means that nothing is saved, and that :meth:`tidy` removes what is there.
    """

    def __init__(
        self,
        folder: Path,
        budget_bytes: int,
        *,
        wanted: Callable[[int], bool] = lambda _: True,
        ending: str = CONTEXT,
    ) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self.wanted = wanted
        self._ending = ending
        self._name = re.compile(rf"(\d{{1,18}})\.{ending}(-\w+\.tmp)?")

    def path_of(self, conversation_id: int) -> Path:
        """The file of a conversation."""
        return self.folder / f"{conversation_id}.{self._ending}"

    def files(self) -> list[SavedFile]:
        """The whole ones, the oldest first."""
        found = [file for file in self._all() if not file.temporary]
        return sorted(found, key=lambda file: file.saved_at)

    def forget(self, conversation_id: int) -> None:
        """Remove what is saved of a conversation, also what is being written at this moment."""
        for file in self._all():
            if file.conversation_id == conversation_id:
                remove(file.path)

    def tidy(self) -> None:
        """Make the folder private, and remove what has no conversation or no room (any more)."""
        with suppress(OSError):
            self.folder.chmod(PRIVATE_DIR)
        for file in self._all():
            left = file.temporary and time.time() - file.saved_at > _ABANDONED_S
            if not self.budget_bytes or left or not self.wanted(file.conversation_id):
                remove(file.path)
        self._shrink_to(self.budget_bytes, MAX_FILES)

    def make_room(self, conversation_id: int, size_bytes: int) -> bool:
        """Let the oldest others go until ``size_bytes`` fit; False where they never will."""
        try:
            self.folder.mkdir(mode=PRIVATE_DIR, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            log.warning("nothing can be saved in %s: %s", self.folder, error.strerror)
            return False
        if size_bytes > self.budget_bytes or free < size_bytes + FREE_DISK_BYTES:
            log.info("no room to save %d bytes in %s", size_bytes, self.folder)
            return False
        self._shrink_to(self.budget_bytes - size_bytes, MAX_FILES - 1, beside=conversation_id)
        return True

    def _shrink_to(self, size_bytes: int, count: int, *, beside: int | None = None) -> None:
        files = [file for file in self.files() if file.conversation_id != beside]
        total = sum(file.size_bytes for file in files)
        while files and (total > size_bytes or len(files) > count):
            oldest = files.pop(0)
            total -= oldest.size_bytes
            remove(oldest.path)

    def _all(self) -> Iterator[SavedFile]:
        try:
            entries = list(os.scandir(self.folder))
        except OSError:  # mostly: nothing was ever saved
            return
        for entry in entries:
            name = self._name.fullmatch(entry.name)
            if name is None:
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:  # removed meanwhile
                continue
            yield SavedFile(
                path=Path(entry.path),
                conversation_id=int(name[1]),
                size_bytes=facts.st_size,
                saved_at=facts.st_mtime,
                state=(facts.st_ino, facts.st_size, facts.st_mtime_ns),
                temporary=name[2] is not None,
            )


def remove(path: Path) -> None:
    """Remove one file; one that is gone already is fine."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a saved file cannot be removed: %s: %s", path, error.strerror)
