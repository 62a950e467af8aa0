"""The processor and the package that run here: what was measured is kept with their names."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MAX_NAME = 80


def package_version() -> str:
    """The version of lfm2chat that is installed; empty where it is only on the path."""
    try:
        return metadata.version("lfm2chat")
    except metadata.PackageNotFoundError:
        return ""


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """What the system calls the processor, with its family and model where it tells them.

    Two generations of a server's processor may go by one name inside a virtual machine.
    """
    facts: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                facts.setdefault(name.strip(), value.strip())
    known = facts.get("model name") or platform.processor() or platform.machine() or "unknown"
    name = " ".join(known.split())[:MAX_NAME]
    if "cpu family" in facts and "model" in facts:
        return f"{name} (family {facts['cpu family']}, model {facts['model']})"
    return name
