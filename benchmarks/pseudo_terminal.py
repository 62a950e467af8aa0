"""A program on a pseudo-terminal of its own: keys go in, frames come out, and what it costs.

Shared by the benchmarks of the screen. The terminal says that it knows synchronized output, so
that the end of each frame is seen. Linux only: cost and memory are read from /proc.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pexpect

PATIENCE_S = 120.0
FRAME_END = b"\x1b[?2026l"
SYNCHRONIZED = b"\x1b[?2026;2$y"
CLEAR_LINE = b"\x15"  # ctrl+u
# Characters that no text has: what is seen of them is the echo.
ALPHABET = [chr(code) for code in (*range(0x3B1, 0x3CA), *range(0x430, 0x450))]
_STYLE = re.compile(rb"\x1b\[[0-9;:]*m")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all are at most as large as; 0 of none."""
    ordered = sorted(values) or [0.0]
    return ordered[int(share * (len(ordered) - 1) + 0.5)]


class Terminal:
    """``command`` on a pseudo-terminal. ``environment`` is laid over this process's own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, columns: int, rows: int
    ) -> None:
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(rows, columns),
            env={**os.environ, "TERM": "xterm-256color", **environment},
            timeout=PATIENCE_S,
        )
        self._child.delaybeforesend = None
        self._keys = self._characters()
        self.bytes_read = 0

    def wait_for(self, text: str) -> None:
        """Read until ``text`` is written."""
        self._child.expect_exact(text.encode())

    def synchronize(self) -> None:
        """Tell the program that frames may be marked; before it draws much."""
        self.send(SYNCHRONIZED)
        self.read_for(0.3)

    def send(self, keys: bytes) -> None:
        """Press ``keys``."""
        os.write(self._child.child_fd, keys)

    def read(self, timeout_s: float) -> bytes:
        """What is written next, nothing after ``timeout_s``."""
        if not select.select([self._child.child_fd], [], [], max(0.0, timeout_s))[0]:
            return b""
        data = os.read(self._child.child_fd, 1 << 16)
        self.bytes_read += len(data)
        return data

    def read_for(self, seconds: float) -> bytes:
        """What is written in that time."""
        end = time.monotonic() + seconds
        data = b""
        while (left := end - time.monotonic()) > 0:
            data += self.read(left)
        return data

    def frame(self, timeout_s: float) -> bytes:
        """What is written until a frame has ended; what there is after ``timeout_s``."""
        end = time.monotonic() + timeout_s
        data = b""
        while FRAME_END not in data and (left := end - time.monotonic()) > 0:
            data += self.read(left)
        return data

    def until_quiet(self, text: str, quiet_s: float) -> tuple[float, float]:
        """Read until ``text`` was drawn and nothing large for ``quiet_s``; the seconds until the
        first frame with it and until the last large one.
        """
        began = last = time.perf_counter()
        shown = 0.0
        seen = b""
        deadline = began + PATIENCE_S
        while (now := time.perf_counter()) < deadline:
            if shown and now - last > quiet_s:
                return shown, last - began
            data = self.frame(0.05)
            now = time.perf_counter()
            # A blink of the cursor is no frame of what was asked for.
            if len(data) > 300:
                last = now
            seen = seen[-50_000:] + data
            if not shown and text.encode() in _STYLE.sub(b"", seen):
                shown = now - began
        raise TimeoutError(f"{text!r} was not drawn")

    def type_key(self, pause_s: float) -> float:
        """After about ``pause_s`` press a key; the seconds until it was on the screen."""
        self.read_for(random.uniform(0.5, 1.5) * pause_s)
        key = next(self._keys).encode()
        began = time.perf_counter()
        self.send(key)
        seen = b""
        while key not in seen:
            seen = seen[-8:] + self.read(PATIENCE_S)
        return time.perf_counter() - began

    def _characters(self) -> Iterator[str]:
        while True:
            yield from random.sample(ALPHABET, len(ALPHABET))
            self.send(CLEAR_LINE)
            self.read_for(0.3)

    def cpu_s(self) -> float:
        """Seconds of processor time that the program's threads have taken."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """What it holds in memory now."""
        pages = int(Path(f"/proc/{self._child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        os.kill(self._child.pid, number)

    def hang_up(self) -> None:
        """Close the terminal under the program, as a closed window does."""
        # Not pexpect's own close, which sends a signal.
        self._child.ptyproc.fileobj.close()
        self._child.ptyproc.closed = self._child.closed = True

    def wait_for_end(self) -> tuple[int, bytes]:
        """Read until the program is gone; its exit code, minus the signal that ended it, and what
        it wrote.

        Raises:
            TimeoutError: It goes on.
        """
        deadline = time.monotonic() + PATIENCE_S
        data = b""
        while self._child.isalive():
            if time.monotonic() > deadline:
                raise TimeoutError("the program did not end")
            if self._child.closed:
                time.sleep(0.002)
            else:
                data += self._last_read(0.002)
        if not self._child.closed:
            data += self._last_read(0.0)
        code = self._child.exitstatus
        return (-self._child.signalstatus if code is None else code), data

    def _last_read(self, timeout_s: float) -> bytes:
        # Where the other side is gone, reading fails on Linux.
        try:
            return self.read(timeout_s)
        except OSError:
            time.sleep(timeout_s)
            return b""

    def close(self) -> None:
        """End it; what it wrote is in a folder that goes."""
        if self._child.isalive():
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
        with contextlib.suppress(pexpect.ExceptionPexpect):
            self._child.close()
