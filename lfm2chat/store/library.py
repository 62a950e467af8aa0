"""Presets and saved prompts: what the user keeps beside the conversations, each under a name.

A name belongs to one preset (to one prompt), however its letters are written: saving under it again
replaces what was there. What is deleted may stand in copies of the store until they are replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from lfm2chat.errors import StoreError, UsageError
from lfm2chat.spec import SamplingParams
from lfm2chat.store.names import name_key
from lfm2chat.store.questions import Questions
from lfm2chat.store.read_only import RefusingWriter
from lfm2chat.store.rows import RowReader, loaded_text, stored_sampling, stored_text
from lfm2chat.store.writer import StoreWriter


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to begin a conversation. Times are unix seconds.

    ``sampling`` is None where the model's own recommendation holds, ``model`` is empty where the
    selected one answers.
    """

    name: str
    system_prompt: str
    sampling: SamplingParams | None
    model: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class SavedPrompt:
    """A text to begin a message with. Times are unix seconds."""

    name: str
    text: str
    created_at: float
    updated_at: float


class Library(Questions):
    """The half of the store that belongs to no conversation. Threads as for the store itself."""

    _writer: StoreWriter | RefusingWriter
    _clock: Callable[[], float]

    def presets(self) -> list[Preset]:
        """All presets, by name."""
        with self._readers.snapshot() as connection:
            return [_preset(row) for row in connection.execute(f"{_PRESETS} ORDER BY key")]

    def save_preset(
        self,
        name: str,
        *,
        system_prompt: str = "",
        sampling: SamplingParams | None = None,
        model: str = "",
    ) -> Future[Preset]:
        """Keep a preset; one of that name is replaced.

        Raises:
            UsageError: The name is empty (at once, not through the future).
        """
        key, now = name_key(name), self._clock()

        def save(connection: sqlite3.Connection) -> Preset:
            connection.execute(
                "INSERT INTO preset "
                "(key, name, system_prompt, sampling, model, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET name = excluded.name,"
                " system_prompt = excluded.system_prompt, sampling = excluded.sampling, "
                "model = excluded.model, updated_at = excluded.updated_at",
                (
                    key,
                    stored_text(name),
                    stored_text(system_prompt),
                    stored_sampling(sampling),
                    stored_text(model),
                    now,
                    now,
                ),
            )
            return _preset(connection.execute(f"{_PRESETS} WHERE key = ?", (key,)).fetchone())

        return self._writer.submit(save)

    def delete_preset(self, name: str) -> Future[None]:
        """Delete a preset.

        Raises:
            StoreError: There is none by that name.
        """
        return self._delete("preset", name)

    def prompts(self) -> list[SavedPrompt]:
        """All saved prompts, by name."""
        with self._readers.snapshot() as connection:
            return [_prompt(row) for row in connection.execute(f"{_PROMPTS} ORDER BY key")]

    def save_prompt(self, name: str, text: str) -> Future[SavedPrompt]:
        """Keep a prompt; one of that name is replaced.

        Raises:
            UsageError: The name is empty (at once, not through the future).
        """
        key, now = name_key(name), self._clock()

        def save(connection: sqlite3.Connection) -> SavedPrompt:
            connection.execute(
                "INSERT INTO prompt (key, name, text, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET name = excluded.name, "
                "text = excluded.text, updated_at = excluded.updated_at",
                (key, stored_text(name), stored_text(text), now, now),
            )
            return _prompt(connection.execute(f"{_PROMPTS} WHERE key = ?", (key,)).fetchone())

        return self._writer.submit(save)

    def rename_prompt(self, name: str, called: str) -> Future[SavedPrompt]:
        """Give a saved prompt another name.

        Raises:
            UsageError: The name is empty (at once); another prompt has it (through the future).
            StoreError: There is none by the old name (through the future).
        """
        key, other, now = name_key(name), name_key(called), self._clock()

        def rename(connection: sqlite3.Connection) -> SavedPrompt:
            find = f"{_PROMPTS} WHERE key = ?"
            if other != key and connection.execute(find, (other,)).fetchone() is not None:
                raise UsageError(
                    f"there is a prompt named {called!r} already", hint="choose another name"
                )
            renamed = connection.execute(
                "UPDATE prompt SET key = ?, name = ?, updated_at = ? WHERE key = ?",
                (other, stored_text(called), now, key),
            )
            if renamed.rowcount == 0:
                raise _gone("prompt", name)
            return _prompt(connection.execute(find, (other,)).fetchone())

        return self._writer.submit(rename)

    def delete_prompt(self, name: str) -> Future[None]:
        """Delete a saved prompt.

        Raises:
            StoreError: There is none by that name.
        """
        return self._delete("prompt", name)

    def _delete(self, table: str, name: str) -> Future[None]:
        key = name_key(name)

        def delete(connection: sqlite3.Connection) -> None:
            deleted = connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))  # noqa: S608 - own names
            if deleted.rowcount == 0:
                raise _gone(table, name)

        return self._writer.submit(delete)


_PRESETS = "SELECT name, system_prompt, sampling, model, created_at, updated_at FROM preset"
_PROMPTS = "SELECT name, text, created_at, updated_at FROM prompt"


def _gone(table: str, name: str) -> StoreError:
    return StoreError(
        f"there is no {table} named {name!r}", hint="look at the list: it may be gone"
    )


def _preset(row: sqlite3.Row) -> Preset:
    return Preset(
        name=loaded_text(row["name"]),
        system_prompt=loaded_text(row["system_prompt"]),
        sampling=RowReader().sampling(row["sampling"]),
        model=loaded_text(row["model"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _prompt(row: sqlite3.Row) -> SavedPrompt:
    return SavedPrompt(
        name=loaded_text(row["name"]),
        text=loaded_text(row["text"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
