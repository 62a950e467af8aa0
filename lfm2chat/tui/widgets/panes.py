"""The panes of the chat screen, one to four, side by side where the width allows."""

from __future__ import annotations

from collections.abc import Iterator

from textual.containers import Container

from lfm2chat.tui.widgets.pane import Pane

MOST_PANES = 4
# A pane that is narrower breaks every line of code.
NARROWEST = 36


class Panes(Container):
    """All panes, in the order in which they were opened; never none."""

    def __init__(self, *, id: str | None = None) -> None:
        first = Pane()
        super().__init__(first, id=id)
        self._panes = [first]
        self._active = 0

    def __len__(self) -> int:
        return len(self._panes)

    def __iter__(self) -> Iterator[Pane]:
        return iter(self._panes)

    @property
    def active(self) -> Pane:
        """The pane that the prompt speaks to."""
        return self._panes[self._active]

    def index(self, pane: Pane) -> int:
        """Which one ``pane`` is, from 0.

        Raises:
            ValueError: It was closed.
        """
        return self._panes.index(pane)

    def at(self, index: int) -> Pane:
        """The pane number ``index``, from 0."""
        return self._panes[index]

    async def add(self) -> Pane:
        """Open one more at the end; the active one stays active."""
        pane = Pane()
        self._panes.append(pane)
        self._arrange()
        await self.mount(pane)
        return pane

    async def close(self, index: int) -> None:
        """Close one; what is written in it goes on. The last one cannot be closed."""
        pane = self._panes.pop(index)
        self._active = min(self._active, len(self._panes) - 1)
        self._arrange()
        await pane.remove()

    def choose(self, index: int) -> None:
        """Make a pane the active one."""
        self._active = index

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        count = len(self._panes)
        columns = 2 if count == MOST_PANES else count
        if columns * NARROWEST > self.size.width > 0:
            columns = 1 if count < MOST_PANES or self.size.width < 2 * NARROWEST else 2
        rows = -(-count // columns)
        self.styles.grid_size_columns = columns
        self.styles.grid_size_rows = rows
