"""What a listing shows, and what comes of it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a name, and what there is to say about it. ``own`` may be deleted."""

    name: str
    details: str
    own: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """Use the row of that name; ``own`` tells the user's from the built-in ones."""

    name: str
    own: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """Delete the user's row of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Keep what there is now under a new name."""


@dataclass(frozen=True, slots=True)
class Edited:
    """Change the text of the user's row of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """Give the user's row of that name another one."""

    name: str


Choice = Chosen | Deleted | Kept | Edited | Renamed
