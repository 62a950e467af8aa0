"""The turns that are going on: which conversation each belongs to, and how each is stopped."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.runtime.commands import RunTurn, StoredTurn
from lfm2chat.runtime.events import Event, TurnAccepted, TurnFailed
from lfm2chat.spec import SamplingParams


class LiveTurns:
    """Numbers turns and knows them until they end. Any thread.

    ``run`` hands a turn to the worker, ``emit`` tells what happens.
    """

    def __init__(self, run: Callable[[RunTurn], None], emit: Callable[[Event], None]) -> None:
        self._run = run
        self._emit = emit
        self._numbers = itertools.count(1)
        self._live: dict[int, RunTurn] = {}
        self._answering: dict[int, set[int]] = {}
        self._lock = threading.Lock()

    def begin(
        self,
        conversation_id: int | None,
        sampling: SamplingParams | None,
        *,
        model: str = "",
        count: int = 1,
    ) -> list[RunTurn]:
        """``count`` turns of one conversation, None: of one that is still to be made.

        ``model`` answers them, "" is the selected one.

        Raises:
            UsageError: That conversation is still being answered.
        """
        with self._lock:
            if conversation_id is not None and conversation_id in self._answering:
                raise UsageError(
                    "this conversation is still being answered", hint="wait, or stop it first"
                )
            commands = [
                RunTurn(turn=next(self._numbers), sampling=sampling, model=model, place=place)
                for place in range(count)
            ]
            self._live |= {command.turn: command for command in commands}
            if conversation_id is not None:
                self._answering[conversation_id] = {command.turn for command in commands}
        return commands

    def accept(self, command: RunTurn, stored: StoredTurn) -> None:
        """Answer what is on disk now. On the store's writer thread."""
        with self._lock:
            self._answering.setdefault(stored.conversation.id, set()).add(command.turn)
        self._emit(TurnAccepted(command.turn, stored.conversation, stored.user, stored.assistant))
        self._run(replace(command, stored=stored))

    def refuse(self, command: RunTurn, error: BaseException) -> None:
        """Say that a turn never began: what it answers is not on disk."""
        hint, code = "", Lfm2ChatError.exit_code
        if isinstance(error, Lfm2ChatError):
            hint, code = error.hint, error.exit_code
        self._emit(TurnFailed(command.turn, str(error), hint, code))

    def committed(self, commands: list[RunTurn], stored: Callable[[Any], list[StoredTurn]]) -> Any:
        """What a future of the store calls: each of ``commands`` goes on with its part of what
        ``stored`` makes of the result, or fails.
        """

        def done(future: Future[Any]) -> None:
            error = future.exception()
            turns = [] if error is not None else stored(future.result())
            for number, command in enumerate(commands):
                if error is not None:
                    self.refuse(command, error)
                else:
                    self.accept(command, turns[number])

        return done

    def cancel(self, turn: int) -> None:
        """End a turn with its next token; what is written stays. Nothing if it is over."""
        with self._lock:
            command = self._live.get(turn)
        if command is not None:
            command.cancel.set()

    def cancel_all(self) -> None:
        """End every turn with its next token."""
        with self._lock:
            for command in self._live.values():
                command.cancel.set()

    def of(self, conversation_id: int) -> tuple[int, ...]:
        """The turns that are answering a conversation now, in the order of their numbers."""
        with self._lock:
            return tuple(sorted(self._answering.get(conversation_id, ())))

    def ended(self, turn: int) -> None:
        """Forget a turn that was told to be over."""
        with self._lock:
            self._live.pop(turn, None)
            for conversation_id, turns in list(self._answering.items()):
                turns.discard(turn)
                if not turns:
                    del self._answering[conversation_id]
