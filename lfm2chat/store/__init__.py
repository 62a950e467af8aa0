"""Conversations on disk: one SQLite file, one writer thread, read-only connections for reads.

Temporary ones lie in memory, behind the same calls.
"""

from __future__ import annotations

from lfm2chat.store.branching import Begun
from lfm2chat.store.conversations import Store
from lfm2chat.store.library import Preset, SavedPrompt
from lfm2chat.store.memory import is_temporary
from lfm2chat.store.operations import Unset

__all__ = ["Begun", "Preset", "SavedPrompt", "Store", "Unset", "is_temporary"]
