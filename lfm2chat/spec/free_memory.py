"""How much memory is free for this process: asked of the system, standard library only."""

from __future__ import annotations

from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # Windows has no limits of this kind
    resource = None  # type: ignore[assignment]

UNLIMITED = 2**60


def available_memory_bytes() -> int | None:
    """Bytes that this process may still take: the machine's, its cgroup's and its own limit.

    None where the system does not say (macOS, Windows).
    """
    limits = [_machine(), _cgroup(), _address_space()]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else None


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
