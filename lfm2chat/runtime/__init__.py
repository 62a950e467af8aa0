"""The one place where engine, store and text meet; it knows no Textual.

Importing this package imports no torch: the worker imports the engine inside its thread.
"""

from __future__ import annotations

from lfm2chat.runtime.events import Event
from lfm2chat.runtime.models import ModelEntry
from lfm2chat.runtime.service import ChatService

__all__ = ["ChatService", "Event", "ModelEntry"]
