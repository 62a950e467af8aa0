"""lfm2chat: a private, offline terminal chat with its own LFM2 engine."""

from __future__ import annotations

__version__ = "0.1.0"
