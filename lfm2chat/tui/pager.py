"""An answer in the user's own pager, while the app is suspended."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping

from lfm2chat.chat.text import safe
from lfm2chat.errors import UsageError

FALLBACKS = ("less", "more")


def pager_of(environment: Mapping[str, str]) -> list[str]:
    """The command of ``$PAGER``, else of a pager that is there.

    Raises:
        UsageError: There is none, or ``$PAGER`` cannot be read.
    """
    wanted = environment.get("PAGER", "")
    try:
        candidates = [shlex.split(wanted)] if wanted.strip() else [[name] for name in FALLBACKS]
    except ValueError as error:
        raise UsageError(f"PAGER is {wanted!r}: {error}", hint="name a program") from error
    for command in candidates:
        found = shutil.which(command[0], path=environment.get("PATH"))
        if found is not None:
            return [found, *command[1:]]
    names = ", ".join(command[0] for command in candidates)
    raise UsageError(f"no pager was found: {names}", hint="set PAGER to one that is installed")


def page(command: list[str], text: str) -> None:
    """Show ``text``, made safe, and come back when the user leaves. The terminal must be free.

    Raises:
        UsageError: The program cannot be started.
    """
    try:
        subprocess.run(  # noqa: S603 - the user's own program
            command,
            input=(safe(text).rstrip("\n") + "\n").encode("utf-8", errors="replace"),
            # Descriptor 2 is the log while the app runs.
            stderr=sys.__stderr__,
            check=False,
        )
    except BrokenPipeError:
        pass  # it was left before it had read everything
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be started: {error.strerror or error}", hint="set PAGER"
        ) from error
