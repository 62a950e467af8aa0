"""What a front end asks for beside turns: the lens, a count of tokens, reading ahead.

The part of :class:`lfm2chat.runtime.service.ChatService` that changes no conversation. Every method
returns at once; any thread may call it.
"""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from lfm2chat.chat.attachments import Attachment, attached
from lfm2chat.chat.shares import ContextMap
from lfm2chat.chat.window import Window
from lfm2chat.runtime.commands import Command, Prime, Score
from lfm2chat.runtime.counting import Asked, Draft, PromptCounter, TokenCount
from lfm2chat.runtime.summaries import Summaries
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store, is_temporary


class BesideTurns(ABC):
    """Asks the worker, and a thread that counts; whoever inherits knows stores and the worker."""

    def __init__(self, *, models_folder: Path, settings: Settings, summaries: Summaries) -> None:
        self._settings = settings
        self._request_numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._requests: dict[int, Score] = {}
        self._counter = PromptCounter(
            models_folder=models_folder, settings=settings, summaries=summaries
        )

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The selected model, loaded or about to be."""

    @abstractmethod
    def _store_of(self, conversation_id: int | None) -> Store: ...

    @abstractmethod
    def _put(self, command: Command) -> None: ...

    # --- after a turn -------------------------------------------------------------------------

    def lens(self, conversation_id: int, message_id: int) -> int:
        """Ask how sure the model in memory is of each token of an answer; gives the number of the
        request, which :class:`Scored` or :class:`ScoreEnded` carry. Turns go before it.
        """
        store = self._store_of(conversation_id)
        with self._lock:
            command = Score(next(self._request_numbers), store, conversation_id, message_id)
            self._requests[command.request] = command
        self._put(command)
        return command.request

    def cancel_request(self, request: int) -> None:
        """End what :meth:`lens` asked for, with its next chunk. Nothing if it is over."""
        with self._lock:
            command = self._requests.get(request)
        if command is not None:
            command.cancel.set()

    # --- before a turn ------------------------------------------------------------------------

    def count_tokens(
        self,
        conversation_id: int | None,
        text: str = "",
        attachments: Sequence[Attachment] = (),
        *,
        sampling: SamplingParams | None = None,
    ) -> Future[TokenCount | None]:
        """How many tokens the turn would take if ``text`` were said now, exactly.

        On a thread of its own, without the model; None where a newer question about the same
        conversation came first. ``sampling`` as for :meth:`submit`.
        """
        return self._counter.count(self._draft(conversation_id, text, attachments, sampling))

    def context_map(
        self,
        conversation_id: int | None,
        text: str = "",
        attachments: Sequence[Attachment] = (),
        *,
        sampling: SamplingParams | None = None,
    ) -> Future[ContextMap | None]:
        """What fills the context, as :meth:`count_tokens` counts it."""
        return self._counter.map(self._draft(conversation_id, text, attachments, sampling))

    def prime(
        self,
        conversation_id: int | None,
        text: str = "",
        attachments: Sequence[Attachment] = (),
        *,
        sampling: SamplingParams | None = None,
    ) -> None:
        """Let the model read ahead what the next turn will hold, in place of what it read ahead
        before; nothing where the settings say so. No turn waits for it or answers otherwise.
        """
        if not self._settings.prime_while_typing:
            return

        def put(asked: Asked, window: Window) -> None:
            sight, stored = asked.sight, conversation_id is not None
            stored = stored and not is_temporary(conversation_id or 0)
            tokenizer_hash = sight.template.tokenizer.hash
            self._put(Prime(sight.model, tokenizer_hash, window.prompt.ids, stored=stored))

        self._counter.prompt(self._draft(conversation_id, text, attachments, sampling), put)

    # --- inside -------------------------------------------------------------------------------

    def stop_counting(self) -> None:
        """End the thread that counts."""
        self._counter.close()

    def _request_ended(self, request: int) -> None:
        with self._lock:
            self._requests.pop(request, None)

    def _draft(
        self,
        conversation_id: int | None,
        text: str,
        attachments: Sequence[Attachment],
        sampling: SamplingParams | None,
    ) -> Draft:
        return Draft(
            self.model_name,
            self._store_of(conversation_id) if conversation_id is not None else None,
            conversation_id,
            text,
            attached(attachments),
            self._settings.system_prompt,
            sampling,
        )
