"""The files that go with the message in the prompt, one chip each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
# Cells that stay of a name where the row is short: first with the sizes, then without.
SHORTENED, SHORTEST = 10, 5
# A chip's padding, and the cell behind it.
AROUND = 3


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
        self._cost = ""
        self._called = foreign(one_line(file.label, LONGEST_NAME))
        self._length = size(len(file.text.encode("utf-8", errors="replace")))
        super().__init__(self._label(LONGEST_NAME), classes="chip", markup=False)

    def cost(self, count: int) -> None:
        """Say how many tokens the file takes."""
        self.counted = True
        self._cost = f" · {tokens(count)}"

    @property
    def name_length(self) -> int:
        """What its whole name takes, in cells."""
        return self._called.cell_length

    def length(self, *, sized: bool) -> int:
        """What it takes beside its name, in cells; ``sized`` with the size of the file."""
        return AROUND + self._beside(sized=sized).cell_length

    def fit(self, longest: int, *, sized: bool) -> None:
        """Show at most ``longest`` cells of the name, and the size if ``sized``."""
        self.update(self._label(longest, sized=sized))

    def _label(self, longest: int, *, sized: bool = True) -> Content:
        name = self._called
        if longest < name.cell_length:
            # Of a wide letter that would be cut in two a blank stays.
            name = Content.assemble(name.truncate(max(0, longest - 1)).rstrip(), "…")
        return Content.assemble(name, self._beside(sized=sized))

    def _beside(self, *, sized: bool) -> Content:
        length = f" · {self._length}" if sized or not self.counted else ""
        return Content.assemble(length, self._cost, ("  ✕", "$muted"))

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Removed(self))


class Chips(HorizontalScroll):
    """A row of chips, hidden while there is none. Where it is short names are cut and sizes go;
    what does not fit even so is scrolled to.
    """

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
        self._fit()
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
        self._fit()
        return True

    def cost(self, file: Attachment, count: int) -> None:
        """Say how many tokens ``file`` takes, if it is shown still."""
        for chip in self._shown:
            if chip.file is file:
                chip.cost(count)
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Let the chips be as long as there is room for: what they cost is seen, and the cross."""
        width = self.size.width
        if not width or not self._shown:
            return
        names = [chip.name_length for chip in self._shown]
        for sized, least in ((True, SHORTENED), (False, SHORTEST)):
            room = width - sum(chip.length(sized=sized) for chip in self._shown)
            longest = longest_for(names, room, least)
            if longest:
                break
        for chip in self._shown:
            chip.fit(longest or SHORTEST, sized=sized)


def longest_for(lengths: Sequence[int], room: int, least: int) -> int:
    """To how much names of these lengths are cut to have ``room`` together; 0 where ``least`` is
    too much.
    """
    for longest in range(max(*lengths, least), least - 1, -1):
        if sum(min(length, longest) for length in lengths) <= room:
            return longest
    return 0
