"""Which model answers, and which are here: what the user does, as calls to the service.

Everything runs on the event loop's thread; what reads folders runs in a thread and is awaited.
"""

from __future__ import annotations

import asyncio

from lfm2chat.errors import ModelNotFoundError
from lfm2chat.runtime.downloads import Downloads
from lfm2chat.runtime.models import GUIDE, ModelEntry
from lfm2chat.runtime.service import ChatService
from lfm2chat.tui.state import ChatState


class ModelDesk:
    """Models come, go and are chosen; ``downloads`` brings and checks them."""

    def __init__(self, service: ChatService, state: ChatState) -> None:
        self._service = service
        self._state = state

    @property
    def downloads(self) -> Downloads:
        """What brings models, looks at them and takes them away."""
        return self._service.downloads

    def listed(self) -> list[ModelEntry]:
        """The models on this disk. Reads folders: not for the event loop."""
        return self._service.models()

    def names(self) -> list[str]:
        """The names of those. Reads folders: not for the event loop."""
        return [entry.name for entry in self.listed()]

    def use(self, name: str, *, key: int | None = None) -> None:
        """Answer with a model from now on: in one conversation, or everywhere for None."""
        if key is not None:
            self._state.models[key] = name
            return
        self._state.models.clear()
        self._service.select_model(name)

    async def named(self, name: str) -> str:
        """The model on this disk that people call ``name``, in any case, with its maker or without.

        Raises:
            ModelNotFoundError: There is none; the hint names those that are.
        """
        found = await asyncio.to_thread(self.names)
        wanted = name.rpartition("/")[2].casefold()
        for known in found:
            if known.rpartition("/")[2].casefold() == wanted:
                return known
        raise ModelNotFoundError(
            f"no model here is called {name}", hint="there are: " + ", ".join(found)
        )

    async def remove(self, entry: ModelEntry) -> None:
        """Delete a model from disk; the guide answers where it did.

        Raises:
            Lfm2ChatError: It is another program's, or the disk refuses.
        """
        if self._state.model.name == entry.name:
            self._service.select_model(GUIDE)
        for key, name in list(self._state.models.items()):
            if name == entry.name:
                del self._state.models[key]
        await asyncio.to_thread(self.downloads.remove, entry.name)
