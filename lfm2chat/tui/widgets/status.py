"""The status line: model, what it is doing, how fast, how full the context is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.content import Content
from textual.geometry import Offset
from textual.widgets import Static

from lfm2chat.tui.widgets.foreign import foreign

GAP = "   "


@dataclass(frozen=True, slots=True)
class Status:
    """What the line says. ``tone`` colours the phase: ``busy``, ``ready``, ``error``, ``""``."""

    model: str
    phase: str
    tone: str = ""
    speed: str = ""
    context: str = ""
    reuse: str = ""
    download: str = ""


class StatusLine(Static):
    """One row; what does not fit is left out from the right, least important first."""

    TONES: ClassVar[dict[str, str]] = {
        "busy": "$accent",
        "ready": "$success",
        "error": "$error",
        "": "$muted",
    }

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._status = Status("", "")

    @property
    def status(self) -> Status:
        """What it says now."""
        return self._status

    def show(self, status: Status) -> None:
        """Say ``status``; nothing is drawn when it is said already."""
        if status != self._status:
            self._status = status
            self._draw()

    def _draw(self) -> None:
        # One row whatever it says: laying the screen out again would cost more than the row.
        self.update(self._line(self.content_size.width), layout=False)

    def on_resize(self) -> None:
        self._draw()

    async def on_click(self) -> None:
        await self._open_models()

    def places(self) -> list[tuple[Offset, Callable[[], Awaitable[object]]]]:
        """Its one place: the model."""
        return [(Offset(0, 0), self._open_models)]

    async def _open_models(self) -> None:
        await self.run_action("screen.models")

    def _line(self, width: int) -> Content:
        status = self._status
        color = self.TONES.get(status.tone, "$muted")
        left = Content.assemble(
            ("● ", color), foreign(status.model, "bold $foreground"), ("  " + status.phase, color)
        )
        right = Content("")
        for text in (status.download, status.context, status.speed, status.reuse):
            if not text:
                continue
            gap = GAP if right.plain else ""
            candidate = Content.assemble((text, "$muted"), gap, right)
            if left.cell_length + candidate.cell_length + 2 <= width:
                right = candidate
        space = max(1, width - left.cell_length - right.cell_length)
        return Content.assemble(left, " " * space, right)
