"""Widgets that are laid out once when they grow.

When a layout gives a widget another size, Textual asks for a second layout of the whole screen, in
case the size of what scrolls changed what fits. For a widget that is as high as its content that
finds what the first found, at the price of the first: with text that grows row by row it doubled
what a frame costs.
"""

from __future__ import annotations

from textual.geometry import Size


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
