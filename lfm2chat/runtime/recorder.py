"""Where an answer goes while it is written: the store, or nowhere for a temporary one.

Used by the worker's thread; what the store answers arrives on its writer thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.events import Event, SaveFailed
from lfm2chat.runtime.steps import Answer
from lfm2chat.store import Store

FLUSH_S = 0.25
FLUSH_TOKENS = 64


class TurnRecorder:
    """Appends the answer's text to ``message`` at most 250 ms or 64 tokens behind the screen."""

    def __init__(
        self, store: Store | None, message: Message, *, emit: Callable[[Event], None]
    ) -> None:
        self._store = store
        self._message = message
        self._emit = emit
        self._pending: list[str] = []
        self._pending_tokens = 0
        self._flushed_at = time.monotonic()
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """Everything written so far."""
        return "".join(self._text)

    def write(self, text: str) -> None:
        """Add the text of one token; it reaches the disk with the next flush."""
        self._text.append(text)
        self._pending.append(text)
        self._pending_tokens += 1
        due = time.monotonic() - self._flushed_at >= FLUSH_S
        if due or self._pending_tokens >= FLUSH_TOKENS:
            self._flush()

    def finish(
        self, answer: Answer, *, model: str, tokenizer_hash: str, then: Callable[[Message], None]
    ) -> None:
        """Store the whole answer; ``then`` gets the message once it is committed.

        Where the disk refuses, ``then`` gets it all the same, after a :class:`SaveFailed`: what
        was shown stays shown.
        """
        done = replace(
            self._message,
            text=answer.text,
            status=MessageStatus.DONE,
            model=model,
            token_ids=answer.token_ids,
            tokenizer_hash=tokenizer_hash,
            finish_reason=answer.finish_reason,
            sampling=answer.sampling,
            seed=answer.seed,
            timing=answer.timing,
        )
        self._store_final(done, then)

    def fail(self, error: str, *, then: Callable[[Message], None]) -> None:
        """Store what was written before the turn failed, with the sentence that says why."""
        text = self._message.text + self.text  # after what it began with
        failed = replace(self._message, text=text, status=MessageStatus.FAILED, error=error)
        self._store_final(failed, then)

    def _flush(self) -> None:
        text = "".join(self._pending)
        self._pending.clear()
        self._pending_tokens = 0
        self._flushed_at = time.monotonic()
        if self._store is not None and text:
            self._store.append_text(self._message.id, text).add_done_callback(self._report)

    def _store_final(self, message: Message, then: Callable[[Message], None]) -> None:
        if self._store is None:
            then(message)
            return

        def committed(future: Future[Message]) -> None:
            self._report(future)
            then(message if future.exception() else future.result())

        self._store.finish_message(
            message.id,
            text=message.text,
            status=message.status,
            finish_reason=message.finish_reason,
            token_ids=message.token_ids,
            tokenizer_hash=message.tokenizer_hash,
            model=message.model,
            sampling=message.sampling,
            seed=message.seed,
            timing=message.timing,
            error=message.error,
        ).add_done_callback(committed)

    def _report(self, future: Future[Message] | Future[None]) -> None:
        error = future.exception()
        if error is not None:
            hint = error.hint if isinstance(error, Lfm2ChatError) else ""
            self._emit(SaveFailed(str(error), hint))
