"""What the worker does beside turns: the lens, reading ahead, titles in idle time.

It makes the sequences and knows those of them that live on from command to command. Owned and used
by the worker's thread alone. Importing it costs no torch: the sequences do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lfm2chat.runtime.commands import Prime, RunTurn, Score
from lfm2chat.runtime.events import Event, ScoreEnded
from lfm2chat.runtime.models import GUIDE
from lfm2chat.runtime.scheduler import Priority, Scheduler
from lfm2chat.runtime.summaries import Summaries
from lfm2chat.settings import Settings
from lfm2chat.store import Store

if TYPE_CHECKING:
    from lfm2chat.runtime.loaded import LoadedModel
    from lfm2chat.runtime.places import Places
    from lfm2chat.runtime.primed import Primed, PrimeSequence
    from lfm2chat.runtime.saved import SavedContexts
    from lfm2chat.runtime.warm import WarmContexts

QUIET_S = 2.0
"""How long nothing must have happened before a title is made."""

MOST_TRIES = 2
"""How often one title is begun: a turn that comes between ends it."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """A loaded model with its contexts, live and saved, where its prompts' messages end, and the
    summaries, which all models share.
    """

    loaded: LoadedModel
    contexts: WarmContexts
    saved: SavedContexts | None
    places: Places
    summaries: Summaries = field(default_factory=Summaries)


@dataclass(slots=True)
class _Untitled:
    store: Store
    tries: int = 0


class Beside:
    """Puts into ``scheduler`` what is done while no turn of the user is.

    ``urgent`` says that a turn waits for the sequence that is stepped.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        settings: Settings,
        emit: Callable[[Event], None],
        urgent: Callable[[], bool],
    ) -> None:
        self._scheduler = scheduler
        self._settings = settings
        self._emit = emit
        self._urgent = urgent
        self._prime: PrimeSequence | None = None
        self._untitled: dict[int, _Untitled] = {}

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from now on. Any thread."""
        self._settings = settings

    def obey(self, command: Score | Prime, memory: InMemory | None) -> None:
        """Begin what is asked for; ``memory`` of None: no model is loaded."""
        match command:
            case Score():
                self._score(command, memory)
            case Prime():
                self._read_ahead(command, memory)

    def drop(self) -> None:
        """End everything, with the next step of each: the model or a conversation goes."""
        self._scheduler.cancel_beside()
        self._prime = None

    def turn_begins(self, command: RunTurn, memory: InMemory) -> Primed | None:
        """Stop reading ahead; gives what was read, for the turn that begins.

        A turn of another model than the one that reads ahead leaves that as it is. The first turn
        of a conversation is noted: it will be given a title.
        """
        self._scheduler.cancel_beside(least=Priority.TITLE)
        stored = command.stored
        if self._settings.title_by_model and stored and stored.user.parent_id is None:
            number = stored.conversation.id
            self._untitled.setdefault(number, _Untitled(stored.store))
        sequence = self._prime
        if sequence is None or sequence.loaded is not memory.loaded:
            return None
        self._prime = None
        return sequence.take()

    def due_in_s(self, memory: InMemory | None, idle_s: float) -> float | None:
        """When :meth:`when_quiet` has something to do, if nothing comes between; None: never."""
        if not self._untitled or memory is None or memory.loaded.name == GUIDE:
            return None
        return max(0.0, QUIET_S - idle_s)

    def when_quiet(self, memory: InMemory | None, idle_s: float) -> None:
        """Nothing has been done for ``idle_s``: let the model make the title of the conversation
        that waits for one the longest.
        """
        if memory is None or self.due_in_s(memory, idle_s) != 0:
            return
        from lfm2chat.runtime.titling import TitleSequence  # torch

        number, untitled = next(iter(self._untitled.items()))
        untitled.tries += 1
        if untitled.tries == MOST_TRIES:
            del self._untitled[number]
        self._scheduler.add(
            TitleSequence(
                untitled.store,
                number,
                memory.loaded,
                emit=self._emit,
                urgent=self._urgent,
                done=lambda: self._titled(number),
            )
        )

    def _titled(self, number: int) -> None:
        self._untitled.pop(number, None)

    def _score(self, command: Score, memory: InMemory | None) -> None:
        if memory is None:
            why = "no model is loaded"
            told = ScoreEnded(command.request, command.message_id, why, "choose another one")
            self._emit(told)
            return
        from lfm2chat.runtime.lens import LensSequence  # torch

        self._scheduler.add(
            LensSequence(
                command,
                memory.loaded,
                memory.contexts,
                memory.summaries,
                settings=self._settings,
                emit=self._emit,
                urgent=self._urgent,
            )
        )

    def _read_ahead(self, command: Prime, memory: InMemory | None) -> None:
        if memory is None or (command.model, command.tokenizer_hash) != (
            memory.loaded.name,
            memory.loaded.tokenizer.hash,
        ):
            return
        from lfm2chat.runtime.primed import PrimeSequence  # torch

        sequence = self._prime
        if sequence is None:
            sequence = self._prime = PrimeSequence(
                memory.loaded,
                memory.contexts,
                saved=memory.saved if command.stored else None,
                urgent=self._urgent,
            )
        sequence.aim(command.prompt_ids)
        self._scheduler.add_once(sequence)
