"""One answer, from messages to text, as a generator of small steps.

It knows the model, the text layer and the warm contexts; it knows neither store, nor events, nor
threads. The worker turns its steps into events, the library turns them into text.

What a seed promises: the same tokens wherever the model's numbers do not depend on what stands
beside a token in a pass, with the native kernels always, greedily in float32 but for ties.
Elsewhere an answer that shared passes with others, or was read in other chunks, has logits that are
equal within a tolerance: one near a tie may part there from the one written alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lfm2chat.chat.detokenize import StreamingDetokenizer
from lfm2chat.chat.prompt import Prompt
from lfm2chat.chat.stops import StopMatcher
from lfm2chat.chat.turns import PromptMessage
from lfm2chat.chat.window import Window
from lfm2chat.engine import Decoding, PromptLookup, Reader, prefill, write
from lfm2chat.runtime.fitting import fit_window
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.primed import Primed
from lfm2chat.runtime.repetition import repeats_endlessly
from lfm2chat.runtime.saved import SavedContexts, find_context
from lfm2chat.runtime.steps import Answer, Fit, Reading, Step, Waiting, Writing
from lfm2chat.runtime.warm import WarmContext, WarmContexts
from lfm2chat.spec import FinishReason, SamplingParams, Timing

if TYPE_CHECKING:
    from torch import Tensor

SEED_BITS = 32


def answer(
    loaded: LoadedModel,
    contexts: WarmContexts,
    messages: Sequence[PromptMessage],
    *,
    sampling: SamplingParams,
    beginning: PromptMessage | None = None,
    roll: bool = False,
    fitting: Fit | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    conversation_id: int | None = None,
    saved: SavedContexts | None = None,
    limit_s: Callable[[], float | None] = lambda: None,
    primed: Primed | None = None,
) -> Generator[Step]:
    """Answer the last of ``messages``; the last step is an :class:`Answer`.

    With a ``beginning`` the answer goes on after that text. It is told only in the last step.
    ``fitting`` makes the messages fit where that takes steps of its own; else ``roll`` says how.

    A cancelled answer ends with what was written. ``contexts`` gets the cache back however the
    generator ends, also when it is closed early. With ``saved``, which is for a stored
    conversation alone, a context may come from the disk, and that of a whole answer is noted to
    be saved as that of ``conversation_id``. ``limit_s`` says before each chunk of the prompt how
    long it may take, where others wait for its end. ``primed`` is what was read ahead: it is used
    only where this answer, were it alone, would have read the very same.

    Raises:
        ContextFullError: No room for an answer, and ``roll`` is off or does not help.
        GenerationError: The model gave NaN.
        TemplateError, TokenizerError: The messages cannot be rendered.
    """
    sampling = _seeded(sampling)
    begun = loaded.template.beginning_ids(beginning) if beginning is not None else ()
    started = time.monotonic()
    window: Window | None
    if fitting is None:
        window = fit_window(loaded.sight, messages, sampling, roll=roll, begun=begun)
    else:
        window = yield from fitting(messages, sampling, begun)
    if window is None:
        yield _unread(sampling, beginning, begun)
        return
    while contexts.is_coming(window.prompt.ids) and not cancelled():
        yield Waiting()
    reading_from = time.monotonic()
    context = _borrow(loaded, contexts, saved, primed, window.prompt.ids)
    times = {"started": started, "reading_from": reading_from}
    run = _Run(loaded, context, window, sampling, cancelled=cancelled, limit_s=limit_s, **times)
    if beginning is not None:
        run.begin(beginning.text, begun)
    try:
        yield from run.steps()
    finally:
        run.settle()
        context.conversation_id = conversation_id
        contexts.give(context)
        # A pass that failed may have left numbers behind that nobody should keep.
        if saved is not None and conversation_id is not None and run.answered:
            saved.note(conversation_id, context)


def _borrow(
    loaded: LoadedModel,
    contexts: WarmContexts,
    saved: SavedContexts | None,
    primed: Primed | None,
    ids: Sequence[int],
) -> WarmContext:
    """The context that knows most of ``ids``, noted as lent for them."""
    context = find_context(loaded, contexts, saved, ids)
    if primed is not None:
        # First what was read ahead, then lent: whoever copies it meanwhile copies that too.
        primed.lend(context, ids)
    contexts.lend(context, ids)
    return context


def _unread(
    sampling: SamplingParams, beginning: PromptMessage | None, begun: tuple[int, ...]
) -> Answer:
    """What a turn ends with that was cancelled before anything was read for it."""
    return Answer(
        text=beginning.text if beginning is not None else "",
        token_ids=begun,
        finish_reason=FinishReason.CANCELLED,
        sampling=sampling,
        seed=sampling.seed or 0,
        timing=Timing(),
        context_used=0,
        left_out=0,
        seen_ids=(),
        ends=(),
    )


def _seeded(sampling: SamplingParams) -> SamplingParams:
    """``sampling`` with a seed: its own, or a fresh one."""
    if sampling.seed is not None:
        return sampling
    return replace(sampling, seed=secrets.randbits(SEED_BITS))


class _Run:
    """The state of one answer while it is made."""

    def __init__(
        self,
        loaded: LoadedModel,
        context: WarmContext,
        window: Window,
        sampling: SamplingParams,
        *,
        cancelled: Callable[[], bool],
        limit_s: Callable[[], float | None],
        started: float,
        reading_from: float,
    ) -> None:
        self._loaded = loaded
        self._context = context
        self._window = window
        self._prompt: Prompt = window.prompt
        self._sampling = sampling
        self._cancelled = cancelled
        self._limit_s = limit_s
        # Where reading begins: a little before the end of what is there, after going back.
        self._cached = context.cache.position
        self._ids: list[int] = []
        self._begun_text, self._begun_ids = "", tuple[int, ...]()
        self._started = started
        self._reading_from = reading_from
        self.answered = False
        self._first_token_at: float | None = None
        self._last_token_at = 0.0
        self._prefill_s = 0.0

    def begin(self, text: str, ids: tuple[int, ...]) -> None:
        """Note what of the prompt's end is the answer's own."""
        self._begun_text, self._begun_ids = text, ids

    def steps(self) -> Iterator[Step]:
        # 1. Read what the cache does not hold.
        logits: Tensor | None = None
        total = len(self._prompt.ids)
        yield Reading(self._cached, total, self._cached)
        reading = prefill(
            self._loaded.model,
            self._prompt.ids[self._cached :],
            self._context.cache,
            pace=self._loaded.pace,
            cancelled=self._cancelled,
            limit_s=self._limit_s,
        )
        try:
            while True:
                done = next(reading)
                self._note_fed()
                yield Reading(self._cached + done, total, self._cached)
        except StopIteration as stop:
            logits = stop.value
        if logits is None:
            yield self._finished("", (), FinishReason.CANCELLED)
            return
        # 2. Draw tokens until something ends it.
        self._prefill_s = time.monotonic() - self._reading_from
        yield from self._write(logits)

    def _write(self, logits: Tensor) -> Iterator[Step]:
        detokenizer = StreamingDetokenizer(self._loaded.tokenizer)
        stops = StopMatcher(self._sampling.stop)
        shown: list[str] = []
        finish = FinishReason.CANCELLED
        stopped_by_text = False
        decoding, reader = self._begin_writing(logits)
        for token in write(decoding, reader):
            self._last_token_at = time.monotonic()
            self._first_token_at = self._first_token_at or self._last_token_at
            if token.finish in (FinishReason.STOP, FinishReason.CONTROL):
                finish = token.finish
                break
            self._ids.append(token.id)
            text, stopped_by_text = stops.push(detokenizer.push(token.id))
            shown.append(text)
            if stopped_by_text or token.finish is not None:
                finish = FinishReason.STOP if stopped_by_text else token.finish or finish
                yield self._writing(text)
                break
            if repeats_endlessly(self._ids):
                finish = FinishReason.REPETITION
                yield self._writing(text)
                break
            yield self._writing(text, decoding)
            if self._cancelled():
                break
        if not stopped_by_text:
            rest, stopped_by_text = stops.push(detokenizer.finish())
            rest += "" if stopped_by_text else stops.flush()
            shown.append(rest)
            yield self._writing(rest)
        # A stop text was cut off: the ids say more than the text, so the text is the truth.
        ids = () if stopped_by_text else tuple(self._ids)
        yield self._finished("".join(shown), ids, finish)

    def _begin_writing(self, logits: Tensor) -> tuple[Decoding, Reader]:
        loaded, cache = self._loaded, self._context.cache
        decoding = Decoding(
            loaded.model,
            logits,
            cache,
            self._sampling,
            context_ids=self._prompt.ids,
            eos_token_ids=loaded.eos_token_ids,
            control_ids=loaded.tokenizer.special_ids,
            vocab_limit=loaded.tokenizer.vocab_size,
            max_length=loaded.context_tokens,
        )
        drafts = PromptLookup(self._prompt.ids)
        return decoding, Reader(
            loaded.model, cache, drafts=drafts, costs=loaded.costs, limit=decoding.limit
        )

    def settle(self) -> None:
        """Make the context's ids what its cache really holds, and mark its end."""
        self._note_fed()
        self._context.mark()

    def _note_fed(self) -> None:
        everything = (*self._prompt.ids, *self._ids)
        self._context.feed(everything[len(self._context.ids) : self._context.cache.length])

    def _writing(self, text: str, unread: Decoding | None = None) -> Writing:
        return Writing(text, len(self._ids), self._decode_s, self._context_used, unread)

    @property
    def _decode_s(self) -> float:
        return self._last_token_at - self._first_token_at if self._first_token_at else 0.0

    @property
    def _context_used(self) -> int:
        return len(self._prompt.ids) + len(self._ids)

    def _finished(self, text: str, ids: tuple[int, ...], finish: FinishReason) -> Answer:
        self.answered = True
        first = self._first_token_at
        timing = Timing(
            prompt_tokens=len(self._prompt.ids),
            cached_tokens=self._cached,
            generated_tokens=len(self._ids),
            prefill_s=self._prefill_s,
            decode_s=self._decode_s,
            time_to_first_token_s=first - self._started if first else 0.0,
        )
        return Answer(
            text=self._begun_text + text,
            # Cut at a stop text there are none; nor are there of a beginning without its end.
            token_ids=(*self._begun_ids, *ids) if ids or not self._ids else (),
            finish_reason=finish,
            sampling=self._sampling,
            seed=self._sampling.seed or 0,
            timing=timing,
            context_used=self._context_used,
            left_out=self._window.left_out,
            seen_ids=(*self._prompt.ids, *self._ids),
            ends=self._prompt.ends,
            summary=self._window.summary,
        )
