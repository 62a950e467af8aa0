"""A letter on every place of the screen: press one, and be there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.errors import NoWidget
from textual.events import Key
from textual.geometry import Offset, Region, Size
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

# The row under the fingers first; f and j are found blindly.
LETTERS = "fjdkslaghrueiwoqptyvncmxbz1234567890"


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere to go: where it is on the screen, and what going there does."""

    at: Offset
    go: Callable[[], Awaitable[object]]


@runtime_checkable
class HasPlaces(Protocol):
    """A widget that takes no focus but can be clicked."""

    def places(self) -> list[tuple[Offset, Callable[[], Awaitable[object]]]]:
        """Where it can be clicked, seen from its content's corner, and what that does."""


def places_of(screen: Screen[Any]) -> list[Place]:
    """Every place that is in view now, from the top left to the bottom right."""
    places: list[Place] = []
    for widget in screen.walk_children(Widget):
        seen = _seen(screen, widget)
        if seen is None:
            continue
        if widget.focusable:
            places.append(Place(seen.offset, _focus(widget)))
        elif isinstance(widget, HasPlaces):
            corner = widget.content_region.offset
            places += [Place(corner + offset, go) for offset, go in widget.places()]
    return sorted(places, key=lambda place: (place.at.y, place.at.x))


def _seen(screen: Screen[Any], widget: Widget) -> Region | None:
    try:
        region = screen.find_widget(widget).visible_region
    except NoWidget:
        return None
    return region if widget.visible and region.area else None


def _focus(widget: Widget) -> Callable[[], Awaitable[object]]:
    async def go() -> None:
        widget.focus()

    return go


class JumpScreen(ModalScreen[Place | None]):
    """Lies over another screen. Gives the place whose letter was pressed, or None."""

    CSS_PATH = "jump.tcss"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("ctrl+g", "leave", "Leave", show=False, id="jump"),
    ]

    def __init__(self, places: list[Place]) -> None:
        super().__init__()
        self._places = dict(zip(LETTERS, places, strict=False))
        self._size_at_first = Size()
        self._left = False

    @property
    def labels(self) -> dict[str, Place]:
        """Which letter leads where."""
        return dict(self._places)

    def compose(self) -> ComposeResult:
        for letter, place in self._places.items():
            label = Static(Content(letter), classes="jump-label", markup=False)
            label.styles.offset = place.at
            yield label

    def on_key(self, event: Key) -> None:
        place = self._places.get(event.character or "")
        if place is not None:
            event.stop()
            self._leave(place)

    def _leave(self, place: Place | None) -> None:
        # Once: a resize is told twice, and a second one would close the screen below.
        if not self._left:
            self._left = True
            self.dismiss(place)

    def on_mount(self) -> None:
        self._size_at_first = self.app.size

    def on_resize(self) -> None:
        if self.app.size != self._size_at_first:  # the places have moved
            self._leave(None)

    def on_click(self) -> None:
        self._leave(None)

    def action_leave(self) -> None:
        """Stay where it was."""
        self._leave(None)
