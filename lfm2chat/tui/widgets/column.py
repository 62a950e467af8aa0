"""The readable column of a message, and the bar on its left where the reader's cursor stands."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip

from lfm2chat.tui.widgets.placed import PlacedVertical

BAR = "█"


class Column(PlacedVertical):
    """One message. Its first cell is free: the bar is drawn there, over what else there is."""

    def __init__(self) -> None:
        super().__init__(classes="column")
        self._marked = (0, 0)

    @property
    def marked(self) -> tuple[int, int]:
        """The rows beside which the bar stands: the first, and the one after the last."""
        return self._marked

    def mark(self, first: int = 0, end: int = 0) -> None:
        """Draw the bar from row ``first`` to before ``end``; without them, none."""
        before, self._marked = self._marked, (first, end)
        if before != self._marked:
            for start, stop in (before, self._marked):
                if stop > start:
                    # Relative to the content, to the left of which it stands.
                    self.refresh(Region(-self.gutter.left, start, 1, stop - start))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows of ``crop``, with the bar."""
        strips = super().render_lines(crop)
        first, end = self._marked
        if first >= end or crop.x > 0:
            return strips
        # Over the background that the column has: no colour of its own is needed to see it.
        style = self.visual_style + self._get_style("$accent")
        bar = Strip([Segment(BAR, style.rich_style)], 1)
        return [
            Strip.join([bar, strip.crop(1)]) if first <= y < end else strip
            for y, strip in enumerate(strips, crop.y)
        ]
