"""The one thread that owns the model: commands in, events out, nothing of torch leaves it.

The engine is imported inside the thread: it costs a second, and the screen paints meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from lfm2chat.runtime.beside import Beside
from lfm2chat.runtime.commands import (
    BesideTurns,
    Close,
    Command,
    ForgetConversation,
    LoadModel,
    Prime,
    RunTurn,
    Score,
    TellWarm,
)
from lfm2chat.runtime.events import (
    Event,
    ModelFailed,
    ModelResting,
    TurnFailed,
    WarmPlaces,
)
from lfm2chat.runtime.loading import Loading
from lfm2chat.runtime.resident import Residents
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.scheduler import Scheduler
from lfm2chat.runtime.summaries import Summaries
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
        summaries: Summaries,
        emit: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._queue: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._waiting: deque[Command] = deque()
        self._scheduler = Scheduler()
        self._saved_files = saved_files
        self._summaries = summaries
        self._urgent = threading.Event()
        urgent = self._urgent.is_set
        self._beside = Beside(self._scheduler, settings=settings, emit=emit, urgent=urgent)
        self._residents = Residents(
            settings=settings,
            packed_folder=packed_folder,
            kernel_trials=kernel_trials,
            saved_files=saved_files,
            summaries=summaries,
            emit=emit,
            leaving=self._beside.drop,
        )
        self._loading = Loading(self._residents, models_folder=models_folder, emit=emit)
        self._held: Command | None = None
        self._deleted: set[int] = set()
        self._closing = False
        self._used_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="lfm2chat-model", daemon=True)

    def start(self) -> None:
        """Start the thread; it loads nothing until it is told to."""
        self._thread.start()

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from the next turn, and the next model that is loaded, on."""
        self._settings = settings
        self._beside.take_settings(settings)
        self._residents.take_settings(settings)

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
        self._summaries.tidy()
        while not self._closing or self._scheduler or self._waiting:
            self._receive()
            self._obey()
            self._step()
            self._forget_deleted()
            self._tell_places()
            self._save_when_quiet()
            if self._idle and self._queue.empty():
                self._beside.when_quiet(self._loading.memory, self._idle_s)
            self._rest_when_idle()
        self._residents.save_last()

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
        dues = (
            self._beside.due_in_s(self._loading.memory, self._idle_s),
            self._residents.save_due_in_s,
            LOOK_S if self._residents else None,
        )
        return min((due for due in dues if due is not None), default=None)

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
                self._beside.drop()
                if self._scheduler and command.model not in self._residents:
                    return
                self._waiting.popleft()
                if not self._closing:
                    self._loading.select(command.model)
                    self._used_at = time.monotonic()
            elif isinstance(command, RunTurn):
                if self._must_wait(command):
                    return
                self._waiting.popleft()
                self._begin(command)
            elif isinstance(command, ForgetConversation):
                self._waiting.popleft()
                self._beside.drop()
                self._deleted.add(command.conversation_id)
                self._forget_deleted()
            elif isinstance(command, TellWarm):
                self._waiting.popleft()
                self._ask_places(command)
            else:
                del self._waiting[0]
                if isinstance(command, BesideTurns) and not self._closing:
                    self._wake(command)
                    self._beside.obey(command, self._loading.memory)

    def _forget_deleted(self) -> None:
        """Only between turns: a turn that is being stopped gives its context back at its end."""
        if self._scheduler:
            return
        for conversation_id in self._deleted:
            self._residents.forget(conversation_id)
        self._deleted.clear()

    def _tell_places(self) -> None:
        """Only between turns: a branch that nobody has read yet takes a moment to render."""
        if not self._scheduler and not self._closing:
            self._residents.tell_places()

    def _ask_places(self, command: TellWarm) -> None:
        memory = self._loading.memory
        if memory is None:
            self._emit(WarmPlaces(command.conversation_id, frozenset()))
        else:
            memory.places.ask(command.store, command.conversation_id)

    def _save_when_quiet(self) -> None:
        if self._idle and self._residents.save_due_in_s == 0:
            self._residents.save_next(lambda: not self._queue.empty())

    def _rest_when_idle(self) -> None:
        """Give the models' memory back where nobody has used it for long, or others need it."""
        if not self._residents or not self._idle or not self._queue.empty():
            return
        idle_s, limit_s = self._idle_s, MINUTE_S * self._settings.unload_after_min
        if (limit_s and idle_s >= limit_s) or (idle_s >= LOOK_S and _memory_is_short()):
            names = [resident.loaded.name for resident in self._residents]
            log.info("%s leave the memory after %d s without a question", names, idle_s)
            self._residents.drop_all()
            self._emit(ModelResting(self._loading.selected or names[0]))

    # --- turns --------------------------------------------------------------------------------

    def _must_wait(self, command: RunTurn) -> bool:
        """Whether ``command`` wants a model that has no room beside those that are answering."""
        if not self._scheduler:
            return False
        if self._held is not command:
            if not self._loading.would_crowd(command):
                return False
            self._held = command
            self._beside.drop()  # it holds on to the model that may have to go
        return True

    def _begin(self, command: RunTurn) -> None:
        from lfm2chat.runtime.session import TurnSequence, refuse  # torch again

        self._held = None
        resident = self._loading.resident_for(command)
        if isinstance(resident, ModelFailed):
            why = TurnFailed(command.turn, resident.message, resident.hint, resident.exit_code)
            refuse(command, why, emit=self._emit)
            return
        turns = resident.turns
        if not turns:
            self._scheduler.add(turns)
        turns.add(
            TurnSequence(
                command,
                resident.memory,
                settings=self._settings,
                emit=self._emit,
                primed=self._beside.turn_begins(command, resident.memory),
                limit_s=turns.limit_s,
            )
        )

    def _wake(self, command: Score | Prime) -> None:
        """Have the selected model back in memory, where ``command`` is worth it: what is read ahead
        drives no other model out, and the lens none while there are turns.
        """
        selected, lens = self._loading.selected, isinstance(command, Score)
        if not selected or selected in self._residents:
            return
        # Who types is not told again and again why a model does not come back: the turn says it.
        rests = not self._residents and (lens or not self._loading.failed)
        if rests or (lens and not self._scheduler):
            self._loading.select(selected)


def _memory_is_short() -> bool:
    free = available_memory_bytes()
    return free is not None and free < SHORT_MEMORY_BYTES
