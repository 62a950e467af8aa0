"""Presets and saved prompts for a front end: names are one line, as they are shown."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from lfm2chat.chat.text import one_line
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Preset, SavedPrompt, Store

TITLE_LENGTH = 60


class Shelf:
    """What a user keeps to begin with. Any thread; lists read the disk, changes return at once.

    ``store`` gives the store, or raises :class:`StoreError` where there is none.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    def presets(self) -> list[Preset]:
        """All presets, by name."""
        return self._store().presets()

    def save_preset(
        self,
        name: str,
        *,
        system_prompt: str = "",
        sampling: SamplingParams | None = None,
        model: str = "",
    ) -> Future[Preset]:
        """Keep a way to begin a conversation; a preset of that name is replaced.

        Raises:
            UsageError: The name is empty.
        """
        return self._store().save_preset(
            one_line(name, TITLE_LENGTH),
            system_prompt=system_prompt,
            sampling=sampling,
            model=model,
        )

    def delete_preset(self, name: str) -> Future[None]:
        """Delete a preset."""
        return self._store().delete_preset(one_line(name, TITLE_LENGTH))

    def prompts(self) -> list[SavedPrompt]:
        """All saved prompts, by name."""
        return self._store().prompts()

    def save_prompt(self, name: str, text: str) -> Future[SavedPrompt]:
        """Keep a text to begin a message with; a prompt of that name is replaced.

        Raises:
            UsageError: The name is empty.
        """
        return self._store().save_prompt(one_line(name, TITLE_LENGTH), text)

    def rename_prompt(self, name: str, called: str) -> Future[SavedPrompt]:
        """Give a saved prompt another name; the future carries UsageError where another has it.

        Raises:
            UsageError: The name is empty.
        """
        return self._store().rename_prompt(
            one_line(name, TITLE_LENGTH), one_line(called, TITLE_LENGTH)
        )

    def delete_prompt(self, name: str) -> Future[None]:
        """Delete a saved prompt."""
        return self._store().delete_prompt(one_line(name, TITLE_LENGTH))
