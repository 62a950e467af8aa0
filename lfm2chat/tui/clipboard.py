"""Copying: try what this system has, in order, and say which one took the text.

The order: the platform's own command (``pbcopy``, ``wl-copy``, ``xclip``, ``xsel``,
``clip.exe``), the tmux buffer, and the terminal itself (OSC 52, which works over ssh where the
terminal allows it and never says whether it did). Runs programs: never on the event loop.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

# Terminals drop or hang on longer sequences.
LONGEST_OSC52_BYTES = 100_000
TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Copied:
    """Who took the text (``""`` when nobody did), and whether that is certain."""

    by: str
    certain: bool = True


def osc52(text: str) -> str | None:
    """The sequence that hands ``text`` to the terminal, or None when it is too long for it."""
    data = text.encode("utf-8", errors="replace")
    if len(data) > LONGEST_OSC52_BYTES:
        return None
    return f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x1b\\"


def copy(
    text: str,
    *,
    write_terminal: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Copied:
    """Copy ``text``; ``write_terminal`` writes raw bytes to the terminal, thread-safe."""
    environment = os.environ if environment is None else environment
    data = text.encode("utf-8", errors="replace")
    for name, command in _commands(environment):
        if _run(command, data):
            return Copied(name)
    sequence = osc52(text)
    if sequence is None:
        return Copied("", certain=False)
    write_terminal(sequence)
    return Copied("the terminal", certain=False)


def _commands(environment: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    remote = bool(environment.get("SSH_CONNECTION"))
    candidates: list[tuple[str, list[str], bool]] = [
        ("pbcopy", ["pbcopy"], not remote),
        ("wl-copy", ["wl-copy"], bool(environment.get("WAYLAND_DISPLAY"))),
        ("xclip", ["xclip", "-selection", "clipboard"], bool(environment.get("DISPLAY"))),
        ("xsel", ["xsel", "--clipboard", "--input"], bool(environment.get("DISPLAY"))),
        ("the Windows clipboard", ["clip.exe"], bool(environment.get("WSL_DISTRO_NAME"))),
        ("tmux", ["tmux", "load-buffer", "-w", "-"], bool(environment.get("TMUX"))),
    ]
    for name, command, usable in candidates:
        program = shutil.which(command[0], path=environment.get("PATH")) if usable else None
        if program is not None:
            yield name, [program, *command[1:]]


def _run(command: list[str], data: bytes) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed list of programs, the text goes to stdin
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
