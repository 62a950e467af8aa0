"""A message written in another editor: which one, and the private file that it is given.

Plain functions, no Textual: both front ends use them, each with its terminal put aside.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lfm2chat.errors import UsageError

FALLBACKS = ("nano", "vim", "vi", "emacs")
_HINT = "set VISUAL or EDITOR to the editor that you use"


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """The words that start the user's editor: VISUAL, EDITOR, else one that is there.

    Raises:
        UsageError: None is, or the one that is set cannot be found.
    """
    for variable in ("VISUAL", "EDITOR"):
        value = environ.get(variable, "").strip()
        if value:
            return _found(variable, value, environ)
    if os.name == "nt":
        return ["notepad"]
    for name in FALLBACKS:
        if shutil.which(name, path=environ.get("PATH")):
            return [name]
    raise UsageError("no editor was found: " + ", ".join(FALLBACKS), hint=_HINT)


def _found(variable: str, value: str, environ: Mapping[str, str]) -> list[str]:
    try:
        words = shlex.split(value, posix=os.name != "nt")
    except ValueError as error:
        raise UsageError(f"{variable} cannot be read: {error}", hint=_HINT) from error
    if not words or shutil.which(words[0], path=environ.get("PATH")) is None:
        raise UsageError(f"{variable} is {value!r}, which cannot be found", hint=_HINT)
    return words


def edit(text: str, command: list[str]) -> str:
    """``text`` as the editor leaves it. Blocks until the editor ends; it has the terminal.

    The file is private (a folder of mode 0700, a file of 0600) and gone afterwards. The newline
    that editors put at the end of a file is not part of the text.

    Raises:
        UsageError: The editor cannot be started, fails, or leaves something that is no text.
    """
    with tempfile.TemporaryDirectory(prefix="lfm2chat-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "message.md"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(f"{text}\n" if text else "")
        try:
            # The terminal is on stdout; descriptor 2 may be the log.
            with _undisturbed():
                ended = subprocess.run([*command, str(path)], stderr=1, check=False)  # noqa: S603
        except OSError as error:
            raise UsageError(f"{command[0]} cannot be started: {error}", hint=_HINT) from error
        if ended.returncode != 0:
            raise UsageError(
                f"{command[0]} ended with {ended.returncode}: the message is as it was before",
                hint="save and leave the editor in the ordinary way",
            )
        return _read_back(path, command[0])


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave ctrl+c to the editor: the terminal sends it to both."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A function, not SIG_IGN, which the editor would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _read_back(path: Path, editor: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"what {editor} left cannot be read: the message is as it was before",
            hint="save it as UTF-8 text, under the name that it had",
        ) from error
    return text.removesuffix("\n")
