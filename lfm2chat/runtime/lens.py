"""The token lens: an answer that is written, read again for how sure the model was of each token.

In: a :class:`Score` command. Out: one :class:`Scored` event, or :class:`ScoreEnded`. It reads on
top of a copy of the context that holds the answer's prompt, so live contexts stay as they are.
Made, stepped and dropped on the worker's thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lfm2chat.chat.detokenize import text_pieces
from lfm2chat.chat.summaries import Summary, split_system
from lfm2chat.chat.turns import Message, MessageStatus, PromptMessage, Role
from lfm2chat.chat.window import Window
from lfm2chat.engine import ScoredToken, prefill, score
from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.runtime.commands import Score
from lfm2chat.runtime.events import Event, LensToken, OtherToken, Scored, ScoreEnded
from lfm2chat.runtime.fitting import branch_prompt, fit_summarised, fit_window
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.scheduler import Priority
from lfm2chat.runtime.summaries import Summaries
from lfm2chat.runtime.warm import WarmContext, WarmContexts
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams

if TYPE_CHECKING:
    from torch import Tensor

ALTERNATIVES = 8
T = TypeVar("T")
PASS_S = 0.1
"""How long a turn of the user may have to wait for one pass of the lens."""


class LensSequence:
    """Scores one answer, chunk by chunk, whenever no turn of the user runs."""

    priority = Priority.LENS

    def __init__(
        self,
        command: Score,
        loaded: LoadedModel,
        contexts: WarmContexts,
        summaries: Summaries,
        *,
        settings: Settings,
        emit: Callable[[Event], None],
        urgent: Callable[[], bool],
    ) -> None:
        """``urgent`` says that a turn waits: reading the prompt stops before the next layer."""
        self._command = command
        self._loaded = loaded
        self._contexts = contexts
        self._summaries = summaries
        self._settings = settings
        self._emit = emit
        self._urgent = urgent
        self._steps: Generator[None] | None = None

    def step(self) -> bool:
        """Read one chunk; False once everything is told."""
        self._loaded.take_threads()
        try:
            if self._steps is None:
                self._steps = self._run()
            next(self._steps)
        except StopIteration:
            return False
        except Lfm2ChatError as error:
            self._end(str(error), error.hint)
            return False
        except MemoryError:
            self._end("the memory is full", "close a conversation or take a smaller model")
            return False
        return True

    def cancel(self) -> None:
        """End with the next chunk."""
        self._command.cancel.set()

    def fail(self, error: BaseException) -> None:
        """End because of a fault of ours; the worker has logged it."""
        self._end(f"the engine failed: {type(error).__name__}", "the log says more")

    def _run(self) -> Generator[None]:
        # 1. What was read, and what was written.
        command = self._command
        branch, numbers, messages = self._stored()
        message = branch[-1]
        ids, pieces = self._tokens_of(message)
        sampling = message.sampling or self._settings.sampling_over(self._loaded.recommended)
        window = self._window(numbers, messages, sampling)
        # 2. Read the prompt, where no context holds it.
        context = self._contexts.twin(window.prompt.ids) or WarmContext(self._loaded.new_cache())
        logits = yield from self._read(window.prompt.ids, context)
        if logits is None:
            self._end()
            return
        # 3. Score the answer.
        scoring = score(
            self._loaded.model,
            ids,
            context.cache,
            logits=logits,
            alternatives=ALTERNATIVES,
            vocab_limit=self._loaded.tokenizer.vocab_size,
            longest_s=PASS_S,
            cancelled=command.cancel.is_set,
        )
        scored = yield from _each(scoring)
        if len(scored) < len(ids):
            self._end()
            return
        tokens = tuple(map(self._token, pieces, scored))
        self._emit(Scored(command.request, command.message_id, self._loaded.name, tokens))

    def _window(
        self, ids: Sequence[int], messages: Sequence[PromptMessage], sampling: SamplingParams
    ) -> Window:
        """What of ``messages`` the model read: with the first summary that made it fit, if any."""
        sight, rest = self._loaded.sight, split_system(messages)[1]
        if self._settings.context_policy == "summarise":
            for summary in self._summaries.all_of(self._command.conversation_id, ids, rest):
                known = partial(_the_one, summary)
                window = fit_summarised(sight, messages, sampling, known=known)
                if isinstance(window, Window):
                    return window
        return fit_window(sight, messages, sampling, roll=True)

    def _stored(
        self,
    ) -> tuple[Sequence[Message], Sequence[int], Sequence[PromptMessage]]:
        """The branch up to the answer, and what the model was asked, with its numbers."""
        store, number = self._command.store, self._command.conversation_id
        conversation = store.conversation(number)
        branch = store.branch(number, tip_id=self._command.message_id)
        message = branch[-1]
        if message.role is not Role.ASSISTANT or not message.text:
            raise UsageError("this is no answer of a model", hint="choose one of its answers")
        if message.status is MessageStatus.WRITING:
            raise UsageError("this answer is still being written", hint="wait, or stop it first")
        numbers, messages = branch_prompt(branch[:-1], conversation.system_prompt)
        return branch, [number for number in numbers if number is not None], messages

    def _tokens_of(self, message: Message) -> tuple[Sequence[int], Sequence[str]]:
        """The ids of an answer and the piece of its text that each of them completes.

        Raises:
            UsageError: This model has no tokens that give the text.
        """
        tokenizer = self._loaded.tokenizer
        own = message.token_ids if message.tokenizer_hash == tokenizer.hash else ()
        for ids in (own, tokenizer.encode_plain(message.text)):
            pieces = text_pieces(tokenizer, ids)
            if ids and sum(map(len, pieces)) == len(message.text):
                return ids, _cut(message.text, pieces)
        raise UsageError(
            f"{self._loaded.name} has no tokens for this answer", hint="choose another model"
        )

    def _read(
        self, prompt_ids: Sequence[int], context: WarmContext
    ) -> Generator[None, None, Tensor | None]:
        """The logits after the prompt; None once it was cancelled."""
        cancel, cache = self._command.cancel, context.cache
        while not cancel.is_set():
            reading = prefill(
                self._loaded.model,
                prompt_ids[cache.position :],
                cache,
                pace=self._loaded.pace,
                cancelled=lambda: cancel.is_set() or self._urgent(),
            )
            logits = yield from _each(reading)
            if logits is not None:
                return logits
            yield  # a turn came: on from the last whole chunk, after it
        return None

    def _token(self, piece: str, token: ScoredToken) -> LensToken:
        others = tuple(
            OtherToken(self._loaded.tokenizer.token_text(one.id), one.id, math.exp(one.logprob))
            for one in token.alternatives
        )
        # The prompt is never empty: something is known before each token.
        assert token.logprob is not None
        assert token.entropy is not None
        return LensToken(piece, token.id, math.exp(token.logprob), token.entropy, others)

    def _end(self, message: str = "", hint: str = "") -> None:
        self._emit(ScoreEnded(self._command.request, self._command.message_id, message, hint))


def _each(steps: Generator[int, None, T]) -> Generator[None, None, T]:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield


def _cut(text: str, pieces: Sequence[str]) -> list[str]:
    """``text`` in pieces as long as ``pieces``: a lone surrogate in it stays what it is."""
    cut, start = [], 0
    for piece in pieces:
        cut.append(text[start : start + len(piece)])
        start += len(piece)
    return cut


def _the_one(summary: Summary, _: Sequence[PromptMessage]) -> Summary:
    return summary
