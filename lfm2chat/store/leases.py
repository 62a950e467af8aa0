"""Who writes an answer, and whether that process still lives.

Two processes may share one store. An answer that is being written carries its writer's lease:
process number, start time and a random name of the opened store. A process number alone comes
back after a while; with the start time it does not.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class WriterLease:
    """One opened store of one process. ``started`` is in clock ticks since boot, "" unknown."""

    pid: int
    started: str
    instance: str

    @classmethod
    def of_this_process(cls) -> Self:
        """A new lease; two stores opened in one process have different ones."""
        pid = os.getpid()
        return cls(pid, _start_time(pid) or "", secrets.token_hex(8))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The inverse of ``str``; None for text that no lease has."""
        pid, _, rest = text.partition(":")
        started, _, instance = rest.partition(":")
        return cls(int(pid), started, instance) if pid.isascii() and pid.isdigit() else None

    def __str__(self) -> str:
        return f"{self.pid}:{self.started}:{self.instance}"

    def is_alive(self) -> bool:
        """Whether the process that took this lease still runs.

        Linux compares the start time, so a reused process number is not mistaken for it.
        Elsewhere a process with that number is taken for it. Windows cannot ask without harm
        (signal 0 is Ctrl-C there) and says no; a writer that lives after all puts its message
        right when it finishes it.
        """
        if sys.platform == "win32":
            return False
        if Path("/proc/self/stat").exists():
            started = _start_time(self.pid)
            return started is not None and self.started in ("", started)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True
        return True


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/<pid>/stat, or None: no such process, a zombie, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in ("Z", "X") else started
