"""Which model is selected, and how one comes into memory for those who ask for it.

What happens is told by :class:`~lfm2chat.runtime.events.ModelLoading`, ``ModelLoaded`` and
``ModelFailed``. Owned and used by the worker's thread alone.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.beside import InMemory
from lfm2chat.runtime.commands import RunTurn
from lfm2chat.runtime.events import Event, ModelFailed, ModelLoading
from lfm2chat.runtime.models import resolve_model
from lfm2chat.runtime.resident import Resident, Residents

log = logging.getLogger(__name__)


class Loading:
    """Loads models into ``residents``, by the names that people use."""

    def __init__(
        self, residents: Residents, *, models_folder: Path, emit: Callable[[Event], None]
    ) -> None:
        self._residents = residents
        self._models_folder = models_folder
        self._emit = emit
        self._selected = ""
        self._failed: ModelFailed | None = None

    @property
    def selected(self) -> str:
        """The model of every turn without one of its own: the last that was selected and came.

        "" until one did. It may have left the memory.
        """
        return self._selected

    @property
    def failed(self) -> bool:
        """Whether no model came when one was selected the last time."""
        return self._failed is not None

    @property
    def memory(self) -> InMemory | None:
        """What there is of the selected model; None where it is not in memory."""
        return self._residents.memory_of(self._selected)

    def select(self, name: str) -> None:
        """Have a model in memory and let it be the selected one; where that fails, the one before
        stays selected.
        """
        self._load(name, selected=True)

    def would_crowd(self, command: RunTurn) -> bool:
        """Whether others must leave before the model of ``command`` can come."""
        name = command.model or self._selected
        if not name or name in self._residents or command.cancel.is_set():
            return False
        try:
            entry = resolve_model(name, self._models_folder)
            return entry.name not in self._residents and not self._residents.has_room(entry)
        except Lfm2ChatError:  # loading it says what is wrong
            return False

    def resident_for(self, command: RunTurn) -> Resident | ModelFailed:
        """The model that answers ``command``, loaded where it must be, or why there is none."""
        name = command.model or self._selected
        if not name:
            return self._failed or ModelFailed("", "no model is loaded", "choose another one")
        resident = self._residents.get(name)
        if resident is not None:
            return resident
        if command.cancel.is_set():
            return ModelFailed(name, f"stopped before {name} was loaded", "ask again")
        return self._load(name, selected=name == self._selected)

    def _load(self, name: str, *, selected: bool) -> Resident | ModelFailed:
        """Nothing looks for garbage meanwhile, and never again among what it made: torch alone has
        so many objects that one look stops every thread for 0.1 s.
        """
        self._emit(ModelLoading(name, selected))
        gc.disable()
        try:
            loaded = self._try(name, selected=selected)
        finally:
            gc.enable()
            gc.freeze()
        if isinstance(loaded, ModelFailed):
            if selected:
                self._failed = loaded
            self._emit(loaded)
            return loaded
        if selected:
            self._selected, self._failed = loaded.loaded.name, None
        self._emit(loaded.loaded.event(selected=selected))
        return loaded

    def _try(self, name: str, *, selected: bool) -> Resident | ModelFailed:
        try:
            entry = resolve_model(name, self._models_folder)
            return self._residents.get(entry.name) or self._residents.take_in(entry)
        except Lfm2ChatError as error:
            return ModelFailed(name, str(error), error.hint, error.exit_code, selected)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a Rust tokenizer is no Exception
            log.exception("loading a model failed")
            told = f"loading failed: {type(error).__name__}: {error}"
            return ModelFailed(name, told, "the log says more", selected=selected)
