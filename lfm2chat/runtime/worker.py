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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.beside import Beside, InMemory
from lfm2chat.runtime.commands import (
    BesideTurns,
    Close,
    Command,
    ForgetConversation,
    LoadModel,
    RunTurn,
    TellWarm,
)
from lfm2chat.runtime.events import (
    Event,
    ModelFailed,
    ModelLoading,
    ModelPacking,
    ModelResting,
    TurnFailed,
    WarmPlaces,
)
from lfm2chat.runtime.models import ModelEntry, packed_place, resolve_model
from lfm2chat.runtime.places import Places
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.scheduler import Scheduler
from lfm2chat.settings import Settings
from lfm2chat.spec.free_memory import available_memory_bytes
from lfm2chat.store import is_temporary

if TYPE_CHECKING:
    from lfm2chat.runtime.loaded import LoadedModel
    from lfm2chat.runtime.saved import SavedContexts
    from lfm2chat.runtime.warm import WarmContexts

SAVE_AT_EXIT_S = 0.6
"""What saving contexts may add to the end of the thread, or to a switch of models."""

SHORT_MEMORY_BYTES = 400 * 2**20
"""With less than this free, a model that nobody asks anything makes room for other programs."""

MINUTE_S = 60.0
LOOK_S = 30.0
"""How often an idle worker looks whether memory is short, and for how long it must be idle."""

log = logging.getLogger(__name__)


