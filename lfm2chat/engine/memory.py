"""Whether a model fits into the memory that is free, asked before it is loaded.

In: a configuration and a precision. Out: numbers, or a refusal that names them. An estimate
that is exceeded ends in the system killing the process, with the conversation on the screen.
"""

from __future__ import annotations

from pathlib import Path

import torch

from lfm2chat.errors import NotEnoughMemoryError
from lfm2chat.spec.config import Lfm2Config

try:
    import resource
except ModuleNotFoundError:  # Windows has no limits of this kind
    resource = None  # type: ignore[assignment]

USABLE_SHARE = 0.9
"""Of the free memory; the rest is for the screen, the store and everybody else."""

WORKING_BYTES = 96 * 2**20
"""What a forward pass over one chunk and the loader's buffer take beside the weights."""

UNLIMITED = 2**60


def available_memory_bytes() -> int | None:
    """Bytes that this process may still take: the machine's, its cgroup's and its own limit.

    None where the system does not say (macOS, Windows).
    """
    limits = [_machine(), _cgroup(), _address_space()]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else None


def estimate_bytes(config: Lfm2Config, dtype: torch.dtype, *, context_tokens: int = 0) -> int:
    """Memory that the model takes in ``dtype``, with a cache of ``context_tokens``."""
    weights = config.num_parameters * dtype.itemsize
    per_token = 2 * len(config.attention_layers) * config.num_key_value_heads * config.head_dim
    return weights + context_tokens * per_token * dtype.itemsize + WORKING_BYTES


def check_memory(config: Lfm2Config, *, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a model that would not fit. On a GPU torch's own error is exact: nothing is asked.

    Raises:
        NotEnoughMemoryError: The estimate is above 90 % of what is free.
    """
    if device.type == "cpu":
        check_bytes(estimate_bytes(config, dtype), what=str(dtype).removeprefix("torch."))


def check_bytes(needed: int, *, what: str) -> None:
    """Refuse to take ``needed`` bytes of memory for a model in the precision ``what``.

    Raises:
        NotEnoughMemoryError: That is above 90 % of what is free.
    """
    available = available_memory_bytes()
    if available is not None and needed > USABLE_SHARE * available:
        raise NotEnoughMemoryError(
            f"the model needs about {needed / 1e9:.1f} GB in {what},"
            f" and {available / 1e9:.1f} GB are free",
            hint="close other programs, or choose a smaller model",
        )


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup() -> int | None:
    """What the tightest cgroup (version 2) above this process leaves; file cache can go."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        name = next(line[3:] for line in groups if line.startswith("0::"))
    except (OSError, ValueError, StopIteration):
        return None
    root = Path("/sys/fs/cgroup")
    left = [_left_in(folder) for folder in _upwards(root / name.lstrip("/"), root)]
    known = [number for number in left if number is not None]
    return min(known) if known else None


def _upwards(folder: Path, root: Path) -> list[Path]:
    return [folder, *(above for above in folder.parents if above.is_relative_to(root))]


def _left_in(folder: Path) -> int | None:
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        if limit == "max":
            return None
        cached = sum(int(line.split()[1]) for line in stat if line.startswith("inactive_file "))
        return int(limit) - used + cached
    except (OSError, ValueError):
        return None


def _address_space() -> int | None:
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or limit > UNLIMITED:
        return None
    try:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return limit
    return limit - used * resource.getpagesize()
