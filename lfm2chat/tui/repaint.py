"""Drawing less of a screen: of a part that changed, only the widgets that are seen there.

Textual draws every widget inside the one rectangle around all changes: with a line at the top and
one at the bottom that is the whole screen. This compositor goes by the changes themselves, and
leaves out what lies hidden behind something else. It builds on two private methods; where they
are gone, Textual's own way of drawing is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip

Render = tuple[Region, Region, list[Strip]]
_NEEDED = ("_get_renders", "render_partial_update", "visible_widgets")


class PartialCompositor(Compositor):
    """A compositor whose partial updates cost what the changed parts cost."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: list[Region] | None = None

    def render_partial_update(self) -> ChopsUpdate | None:
        self._wanted = list(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._wanted = None

    def _get_renders(self, crop: Region | None = None) -> Iterable[Render]:
        if self._wanted is None:
            yield from super()._get_renders(crop)
            return
        wanted = self._wanted
        # From front to back: what one widget covers whole is wanted of none behind it.
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            touched = [part for part in wanted if seen.overlaps(part)]
            if not touched:
                continue
            top = max(seen.y, min(part.y for part in touched))
            bottom = min(seen.bottom, max(part.bottom for part in touched))
            band = Region(seen.x, top, seen.width, bottom - top)
            yield region, band, widget.render_lines(band.translate((-region.x, -region.y)))
            wanted = [part for part in wanted if not seen.contains_region(part)]
            if not wanted:
                return


def repaint_by_parts(screen: Screen[None]) -> bool:
    """Let ``screen``, not shown yet, draw by parts; whether this Textual allows it."""
    if not all(hasattr(Compositor, name) for name in _NEEDED) or not hasattr(screen, "_compositor"):
        return False
    screen._compositor = PartialCompositor()  # noqa: SLF001
    return True