class ModelWorker:
    """Runs commands in order; turns run together, a model is switched between turns.

    Any thread may call :meth:`put`, :meth:`take_settings` and :meth:`join`; all else happens on
    the worker's thread.
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
        self._packed_folder = packed_folder
        self._kernel_trials = kernel_trials
        self._settings = settings
        self._emit = emit
        self._queue: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._waiting: deque[Command] = deque()
        self._scheduler = Scheduler()
        self._urgent = threading.Event()
        urgent = self._urgent.is_set
        self._beside = Beside(self._scheduler, settings=settings, emit=emit, urgent=urgent)
        self._loaded: LoadedModel | None = None
        self._contexts: WarmContexts | None = None
        self._saved_files = saved_files
        self._saved: SavedContexts | None = None
        self._places = Places()
        self._deleted: set[int] = set()
        self._failed: ModelFailed | None = None
        self._resting, self._closing = "", False
        self._used_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="lfm2chat-model", daemon=True)

    def start(self) -> None:
        """Start the thread; it loads nothing until it is told to."""
        self._thread.start()

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from the next turn, and the next model that is loaded, on."""
        self._settings = settings
        self._beside.take_settings(settings)

    def put(self, command: Command) -> None:
        """Queue ``command``; returns at once. Any thread."""
        self._queue.put(command)
        if not isinstance(command, BesideTurns):
            self._urgent.set()

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
            self._tell_places()
            self._save_when_quiet()
            if self._idle and self._queue.empty():
                self._beside.when_quiet(self._memory, self._idle_s)
            self._rest_when_idle()
        self._save_last()

    @property
    def _idle(self) -> bool:
        return not self._scheduler and not self._waiting and not self._closing

    @property
    def _idle_s(self) -> float:
        return time.monotonic() - self._used_at

    def _step(self) -> None:
        sequence = self._scheduler.take()
        if sequence is None:
            return
        try:
            more = sequence.step()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a Rust tokenizer is no Exception
            log.exception("a turn failed")
            if self._contexts is not None:
                self._contexts.clear()
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
        self._urgent.clear()
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
        dues = [self._beside.due_in_s(self._memory, self._idle_s)]
        dues += [self._saved.due_in_s] if self._saved is not None else []
        dues += [LOOK_S] if self._loaded is not None else []
        return min((due for due in dues if due is not None), default=None)

    def _cancel_waiting(self) -> None:
        for command in self._waiting:
            if isinstance(command, RunTurn):
                command.cancel.set()

    def _obey(self) -> None:
        """Carry out waiting commands in order; a switch waits for the turns before it."""
        while self._waiting:
            command = self._waiting[0]
            if isinstance(command, LoadModel):
                self._beside.drop()
                if self._scheduler:
                    return
                self._waiting.popleft()
                if not self._closing:
                    self._load(command.model)
            elif isinstance(command, RunTurn):
                self._waiting.popleft()
                self._begin(command)
            elif isinstance(command, ForgetConversation):
                self._waiting.popleft()
                self._beside.drop()
                self._deleted.add(command.conversation_id)
                self._forget_deleted()
            elif isinstance(command, TellWarm):
                self._waiting.popleft()
                self._places.ask(command.store, command.conversation_id)
            else:
                del self._waiting[0]
                if isinstance(command, BesideTurns) and not self._closing:
                    self._wake()
                    self._beside.obey(command, self._memory)

    def _forget_deleted(self) -> None:
        """Only between turns: a turn that is being stopped gives its context back at its end."""
        if self._scheduler:
            return
        for conversation_id in self._deleted:
            if self._contexts is not None:
                self._contexts.forget(conversation_id)
            self._places.forget(conversation_id)
            if self._saved is not None:
                self._saved.drop(conversation_id)
        self._deleted.clear()

    def _tell_places(self) -> None:
        """Only between turns: a branch that nobody has read yet takes a moment to render."""
        if self._scheduler or self._closing:
            return
        for conversation_id, store in self._places.take_due():
            warm: frozenset[int] = frozenset()
            if self._loaded is not None:
                try:
                    self._places.read(
                        store,
                        conversation_id,
                        self._loaded.template,
                        most_tokens=self._loaded.context_tokens,
                    )
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:  # noqa: BLE001 - a tokenizer's panic is no Exception
                    log.info("what is warm is not known of a branch: %s", error)
                saved = None if is_temporary(conversation_id) else self._saved
                warm = self._places.warm(conversation_id, partial(self._usable, saved))
            self._emit(WarmPlaces(conversation_id, warm))

    def _usable(self, saved: SavedContexts | None, ids: Sequence[int]) -> int:
        live = self._contexts.usable_prefix(ids) if self._contexts is not None else 0
        return live if saved is None else max(live, saved.usable_prefix(ids))

    def _save_when_quiet(self) -> None:
        if self._idle and self._saved is not None and self._saved.due_in_s == 0:
            self._guarded(lambda saved: saved.save_next(lambda: not self._queue.empty()))

    def _save_last(self) -> None:
        self._guarded(lambda saved: saved.finish(SAVE_AT_EXIT_S))

    def _guarded(self, save: Callable[[SavedContexts], None]) -> None:
        """Saving is never worth the thread: a fault in it is logged, and that was it."""
        if self._saved is None:
            return
        try:
            save(self._saved)
        except Exception:
            log.exception("saving a context failed")

    def _rest_when_idle(self) -> None:
        """Give the model's memory back where nobody has used it for long, or others need it."""
        if self._loaded is None or not self._idle or not self._queue.empty():
            return
        idle_s, limit_s = self._idle_s, MINUTE_S * self._settings.unload_after_min
        if (limit_s and idle_s >= limit_s) or (idle_s >= LOOK_S and _memory_is_short()):
            log.info(
                "%s leaves the memory after %d s without a question", self._loaded.name, idle_s
            )
            self._resting = self._loaded.name
            self._unload()
            # What was loaded is not looked at for garbage while it is used: now it may be some.
            gc.unfreeze()
            gc.collect()
            self._emit(ModelResting(self._resting))

    def _wake(self) -> None:
        """Load the model again that left the memory."""
        if self._resting and self._loaded is None:
            self._load(self._resting)

    def _load(self, name: str) -> None:
        """Load a model without looking for garbage meanwhile, and never again among what it made:
        torch alone has so many objects that one look stops every thread for 0.1 s.
        """
        gc.disable()
        try:
            self._load_and_tell(name)
        finally:
            gc.enable()
            gc.freeze()

    def _load_and_tell(self, name: str) -> None:
        self._emit(ModelLoading(name))
        try:
            entry = resolve_model(name, self._models_folder)
            if self._loaded is not None and self._loaded.name == entry.name:
                self._emit(self._loaded.event())
                return
            # Two models at once may not fit: the old one goes first and is fetched again on error.
            before = self._loaded.name if self._loaded is not None else self._resting
            self._resting = ""
            self._unload()
            try:
                loaded = self._take_in(entry)
            except BaseException:
                if before and before != entry.name:
                    self._take_in(resolve_model(before, self._models_folder))
                raise
        except Lfm2ChatError as error:
            self._fail_load(ModelFailed(name, str(error), error.hint, error.exit_code))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a Rust tokenizer is no Exception
            log.exception("loading a model failed")
            told = f"loading failed: {type(error).__name__}: {error}"
            self._fail_load(ModelFailed(name, told, "the log says more"))
        else:
            self._emit(loaded.event())

    def _unload(self) -> None:
        self._beside.drop()
        self._save_last()
        self._loaded = self._contexts = self._saved = None
        self._places = Places()

    def _take_in(self, entry: ModelEntry) -> LoadedModel:
        from lfm2chat.runtime.loaded import load_model  # torch: a second, behind the screen
        from lfm2chat.runtime.saved import SavedContexts
        from lfm2chat.runtime.warm import WarmContexts

        packed_in = packed_place(entry, self._packed_folder)
        loaded = self._loaded = load_model(
            entry,
            self._settings,
            packed_in=packed_in,
            kernel_trials=self._kernel_trials,
            progress=lambda share: self._emit(ModelPacking(entry.name, share)),
        )
        self._used_at = time.monotonic()
        self._contexts = WarmContexts()
        if self._saved_files is not None:
            self._saved = SavedContexts(self._saved_files, loaded)
        return loaded

    def _fail_load(self, failed: ModelFailed) -> None:
        self._failed = failed
        self._emit(failed)

    def _begin(self, command: RunTurn) -> None:
        from lfm2chat.runtime.session import TurnSequence, refuse  # torch again

        self._wake()
        if (memory := self._memory) is None:
            why = self._failed or ModelFailed("", "no model is loaded", "choose another one")
            failed = TurnFailed(command.turn, why.message, why.hint, why.exit_code)
            refuse(command, failed, emit=self._emit)
            return
        primed = self._beside.turn_begins(command)
        self._scheduler.add(
            TurnSequence(command, memory, settings=self._settings, emit=self._emit, primed=primed)
        )

    @property
    def _memory(self) -> InMemory | None:
        loaded, contexts = self._loaded, self._contexts
        if loaded is None or contexts is None:
            return None
        return InMemory(loaded, contexts, self._saved, self._places)


def _memory_is_short() -> bool:
    free = available_memory_bytes()
    return free is not None and free < SHORT_MEMORY_BYTES
