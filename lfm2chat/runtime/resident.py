"""The models in memory, each with what it has read and the turns that it is answering.

Several stay while there is room: where there is none, the one that was used least recently goes
before another comes. Owned and used by the worker's thread alone; the engine is imported with the
first model.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2chat.runtime.beside import InMemory
from lfm2chat.runtime.events import Event, ModelPacking, WarmPlaces
from lfm2chat.runtime.models import ModelEntry, packed_place
from lfm2chat.runtime.places import Places
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.summaries import Summaries
from lfm2chat.settings import Settings
from lfm2chat.store import Store, is_temporary

if TYPE_CHECKING:
    from lfm2chat.runtime.loaded import LoadedModel
    from lfm2chat.runtime.saved import SavedContexts
    from lfm2chat.runtime.together import Turns

SAVE_AT_EXIT_S = 0.6
"""What saving contexts may add to the end of the thread, or to a model's leaving."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Resident:
    """One model in memory with its live turns; ``used_at`` is monotonic, in seconds."""

    memory: InMemory
    turns: Turns
    used_at: float

    @property
    def loaded(self) -> LoadedModel:
        """The model."""
        return self.memory.loaded


class Residents:
    """What is in memory, by the models' names; ``leaving`` is called before one of them goes."""

    def __init__(
        self,
        *,
        settings: Settings,
        packed_folder: Path | None,
        kernel_trials: Path | None,
        saved_files: SavedFiles | None,
        summaries: Summaries,
        emit: Callable[[Event], None],
        leaving: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._packed_folder = packed_folder
        self._kernel_trials = kernel_trials
        self._saved_files = saved_files
        self._summaries = summaries
        self._emit = emit
        self._leaving = leaving
        self._residents: dict[str, Resident] = {}

    def __len__(self) -> int:
        return len(self._residents)

    def __iter__(self) -> Iterator[Resident]:
        return iter(self._residents.values())

    def __contains__(self, name: str) -> bool:
        return name in self._residents

    def take_settings(self, settings: Settings) -> None:
        """Load by ``settings`` from now on; what is in memory stays as it is. Any thread."""
        self._settings = settings

    def get(self, name: str) -> Resident | None:
        """The model of that very name, or None; it counts as used now."""
        resident = self._residents.get(name)
        if resident is not None:
            resident.used_at = time.monotonic()
        return resident

    def memory_of(self, name: str) -> InMemory | None:
        """What there is of the model of that very name, or None; that is no use of it."""
        resident = self._residents.get(name)
        return resident.memory if resident is not None else None

    def has_room(self, entry: ModelEntry) -> bool:
        """Whether ``entry`` can come without another's leaving.

        Raises:
            ModelError, UsageError: It cannot be used at all.
        """
        from lfm2chat.runtime.loaded import has_room  # torch

        return not self._residents or has_room(entry, self._settings)

    def take_in(self, entry: ModelEntry) -> Resident:
        """Load ``entry``, once those that were used least recently have made room.

        A model that is answering stays whatever happens.

        Raises:
            ModelError, NotEnoughMemoryError, UsageError: As in
                :func:`lfm2chat.runtime.loaded.load_model`. Where its files are broken at first
                sight nobody has left.
        """
        from lfm2chat.runtime.loaded import load_model  # torch: a second, behind the screen
        from lfm2chat.runtime.saved import SavedContexts
        from lfm2chat.runtime.together import Turns
        from lfm2chat.runtime.warm import WarmContexts

        while not self.has_room(entry) and self._drop_oldest():
            pass
        loaded = load_model(
            entry,
            self._settings,
            packed_in=packed_place(entry, self._packed_folder),
            kernel_trials=self._kernel_trials,
            progress=lambda share: self._emit(ModelPacking(entry.name, share)),
        )
        contexts = WarmContexts()
        saved = SavedContexts(self._saved_files, loaded) if self._saved_files is not None else None
        turns = Turns(loaded, contexts, others_write=lambda: self._others_write(turns))
        memory = InMemory(loaded, contexts, saved, Places(), self._summaries)
        resident = Resident(memory, turns, time.monotonic())
        self._residents[entry.name] = resident
        return resident

    def drop_all(self) -> None:
        """Let every model leave the memory; what they have read is saved, as far as time allows."""
        self._leaving()
        self.save_last()
        self._residents.clear()
        _collect()

    def forget(self, conversation_id: int) -> None:
        """Drop what the models have read of a conversation."""
        for resident in self:
            memory = resident.memory
            memory.contexts.forget(conversation_id)
            memory.places.forget(conversation_id)
            if memory.saved is not None:
                memory.saved.drop(conversation_id)

    def clear_contexts(self) -> None:
        """Drop what they have read: it may be wrong after a fault."""
        for resident in self:
            resident.memory.contexts.clear()

    def tell_places(self) -> None:
        """Tell what is warm of the conversations that were read since, or asked for."""
        for resident in self:
            for conversation_id, store in resident.memory.places.take_due():
                warm = _warm(resident.memory, conversation_id, store)
                self._emit(WarmPlaces(conversation_id, warm))

    # --- saving -------------------------------------------------------------------------------

    @property
    def save_due_in_s(self) -> float | None:
        """When :meth:`save_next` has something to do, if nothing comes between; None: never."""
        due = [saved.due_in_s for saved in self._all_saved()]
        return min((seconds for seconds in due if seconds is not None), default=None)

    def save_next(self, stopped: Callable[[], bool]) -> None:
        """Save one context that is due, unless ``stopped`` ends it."""
        for saved in self._all_saved():
            if saved.due_in_s == 0:
                _guarded(saved, lambda saved: saved.save_next(stopped))
                return

    def save_last(self) -> None:
        """Save what is not saved yet, as far as time allows."""
        end = time.monotonic() + SAVE_AT_EXIT_S
        for saved in self._all_saved():
            _guarded(saved, lambda saved: saved.finish(end - time.monotonic()))

    def _all_saved(self) -> list[SavedContexts]:
        everything = (resident.memory.saved for resident in self)
        return [saved for saved in everything if saved is not None]

    def _others_write(self, turns: Turns) -> bool:
        return any(resident.turns.writes for resident in self if resident.turns is not turns)

    def _drop_oldest(self) -> bool:
        """Let the one leave that was used least recently; False where all are answering."""
        idle = [resident for resident in self if not len(resident.turns)]
        if not idle:
            return False
        oldest = min(idle, key=lambda resident: resident.used_at)
        self._leaving()
        if oldest.memory.saved is not None:
            _guarded(oldest.memory.saved, lambda saved: saved.finish(SAVE_AT_EXIT_S))
        del self._residents[oldest.loaded.name]
        log.info("%s leaves the memory to make room", oldest.loaded.name)
        idle.clear()
        del oldest
        _collect()
        return True


def _warm(memory: InMemory, conversation_id: int, store: Store) -> frozenset[int]:
    """The messages of a conversation that ``memory`` or the disk has to its end."""
    loaded, contexts, places = memory.loaded, memory.contexts, memory.places
    saved = None if is_temporary(conversation_id) else memory.saved
    try:
        places.read(store, conversation_id, loaded.template, most_tokens=loaded.context_tokens)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a tokenizer's panic is no Exception
        log.info("what is warm is not known of a branch: %s", error)

    def usable(ids: Sequence[int]) -> int:
        live = contexts.usable_prefix(ids)
        return live if saved is None else max(live, saved.usable_prefix(ids))

    return places.warm(conversation_id, usable)


def _collect() -> None:
    """What was loaded is not looked at for garbage while it is used: now it may be some."""
    gc.unfreeze()
    gc.collect()


def _guarded(saved: SavedContexts, save: Callable[[SavedContexts], None]) -> None:
    """Saving is never worth the thread: a fault in it is logged, and that was it."""
    try:
        save(saved)
    except Exception:
        log.exception("saving a context failed")
