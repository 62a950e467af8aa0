"""What was found out about native kernels on a machine, as records and as the file that keeps them.

In and out: a path, :class:`KernelTrial` values. A file that is broken, or of another format, counts
as empty; one broken record does not cost the others.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lfm2chat.engine.backends.native_library import COMMON_AHEAD, Ahead
from lfm2chat.engine.files import new_file
from lfm2chat.errors import ConfigError
from lfm2chat.modelfiles.strictjson import read_json

FORMAT = 5
MAX_TRIALS = 64
"""Trials that are kept, the latest."""

MOST_DISTURBED = 4
"""So many trials are made anew because other programs were at work; then the last is believed."""


PROMPT_ROWS = 64
"""Rows of activations that stand for reading a prompt."""

TURN_READ, TURN_WRITTEN = 256, 64
"""Tokens of the turn that the sets are compared by."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One set of kernels: seconds to decode one token, and to read 64, with a model's matrices."""

    name: str
    decode_s: float
    read_64_s: float

    @property
    def turn_s(self) -> float:
        """Seconds that a turn would take."""
        return TURN_READ / PROMPT_ROWS * self.read_64_s + TURN_WRITTEN * self.decode_s


@dataclass(frozen=True, slots=True)
class KernelTrial:
    """What was chosen for one kind of model, when, and why.

    Attributes:
        chosen: The name of the set.
        ahead: How it reads matrices of each number of bits.
        tried_at: ISO 8601, in UTC.
        times: Of each set that was tried, in the library's order.
        processor: The name of the processor.
        library: The version of the kernels.
        threads: How many worked.
        shapes: Each kind of matrix, as rows, columns, bits and how many of it the model has.
        disturbed: 0 where nothing else was at work; else which such trial in a row this was.
    """

    chosen: str
    ahead: tuple[tuple[int, Ahead], ...]
    tried_at: str
    times: tuple[KernelTime, ...]
    processor: str
    library: str
    threads: int
    shapes: tuple[tuple[int, int, int, int], ...]
    disturbed: int = 0

    @property
    def weights(self) -> int:
        """Numbers that one token meets, in layers and head."""
        return sum(rows * columns * count for rows, columns, _, count in self.shapes)

    @property
    def bits(self) -> int:
        """Bits of a weight in the layers."""
        return min(bits for _, _, bits, _ in self.shapes)

    @property
    def provisional(self) -> bool:
        """Whether it will be made again."""
        return 0 < self.disturbed < MOST_DISTURBED

    def answers(self, other: KernelTrial) -> bool:
        """Whether it is about the same machine, kernels and matrices as ``other``."""
        names = {time.name for time in self.times}
        return names == {time.name for time in other.times} and all(
            getattr(self, field) == getattr(other, field)
            for field in ("processor", "library", "threads", "shapes")
        )


def read_trials(path: Path) -> list[KernelTrial]:
    """The trials in ``path``, oldest first; none where there is no such file, or a broken one."""
    try:
        values = read_json(path)
    except ConfigError:
        return []
    rows = values.get("trials")
    if values.get("format") != FORMAT or not isinstance(rows, list):
        return []
    found = []
    for row in rows[-MAX_TRIALS:]:
        with suppress(KeyError, TypeError, ValueError):
            found.append(_parse(row))
    return found


def save_trials(trials: Sequence[KernelTrial], path: Path) -> None:
    """Replace ``path`` at once by the latest of ``trials``.

    Where it cannot be written, a trial is made again next time.
    """
    data = {"format": FORMAT, "trials": [asdict(trial) for trial in trials[-MAX_TRIALS:]]}
    with suppress(OSError), new_file(path) as (file, name):
        file.write(json.dumps(data, allow_nan=False).encode())
        file.flush()
        os.fsync(file.fileno())
        name.replace(path)


def _parse(row: Any) -> KernelTrial:
    """One trial of a file.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    times = tuple(
        KernelTime(str(one["name"]), _positive(one["decode_s"]), _positive(one["read_64_s"]))
        for one in row["times"]
    )
    shapes = tuple((int(r), int(c), int(bits), int(n)) for r, c, bits, n in row["shapes"])
    texts = [row[name] for name in ("chosen", "tried_at", "processor", "library")]
    if not all(isinstance(text, str) for text in texts) or not shapes or not times:
        raise TypeError("no trial")
    chosen, tried_at, processor, version = texts
    datetime.fromisoformat(tried_at)
    ahead = tuple((int(bits), Ahead(number)) for bits, number in row["ahead"])
    if {bits for bits, _ in ahead} != set(COMMON_AHEAD):
        raise ValueError("not one for each number of bits")
    return KernelTrial(
        *(chosen, ahead, tried_at, times, processor, version, int(row["threads"]), shapes),
        disturbed=int(row["disturbed"]),
    )


def _positive(number: Any) -> float:
    if not isinstance(number, int | float) or not 0 < number < math.inf:
        raise ValueError("no number of seconds")
    return float(number)
