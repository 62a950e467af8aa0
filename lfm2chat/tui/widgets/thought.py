"""What a model thought before it answered: one line, unfolded when it is asked for."""

from __future__ import annotations

import re

from textual.content import Content

from lfm2chat.chat.text import one_line, safe
from lfm2chat.tui.widgets.foreign import cut_for_view, foreign
from lfm2chat.tui.widgets.hits import marked, row_of
from lfm2chat.tui.widgets.part import TextPart

LONGEST_LINE = 200


class Thought(TextPart):
    """One thought. While it is being written its last line is shown below the count of words."""

    def __init__(self) -> None:
        super().__init__(name="thought", style="$muted", wrap=False, below=1)
        self._text = ""
        self._words = 0
        self._thinking = False
        self._folded = True
        # Whether it is unfolded for what was looked for only.
        self._for_hit = False
        self._drawn: tuple[bool, bool] | None = None
        self._pattern: re.Pattern[str] | None = None
        self._number: int | None = None

    @property
    def folded(self) -> bool:
        """Whether only one line of it is shown."""
        return self._folded

    def show(self, text: str, *, thinking: bool) -> None:
        """Show ``text``, raw and without its tags; ``thinking`` while there is more to come."""
        self._text, self._words, self._thinking = safe(text), len(text.split()), thinking
        self._draw()

    def fold(self, folded: bool) -> None:
        """Show one line of it, or all."""
        self._for_hit = False
        if folded != self._folded:
            self._folded = folded
            self.wrap = not folded
            self._draw()

    def unfold_for_hit(self) -> None:
        """Show all of it as long as something in it is looked for."""
        if self._folded:
            self.fold(False)
            self._for_hit = True

    def fold_again(self) -> None:
        """Fold it if :meth:`unfold_for_hit` has unfolded it, and the user did not since."""
        if self._for_hit:
            self.fold(True)

    def find(self, pattern: re.Pattern[str] | None, number: int | None = None) -> None:
        """Mark what ``pattern`` finds in it; the reader is at hit ``number``."""
        self._pattern, self._number = pattern, number
        self._draw()

    @property
    def seen(self) -> str:
        """The text that is drawn where it is unfolded."""
        return cut_for_view(self._text)

    def row_of(self, pattern: re.Pattern[str], number: int) -> int:
        """The row of a hit, where it is unfolded."""
        return 1 + row_of(self.seen, pattern, number, self.column.text_width)

    def _draw(self) -> None:
        words = f"{self._words} word" + ("" if self._words == 1 else "s")
        if self._thinking:
            head = f"{'▸' if self._folded else '▾'} thinking… {words}"
        else:
            head = f"{'▸' if self._folded else '▾'} thought, {words}"
        content = Content(head)
        if not self._folded:
            text = foreign(self.seen)
            if self._pattern is not None:
                text = marked(text, self._pattern, self._number)
            content = Content.assemble(content, "\n", text)
        elif self._thinking:
            last = one_line(self._text.rpartition("\n")[2], LONGEST_LINE)
            content = Content.assemble(content, "\n  ", foreign(last))
        # While it is written and folded it stays two rows high: nothing is laid out again.
        shape = (self._folded, self._thinking)
        self.update(content, layout=not self._folded or shape != self._drawn)
        self._drawn = shape
