"""Whether other programs were at work while something was timed.

A figure that is kept for good should not be one of a busy moment. What others take is missing from
the processor time of this process.
"""

from __future__ import annotations

import time

LEAST_SHARE = 0.7
"""Of the processor time that the threads could have had. In trials of real models on two threads
and two cores: 0.85 to 0.96 with nothing else at work, 0.29 to 0.48 beside one busy program.
"""


class Watch:
    """Watches from where it is made until it is asked, while ``threads`` have something to do."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._started = time.perf_counter()
        self._had = time.process_time()

    def disturbed(self) -> bool:
        """Whether others took a large part of the time."""
        possible = self._threads * (time.perf_counter() - self._started)
        return time.process_time() - self._had < LEAST_SHARE * possible
