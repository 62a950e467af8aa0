"""What a long text costs less with: widgets that are laid out once when they grow, an index of
places for few widgets, and rows that are not counted before they are drawn.

When a layout gives a widget another size, Textual asks for a second layout of the whole screen, in
case the size of what scrolls changed what fits. For a widget that is as high as its content that
finds what the first found, at the price of the first: with text that grows row by row it doubled
what a frame costs.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual._spatial_map import SpatialMap
from textual._styles_cache import StylesCache
from textual.geometry import Offset, Region, Size
from textual.layout import DockArrangeResult, WidgetPlacement

Entry = tuple[Region, Offset, bool, bool, WidgetPlacement]


# No widget itself: what Textual reads a widget's style from is its first base.
class PlacedOnce:
    """Mixed into a widget, it takes a new size without another layout.

    The private name overridden is Textual 8's; under another it is never called, and Textual lays
    out twice, as it does for all.
    """

    _size: Size

    def _size_updated(
        self,
        size: Size,
        virtual_size: Size,
        container_size: Size,
        layout: bool = True,  # noqa: ARG002 - as it is called
    ) -> bool:
        if size.width == self._size.width:
            # The rows that it had are as they were: no border closes it below.
            self._size = size
        placed: bool = super()._size_updated(  # type: ignore[misc]
            size, virtual_size, container_size, layout=False
        )
        return placed


class FewPlaces(SpatialMap[WidgetPlacement]):
    """An index that gives all that is in it for every region; whoever asks looks at each.

    Textual's own lists a widget in every cell of 20 rows that it covers: the room of 10,000
    messages is in some thousand, anew with each layout.
    """

    def insert(self, regions_and_values: Iterable[Entry]) -> None:
        for region, _, fixed, overlay, placement in regions_and_values:
            # What is "fixed" is given for every region.
            self._fixed.append(placement)
            if not fixed and not overlay:
                self.total_region = self.total_region.union(region)


def index_few(result: DockArrangeResult) -> None:
    """Let ``result`` be asked by :class:`FewPlaces`: of few widgets, some of them very high."""
    if result._spatial_map is None:  # noqa: SLF001 - there is no other way to it
        result._spatial_map = FewPlaces()  # noqa: SLF001
        result._spatial_map.insert(  # noqa: SLF001
            (one.region.grow(one.margin), one.offset, one.fixed, one.overlay, one)
            for one in result.placements
        )


class DrawnRows(StylesCache):
    """The rows of a very high widget as they were drawn.

    Textual notes the number of each row, drawn or not, that a change of the whole makes stale. A
    row that was not drawn needs no note.
    """

    def set_dirty(self, *regions: Region) -> None:
        if self._cache or not regions:
            super().set_dirty(*regions)
