"""The files that go with the message in the prompt, one chip each."""

from __future__ import annotations

from collections.abc import Iterable

from textual.containers import HorizontalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message as Notice
from textual.widgets import Static

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.text import one_line
from lfm2chat.tui.widgets.foreign import foreign
from lfm2chat.tui.wording import size, tokens

LONGEST_NAME = 40


class Chip(Static):
    """One file: its name, its size, what it costs; a click takes it away."""

    class Removed(Notice):
        """``chip`` was clicked."""

        def __init__(self, chip: Chip) -> None:
            super().__init__()
            self.chip = chip

    def __init__(self, file: Attachment) -> None:
        self.file = file
        self.counted = False
        self._length = size(len(file.text.encode("utf-8", errors="replace")))
        super().__init__(self._label(), classes="chip", markup=False)

    def cost(self, count: int) -> None:
        """Say how many tokens the file takes."""
        self.counted = True
        self.update(self._label(f" · {tokens(count)}"))

    def _label(self, cost: str = "") -> Content:
        name = foreign(one_line(self.file.label, LONGEST_NAME))
        return Content.assemble(name, f" · {self._length}{cost}", ("  ✕", "$muted"))

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Removed(self))


class Chips(HorizontalScroll):
    """A row of chips, hidden while there is none; what does not fit is scrolled to."""

    def __init__(self) -> None:
        super().__init__(id="chips", can_focus=False)
        self._shown: list[Chip] = []

    def on_mount(self) -> None:
        self.display = bool(self._shown)

    @property
    def files(self) -> tuple[Attachment, ...]:
        """The files, in the order in which they came."""
        return tuple(chip.file for chip in self._shown)

    @property
    def all_counted(self) -> bool:
        """Whether every chip says what it costs."""
        return all(chip.counted for chip in self._shown)

    def add(self, *files: Attachment) -> None:
        """Chips stay where they stand when one is added: a click is one press and one release."""
        added = [Chip(file) for file in files]
        self._shown += added
        self.mount(*added)
        self.display = bool(self._shown)
        if added:
            self.call_after_refresh(self.scroll_end, animate=False)

    def replace(self, files: Iterable[Attachment]) -> None:
        """Show other files."""
        for chip in self._shown:
            chip.remove()
        self._shown.clear()
        self.add(*files)

    def drop(self, chip: Chip | None = None) -> bool:
        """Take ``chip`` away, by default the last; False where it has gone already."""
        if chip is None and self._shown:
            chip = self._shown[-1]
        if chip is None or chip not in self._shown:
            return False
        self._shown.remove(chip)
        chip.remove()
        self.display = bool(self._shown)
        return True

    def cost(self, file: Attachment, count: int) -> None:
        """Say how many tokens ``file`` takes, if it is shown still."""
        for chip in self._shown:
            if chip.file is file:
                chip.cost(count)
