"""``@path`` in a prompt: which part of a line is one, and the files that it may become.

Plain functions, no Textual. A path is relative to the working directory, to the home folder
(``~/``), or absolute; one with spaces stands in quotes: ``@"my notes/a.txt"``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Of one folder: a list longer than this is not read by anybody, and a folder may have millions.
MOST_SCANNED = 5_000
MOST_SHOWN = 50
# Never offered, though they may be typed in full: what programs keep for themselves.
SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules"})

_MENTION = re.compile(r'(?:^|(?<=\s))@(?:"(?P<quoted>[^"\n]*)|(?P<bare>[^\s"@][^\s"]*|))$')
_ATTACH = re.compile(r'^/attach[ \t]+"?(?P<bare>[^"\n]*)$')


@dataclass(frozen=True, slots=True)
class Mention:
    """A path that is being typed: it takes the columns from ``start`` to the cursor."""

    start: int
    typed: str
    by_command: bool = False


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A file or folder that a mention may become. ``typed`` is its path as the user writes it."""

    path: Path
    typed: str
    name: str
    folder: bool


def mention_at(line: str, column: int) -> Mention | None:
    """The mention that ends at ``column`` of ``line``, or what follows ``/attach``; else None."""
    before = line[:column]
    command = _ATTACH.match(before)
    if command is not None:
        return Mention(0, command["bare"], by_command=True)
    found = _MENTION.search(before)
    if found is None:
        return None
    return Mention(found.start(), found["quoted"] if found["bare"] is None else found["bare"])


def path_of(typed: str, *, beside: Path | None = None) -> Path:
    """The path that ``typed`` means, relative to ``beside``, by default the working directory."""
    text = typed.strip().strip('"')
    if text == "~" or text.startswith(("~/", "~\\")):
        return Path.home() / text[2:]
    return (beside or Path.cwd()) / text


def path_matches(typed: str, *, beside: Path | None = None) -> list[PathMatch]:
    """What the last part of ``typed`` may become, folders first; hidden ones if it begins so.

    Nothing where the folder cannot be read. Reads the disk: not for the event loop.
    """
    stem, slash, start = typed.rpartition("/")
    folder = path_of(stem + slash, beside=beside) if slash else path_of("", beside=beside)
    if typed == "~":
        return []
    found: list[PathMatch] = []
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(MOST_SCANNED), entries, strict=False):
                if _is_offered(entry.name, start):
                    typed_path = stem + slash + entry.name
                    found.append(
                        PathMatch(Path(entry.path), typed_path, entry.name, _is_folder(entry))
                    )
    except (OSError, ValueError):
        return []
    found.sort(key=lambda match: (not match.folder, match.name.casefold()))
    return found[:MOST_SHOWN]


def written(match: PathMatch) -> str:
    """The mention of a folder that was chosen, so that what is in it can be chosen next."""
    quote = '"' if any(character.isspace() for character in match.typed) else ""
    return f"@{quote}{match.typed}/"


def _is_offered(name: str, start: str) -> bool:
    # What is no text cannot be typed, and a quote would end the mention.
    printable = name.isprintable() and '"' not in name
    hidden = name.startswith(".") and not start.startswith(".")
    begins_so = name.casefold().startswith(start.casefold())
    return begins_so and printable and not hidden and name not in SKIPPED


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
