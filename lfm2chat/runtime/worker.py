"""The one thread that owns the model: commands in, events out, nothing of torch leaves it.

The engine is imported inside the thread: it costs a second, and the screen paints meanwhile.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.commands import Close, Command, ForgetConversation, LoadModel, RunTurn
from lfm2chat.runtime.events import (
    Event,
    ModelFailed,
    ModelLoading,
    ModelResting,
    TurnFailed,
)
from lfm2chat.runtime.models import resolve_model
from lfm2chat.runtime.resident import Resident, Residents
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.scheduler import Scheduler
from lfm2chat.settings import Settings
from lfm2chat.spec.free_memory import available_memory_bytes

SHORT_MEMORY_BYTES = 400 * 2**20
"""With less than this free, a model that nobody asks anything makes room for other programs."""

MINUTE_S = 60.0
LOOK_S = 30.0
"""How often an idle worker looks whether memory is short, and for how long it must be idle."""

log = logging.getLogger(__name__)


class ModelWorker:
    """Runs commands in order; turns run together, also those of several models.

    A turn without a model of its own goes to the selected one: the last that a
    :class:`LoadModel` has brought.

    Any thread may call :meth:`put` and :meth:`join`; all else happens on the worker's thread.
    """

    def __init__(
        self,
        *,
        models_folder: Path,
        settings: Settings,
        packed_folder: Path | None = None,
        kernel_trials: Path | None = None,
        saved_files: SavedFiles | None = None,
        emit: Callable[[Event], None],
    ) -> None:
        self._models_folder = models_folder
        self._settings = settings
        self._emit = emit
        self._queue: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._waiting: deque[Command] = deque()
        self._scheduler = Scheduler()
        self._saved_files = saved_files
        self._residents = Residents(
            settings=settings,
            packed_folder=packed_folder,
            kernel_trials=kernel_trials,
            saved_files=saved_files,
            emit=emit,
        )
        self._selected = ""
        self._held: Command | None = None
        self._deleted: set[int] = set()
        self._failed: ModelFailed | None = None
        self._used_at = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="lfm2chat-model", daemon=True)

    def start(self) -> None:
        """Start the thread; it loads nothing until it is told to."""
        self._thread.start()

    def put(self, command: Command) -> None:
        """Queue ``command``; returns at once. Any thread."""
        self._queue.put(command)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread after :class:`Close`; False if it still runs.

        A thread that was never started has ended.
        """
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._saved_files is not None:
            self._saved_files.tidy()
        while not self._closing or self._scheduler or self._waiting:
            self._receive()
            self._obey()
            self._step()
            self._forget_deleted()
            self._save_when_quiet()
            self._rest_when_idle()
        self._residents.save_last()

    @property
    def _idle(self) -> bool:
        return not self._scheduler and not self._waiting and not self._closing

    def _step(self) -> None:
        sequence = self._scheduler.take()
        if sequence is None:
            return
        try:
            more = sequence.step()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a Rust tokenizer is no Exception
            log.exception("a sequence failed")
            self._residents.clear_contexts()
            sequence.fail(error)
        else:
            if more:
                self._scheduler.add(sequence)

    def _receive(self) -> None:
        """Take what is queued; wait for it only while there is nothing else to do."""
        idle = self._idle
        if not idle:
            self._used_at = time.monotonic()
        due_in_s = self._due_in_s()
        try:
            while True:
                command = self._queue.get(block=idle, timeout=due_in_s)
                idle = False
                if isinstance(command, Close):
                    self._closing = True
                    self._scheduler.cancel_all()
                    self._cancel_waiting()
                else:
                    self._waiting.append(command)
        except queue.Empty:
            return

    def _due_in_s(self) -> float | None:
        """When an idle worker has something to do by itself; None: never."""
        if not self._residents:
            return None
        saving = self._residents.save_due_in_s
        return LOOK_S if saving is None else min(saving, LOOK_S)

    def _cancel_waiting(self) -> None:
        for command in self._waiting:
            if isinstance(command, RunTurn):
                command.cancel.set()

    def _obey(self) -> None:
        """Carry out waiting commands in order.

        A model that is selected waits for the turns before it, and so does a turn whose model has
        room only once others have left.
        """
        while self._waiting:
            command = self._waiting[0]
            if isinstance(command, LoadModel):
                if self._scheduler and command.model not in self._residents:
                    return
                self._waiting.popleft()
                if not self._closing:
                    self._load(command.model, selected=True)
            elif isinstance(command, RunTurn):
                if self._must_wait(command):
                    return
                self._waiting.popleft()
                self._begin(command)
            elif isinstance(command, ForgetConversation):
                self._waiting.popleft()
                self._deleted.add(command.conversation_id)
                self._forget_deleted()
            else:
                self._waiting.popleft()

    def _forget_deleted(self) -> None:
        """Only between turns: a turn that is being stopped gives its context back at its end."""
        if self._scheduler:
            return
        for conversation_id in self._deleted:
            self._residents.forget(conversation_id)
        self._deleted.clear()

    def _save_when_quiet(self) -> None:
        if self._idle and self._residents.save_due_in_s == 0:
            self._residents.save_next(lambda: not self._queue.empty())

    def _rest_when_idle(self) -> None:
        """Give the models' memory back where nobody has used it for long, or others need it."""
        if not self._residents or not self._idle or not self._queue.empty():
            return
        idle_s = time.monotonic() - self._used_at
        limit_s = MINUTE_S * self._settings.unload_after_min
        if (limit_s and idle_s >= limit_s) or (idle_s >= LOOK_S and _memory_is_short()):
            names = [resident.loaded.name for resident in self._residents]
            log.info("%s leave the memory after %d s without a question", names, idle_s)
            self._residents.drop_all()
            self._emit(ModelResting(self._selected or names[0]))

    def _load(self, name: str, *, selected: bool) -> ModelFailed | None:
        """Have a model in memory, and tell of it; gives why where that failed.

        Nothing looks for garbage meanwhile, and never again among what it made: torch alone has
        so many objects that one look stops every thread for 0.1 s.
        """
        gc.disable()
        try:
            failed = self._load_and_tell(name, selected=selected)
        finally:
            gc.enable()
            gc.freeze()
        if failed is not None:
            if selected:
                self._failed = failed
            self._emit(failed)
        return failed

    def _load_and_tell(self, name: str, *, selected: bool) -> ModelFailed | None:
        self._emit(ModelLoading(name, selected))
        try:
            entry = resolve_model(name, self._models_folder)
            resident = self._residents.get(entry.name) or self._residents.take_in(entry)
        except Lfm2ChatError as error:
            return ModelFailed(name, str(error), error.hint, error.exit_code, selected)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a Rust tokenizer is no Exception
            log.exception("loading a model failed")
            told = f"loading failed: {type(error).__name__}: {error}"
            return ModelFailed(name, told, "the log says more", selected=selected)
        self._used_at = time.monotonic()
        if selected:
            self._selected = entry.name
        self._emit(resident.loaded.event(selected=selected))
        return None

    # --- turns --------------------------------------------------------------------------------

    def _must_wait(self, command: RunTurn) -> bool:
        """Whether ``command`` wants a model that has no room beside those that are answering."""
        if not self._scheduler:
            return False
        if self._held is command:
            return True
        name = command.model or self._selected
        if not name or name in self._residents or command.cancel.is_set():
            return False
        try:
            entry = resolve_model(name, self._models_folder)
            room = entry.name in self._residents or self._residents.has_room(entry)
        except Lfm2ChatError:  # loading it says what is wrong
            return False
        self._held = None if room else command
        return not room

    def _begin(self, command: RunTurn) -> None:
        from lfm2chat.runtime.session import TurnSequence, refuse  # torch again

        self._held = None
        resident, failed = self._model_for(command)
        if resident is None:
            why = failed or self._failed or ModelFailed("", "no model is loaded", "choose one")
            told = TurnFailed(command.turn, why.message, why.hint, why.exit_code)
            refuse(command, told, emit=self._emit)
            return
        turns = resident.turns
        if not turns:
            self._scheduler.add(turns)
        turns.add(
            TurnSequence(
                command,
                resident.loaded,
                resident.contexts,
                saved=resident.saved,
                settings=self._settings,
                emit=self._emit,
                limit_s=turns.limit_s,
            )
        )

    def _model_for(self, command: RunTurn) -> tuple[Resident | None, ModelFailed | None]:
        """The model that answers ``command``, loaded where it must be, or why there is none."""
        name = command.model or self._selected
        resident = self._residents.get(name)
        if resident is not None or not name:
            return resident, None
        if command.cancel.is_set():
            return None, ModelFailed(name, f"stopped before {name} was loaded", "ask again")
        selected = name == self._selected
        failed = self._load(name, selected=selected)
        if failed is not None:
            return None, failed
        return self._residents.get(resolve_model(name, self._models_folder).name), None


def _memory_is_short() -> bool:
    free = available_memory_bytes()
    return free is not None and free < SHORT_MEMORY_BYTES
