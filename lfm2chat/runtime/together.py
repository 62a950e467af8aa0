"""The live turns of one model: those that write share each pass over the weights.

One :class:`Turns` is one sequence for the scheduler, so two models take turns pass by pass, and
whatever has a lower priority waits for all of them. In each step

1. every turn that writes gets one token, from one pass where there are several of them;
2. one of those that read goes on by one chunk, a short one where somebody writes: nobody who
   writes waits longer than for that.

A turn that is alone does each pass itself, with guesses where they pay.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable

from lfm2chat.engine import read_together
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.scheduler import Priority
from lfm2chat.runtime.session import TurnSequence
from lfm2chat.runtime.warm import WarmContexts

CHUNK_S = 0.1
"""How long a chunk of one turn may hold up the others, as far as the machine allows that."""

SEPARATE_ROUNDS = 64
"""Rounds without shared passes where those did not pay, or one failed, before one is tried."""

log = logging.getLogger(__name__)


class Turns:
    """The turns of one model, as one sequence. Owned and used by the worker's thread alone.

    ``others_write`` says whether a turn of another model is writing.
    """

    priority = Priority.USER

    def __init__(
        self,
        loaded: LoadedModel,
        contexts: WarmContexts,
        *,
        others_write: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loaded = loaded
        self._contexts = contexts
        self._others_write = others_write
        self._turns: list[TurnSequence] = []
        self._reading: deque[TurnSequence] = deque()
        self._worth = _Worth(loaded)

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def writes(self) -> bool:
        """Whether one of them is writing."""
        return len(self._turns) > len(self._reading)

    def add(self, turn: TurnSequence) -> None:
        """Let ``turn`` take part from the next step on."""
        self._turns.append(turn)
        self._reading.append(turn)

    def step(self) -> bool:
        """One token for each turn that writes and one chunk for one that reads; False: all ended.

        Raises nothing: a fault ends the turn that it comes from.
        """
        self._loaded.take_threads()
        if len(self._turns) > 1:
            self._share_pass()
        for turn in self._turns:
            if turn.writes:
                self._go_on(turn)
        self._read()
        self._turns = [turn for turn in self._turns if not turn.ended]
        return bool(self._turns)

    def cancel(self) -> None:
        """Ask every turn to end with its next step."""
        for turn in self._turns:
            turn.cancel()

    def fail(self, error: BaseException) -> None:
        """End all turns because of a fault of ours."""
        for turn in self._turns:
            turn.fail(error)
        self._turns.clear()
        self._reading.clear()

    def limit_s(self) -> float | None:
        """How long a chunk may take; None where nobody waits for its end."""
        return CHUNK_S if self.writes or self._others_write() else None

    def _share_pass(self) -> None:
        """Read the tokens that several turns have drawn, in one pass where that pays.

        What is not read here each turn reads itself. So it is after a fault: whoever it comes
        from then meets it alone.
        """
        unread = [turn.unread for turn in self._turns]
        decodings = [decoding for decoding in unread if decoding is not None]
        if len(decodings) < 2 or not self._worth.sharing(len(decodings)):
            return
        started = time.perf_counter()
        try:
            read_together(self._loaded.model, decodings)
        except Exception:
            log.exception("a pass for %d answers failed: each goes on alone", len(decodings))
            self._worth.rest()
        else:
            self._worth.note(len(decodings), time.perf_counter() - started)

    def _read(self) -> None:
        """One chunk of the next turn that has something to read."""
        for _ in range(len(self._reading)):
            turn = self._reading[0]
            self._go_on(turn)
            self._reading.popleft()
            if not (turn.writes or turn.ended):
                self._reading.append(turn)
            if not turn.waits:
                return

    def _go_on(self, turn: TurnSequence) -> None:
        try:
            turn.step()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a Rust tokenizer is no Exception
            log.exception("a turn failed")
            self._contexts.clear()
            turn.fail(error)


class _Worth:
    """Whether one pass for several answers is quicker here than one for each: measured.

    On a processor it is; a GPU's recorded step for one token may be quicker than a pass without.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._costs = loaded.costs
        self._shared: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=8))
        self._separate = 0

    def sharing(self, rows: int) -> bool:
        """Whether the next pass should be for ``rows`` answers."""
        if self._separate:
            self._separate -= 1
            return False
        single, shared = self._costs.single_s, self._shared[rows]
        if single is None or len(shared) < 8 or statistics.median(shared) < rows * single:
            return True
        shared.clear()  # measured anew once it is tried again
        self.rest()
        return False

    def note(self, rows: int, seconds: float) -> None:
        """A pass for ``rows`` answers took ``seconds``."""
        self._shared[rows].append(seconds)

    def rest(self) -> None:
        """Make no shared pass for a while."""
        self._separate = SEPARATE_ROUNDS
