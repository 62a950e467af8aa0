"""Copying: try what this system has, in order, and say which one took the text.

The order: the platform's own command (``pbcopy``, ``wl-copy``, ``xclip``, ``xsel``,
``clip.exe``), the buffer of tmux (which hands it on to its terminal), the terminal itself (OSC 52,
which works over ssh where the terminal allows it and never says whether it did), and where no
terminal can be asked a file. Runs programs: never on the event loop.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.paths import PRIVATE_FILE

# Terminals drop or hang on longer sequences.
LONGEST_OSC52_BYTES = 100_000
# GNU screen takes no longer string inside one of its own sequences.
SCREEN_PIECE = 480
TIMEOUT_S = 3.0
# GNOME's terminal and its kin take OSC 52 from this version on.
FIRST_VTE = 7600


@dataclass(frozen=True, slots=True)
class Copied:
    """Who took the text (``""`` when nobody did), and whether that is certain.

    ``path`` is the file that it was written to, when there was nothing better.
    """

    by: str
    certain: bool = True
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    command: tuple[str, ...]
    usable: bool
    encoding: str = "utf-8"
    """What the program takes its input for."""


def osc52(text: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The sequence that hands ``text`` to the terminal, or None where there is none: the text is
    too long for it, or the terminal is known not to take any.

    Inside tmux and screen it is the sequence that they pass on.
    """
    environment = {} if environment is None else environment
    data = text.encode("utf-8", errors="replace")
    if len(data) > LONGEST_OSC52_BYTES or not _takes_osc52(environment):
        return None
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}"
    if environment.get("TMUX"):
        # Both: tmux takes the first if it may set the clipboard, passes on the second if it may.
        plain = f"{sequence}\x1b\\"
        return f"{plain}\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environment.get("STY"):
        whole = f"{sequence}\x07"
        pieces = (
            whole[start : start + SCREEN_PIECE] for start in range(0, len(whole), SCREEN_PIECE)
        )
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return f"{sequence}\x1b\\"


def copy(
    text: str,
    *,
    write_terminal: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Copied:
    """Copy ``text``; ``write_terminal`` writes raw bytes to the terminal, thread-safe.

    ``file`` is where it is written when nobody takes it, private and over what was there before;
    None where nothing may come to the disk.
    """
    environment = os.environ if environment is None else environment
    for program in _programs(environment):
        if _run(program, text, environment):
            return Copied(program.name)
    sequence = osc52(text, environment)
    if sequence is not None:
        write_terminal(sequence)
        return Copied("the terminal", certain=False)
    if file is not None and _write(text, file):
        return Copied("a file", path=file)
    return Copied("", certain=False)


def said_of(copied: Copied) -> str:
    """What became of the text, for the user; a path in it is not safe yet."""
    if copied.path is not None:
        return f"Not in the clipboard, which nothing here reaches. It is in {copied.path}"
    if not copied.by:
        return "Not copied: no clipboard program found, and the terminal cannot take it."
    if not copied.certain:
        return "Handed to the terminal's clipboard; whether it took it, it does not say."
    return f"Copied ({copied.by})."


def _programs(environment: Mapping[str, str]) -> Iterator[_Program]:
    """What may take the text here, the best first; its path is found."""
    remote = bool(environment.get("SSH_CONNECTION"))
    windows = bool(environment.get("WSL_DISTRO_NAME")) or environment.get("OS") == "Windows_NT"
    shown = bool(environment.get("DISPLAY"))
    tmux = bool(environment.get("TMUX"))
    candidates = (
        _Program("pbcopy", ("pbcopy",), not remote),
        _Program("wl-copy", ("wl-copy",), bool(environment.get("WAYLAND_DISPLAY"))),
        _Program("xclip", ("xclip", "-selection", "clipboard"), shown),
        _Program("xsel", ("xsel", "--clipboard", "--input"), shown),
        _Program("the Windows clipboard", ("clip.exe",), windows, "utf-16-le"),
        _Program("tmux", ("tmux", "load-buffer", "-w", "-"), tmux),
        # Before 3.2 tmux has no -w: its own buffer is better than nothing.
        _Program("tmux's buffer: prefix ] pastes it", ("tmux", "load-buffer", "-"), tmux),
    )
    for one in candidates:
        found = shutil.which(one.command[0], path=environment.get("PATH")) if one.usable else None
        if found is not None:
            yield _Program(one.name, (found, *one.command[1:]), True, one.encoding)


def _run(program: _Program, text: str, environment: Mapping[str, str]) -> bool:
    # pbcopy reads its input by the locale, which a terminal without one leaves at ASCII.
    locale = {"LC_CTYPE": "UTF-8"} if program.name == "pbcopy" else {}
    try:
        done = subprocess.run(  # noqa: S603 - a fixed list of programs, the text goes to stdin
            program.command,
            input=text.encode(program.encoding, errors="replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**environment, **locale},
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _takes_osc52(environment: Mapping[str, str]) -> bool:
    """Whether the terminal is not known to drop it: one that says nothing is asked."""
    if environment.get("TERM") in ("linux", "dumb"):
        return False
    if environment.get("TERM_PROGRAM") == "Apple_Terminal":
        return False
    version = environment.get("VTE_VERSION", "")
    return not (version.isdecimal() and int(version) < FIRST_VTE)


def _write(text: str, file: Path) -> bool:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(file, flags, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as written:
            written.write(text)
    except OSError:
        return False
    return True
