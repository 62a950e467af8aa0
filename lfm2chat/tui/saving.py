"""Writing a text that the user keeps into a file of his own. Touches the disk: in a thread."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from lfm2chat.chat.text import one_line, safe
from lfm2chat.errors import DiskFullError, Lfm2ChatError, UsageError
from lfm2chat.paths import PRIVATE_FILE

# The endings of files in the languages that answers are written in most.
ENDINGS = {
    "python": "py", "py": "py", "bash": "sh", "sh": "sh", "shell": "sh", "javascript": "js",
    "js": "js", "typescript": "ts", "ts": "ts", "json": "json", "html": "html", "css": "css",
    "rust": "rs", "c": "c", "cpp": "cpp", "c++": "cpp", "java": "java", "go": "go", "sql": "sql",
    "yaml": "yaml", "toml": "toml", "xml": "xml", "ruby": "rb",
}  # fmt: skip
LONGEST_NAME = 40


def suggested_name(title: str, *, language: str | None = None) -> str:
    """A name for the file: of the ``title``, with the ending of code in ``language``.

    None is for text, which is Markdown.
    """
    words = re.findall(r"\w+", one_line(title, LONGEST_NAME).lower())
    ending = "md" if language is None else ENDINGS.get(language.lower(), "txt")
    return f"{'-'.join(words)[:LONGEST_NAME] or 'answer'}.{ending}"


def target_of(line: str, name: str) -> Path:
    """The file that the user means with ``line``: in a folder, it has ``name``.

    Raises:
        UsageError: The home folder that ``~`` names is not known.
    """
    try:
        path = Path(line.strip()).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{line.strip()}: {error}", hint="write the whole path") from error
    return path / name if path.is_dir() else path


def save(text: str, path: Path, *, replace: bool = False) -> None:
    """Write ``text``, safe and ending in a newline, to ``path``; only its owner may read it.

    What is there already is replaced where ``replace`` says so, and then whole or not at all.

    Raises:
        UsageError: There is something, or the file cannot be written.
        DiskFullError: No space is left.
    """
    data = safe(text).rstrip("\n") + "\n"
    target = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(data)
            if replace:
                target.replace(path)
        except OSError:
            target.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _explained(error, path) from error


def _explained(error: OSError, path: Path) -> Lfm2ChatError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"no space is left for {path}", hint="make room, or choose another")
    why = error.strerror or str(error)
    return UsageError(f"{path} cannot be written: {why}", hint="choose another place")
