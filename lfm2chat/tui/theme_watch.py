"""What changes in the folder of the user's themes while the app runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.theme import Theme

from lfm2chat.errors import SettingsError
from lfm2chat.tui.theme import read_theme, theme_files


@dataclass(frozen=True, slots=True)
class ThemeChanges:
    """What to do: themes to take (label and theme), names whose file is gone, mistakes to tell."""

    themes: tuple[tuple[str, Theme], ...] = ()
    gone: tuple[str, ...] = ()
    errors: tuple[SettingsError, ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.themes or self.gone or self.errors)


class ThemeWatch:
    """Looks at one folder. :meth:`look` reads files and is called by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = self._stamps()

    def look(self) -> ThemeChanges:
        """What changed since the last look, by time and size of the files.

        A file with a mistake gives an error and no theme: what was read before stays good.
        """
        before, self._known = self._known, self._stamps()
        themes: list[tuple[str, Theme]] = []
        errors: list[SettingsError] = []
        for path, stamp in self._known.items():
            if before.get(path) == stamp:
                continue
            try:
                themes.append(read_theme(path))
            except SettingsError as error:
                errors.append(error)
        gone = tuple(path.stem for path in before if path not in self._known)
        return ThemeChanges(tuple(themes), gone, tuple(errors))

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        stamps: dict[Path, tuple[int, int]] = {}
        for path in theme_files(self._folder):
            try:
                status = path.stat()
            except OSError:  # gone since it was listed
                continue
            stamps[path] = (status.st_mtime_ns, status.st_size)
        return stamps
