"""What kind of file system a store lies on: over a network, shared memory and locks are not sure.

SQLite's write-ahead log needs memory that all processes share; over a network there is none, and
two machines that use one store would damage it (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "ncpfs", "glusterfs"}
)


def network_of(path: Path) -> str:
    """The kind of network file system that ``path`` lies on (``nfs4``, ``fuse.sshfs``, ...).

    Empty for a local one, and where the system does not say (it is Linux that does).
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = Path(os.path.realpath(path))
    best, kind = -1, ""
    for line in lines:
        # 36 35 98:0 /root /mount/point options - type source options; see proc(5).
        left, _, right = line.partition(" - ")
        fields, described = left.split(" "), right.split(" ")
        if len(fields) < 5 or not described[0]:
            continue
        point = Path(_plain(fields[4]))
        # The later of two mounts at one place covers the earlier.
        if len(point.parts) >= best and place.is_relative_to(point):
            best, kind = len(point.parts), described[0]
    return kind if kind in NETWORKS or kind.startswith("fuse.") else ""


def _plain(name: str) -> str:
    """A name of the list without its escapes: spaces and the like are written in octal."""
    for code in (r"\040", r"\011", r"\012", r"\134"):
        name = name.replace(code, chr(int(code[1:], 8)))
    return name
