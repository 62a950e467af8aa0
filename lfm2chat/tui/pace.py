"""How often the screen is drawn while an answer streams: so that drawing takes a small share.

The model computes in this process on every core: what the screen takes of one, all of them wait
for. A frame's cost is the time of this thread's own work, whatever else ran meanwhile, so a slow
terminal, a large window or a long table is drawn less often, and a small one smoothly.
"""

from __future__ import annotations

import time

SHARE = 0.035
"""Of one core."""
SHORTEST_S = 1 / 20
LONGEST_S = 0.5
REMEMBERED = 0.7
"""How much of the expected cost is what was expected before, after each frame."""


class Pace:
    """When the next frame is due. On the event loop's thread only."""

    def __init__(self) -> None:
        self._cost_s = 0.0
        self._began_cpu_s: float | None = None
        self._due_s = 0.0

    @property
    def interval_s(self) -> float:
        """Seconds from one frame to the next, by what frames cost."""
        return min(LONGEST_S, max(SHORTEST_S, self._cost_s / SHARE))

    def due(self) -> bool:
        """Whether a frame may begin now."""
        return time.monotonic() >= self._due_s

    def begin(self) -> None:
        """A frame begins; until :meth:`end` the next one waits, but never for ever."""
        self._began_cpu_s = time.thread_time()
        self._due_s = time.monotonic() + LONGEST_S

    def end(self) -> None:
        """The frame is on the screen."""
        if self._began_cpu_s is None:
            return
        cost = time.thread_time() - self._began_cpu_s
        self._began_cpu_s = None
        known = self._cost_s or cost
        self._cost_s = REMEMBERED * known + (1 - REMEMBERED) * cost
        self._due_s = time.monotonic() + self.interval_s
