"""Drawing less of a screen: of a part that changed, only the widgets that are seen there.

Textual draws every widget inside the one rectangle around all changes: with a line at the top and
one at the bottom that is the whole screen. This compositor goes by the changes themselves, and
leaves out what lies hidden behind something else. And where a message is mounted out of view
Textual draws all that are in view once more: this one only what came to stand somewhere else. It
builds on private names; where they are gone, Textual's own way of drawing is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import (
    ChopsUpdate,
    Compositor,
    CompositorMap,
    ReflowResult,
)
from textual.geometry import Region, Size
from textual.map_geometry import MapGeometry
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from lfm2chat.tui.widgets.placed import PlacedOnce

Render = tuple[Region, Region, list[Strip]]
_NEEDED = ("_get_renders", "render_partial_update", "visible_widgets", "reflow")


class PartialCompositor(Compositor):
    """A compositor whose partial updates cost what the changed parts cost."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: list[Region] | None = None

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        # After scrolling the full map is that of before it.
        before = self._full_map if self._visible_map is None else self._visible_map
        dirty = set(self._dirty_regions)
        result = super().reflow(parent, size)
        if size.region not in self._dirty_regions:
            self._dirty_regions = dirty | _moved(before, self._full_map)
        return result

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


def _moved(before: CompositorMap, after: CompositorMap) -> set[Region]:
    """The parts of the screen where something stands that did not, or no longer does."""
    parts = set()
    for widget in before.keys() | after.keys():
        old, new = before.get(widget), after.get(widget)
        if old == new or _stays(widget, old, new):
            continue
        parts |= {one.clip.intersection(one.region) for one in (old, new) if one is not None}
    return {part for part in parts if part}


def _stays(widget: Widget, old: MapGeometry | None, new: MapGeometry | None) -> bool:
    """Whether a message, or what holds them, is on the screen as it was: what may differ is its
    place in what scrolls, and its number among the others.
    """
    if old is None or new is None or not isinstance(widget, PlacedOnce):
        return False
    return (old.region, old.clip) == (new.region, new.clip)


def repaint_by_parts(screen: Screen[None]) -> bool:
    """Let ``screen``, not shown yet, draw by parts; whether this Textual allows it."""
    if not all(hasattr(Compositor, name) for name in _NEEDED) or not hasattr(screen, "_compositor"):
        return False
    screen._compositor = PartialCompositor()  # noqa: SLF001
    return True
