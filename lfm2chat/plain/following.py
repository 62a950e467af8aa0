"""Following what the service tells: an answer while it is written, a model while it is loaded."""

from __future__ import annotations

import queue
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from lfm2chat.chat.text import one_line
from lfm2chat.chat.thoughts import ThoughtSplitter
from lfm2chat.chat.transcript import speaker
from lfm2chat.chat.turns import Message
from lfm2chat.plain.base import Heard, PlainBase, count_of
from lfm2chat.plain.signals import StopAsked
from lfm2chat.runtime.events import (
    ModelFailed,
    ModelLoaded,
    ModelLoading,
    ModelPacking,
    PrefillProgress,
    SaveFailed,
    StoreNotice,
    SummaryMade,
    SummaryProgress,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.spec import FinishReason
from lfm2chat.tui import wording

# What takes no longer is not worth a line.
SAY_AFTER_S = 1.0

ENDINGS = {
    FinishReason.LENGTH: "ended at max_new_tokens: /max-new-tokens raises it, /continue goes on",
    FinishReason.CONTEXT: "ended because the context is full: /new starts a new conversation",
}

OfTurn = (
    TurnAccepted
    | SummaryProgress
    | SummaryMade
    | PrefillProgress
    | TextDelta
    | TurnFinished
    | TurnFailed
)


class Following(PlainBase):
    """Says what comes. An event of another turn than the one that is said waits for its place."""

    _loading = ""
    _loading_since_s = 0.0
    _loading_said = False
    # Of the answer that is said: made when its turn is accepted.
    _splitter: ThoughtSplitter

    def _start(self, model: str) -> None:
        """Let the service load its first model."""
        self._expect(model or self._service.model_name)
        self._service.start(model)

    def _expect(self, model: str) -> None:
        self._loading, self._loading_said = model, False
        self._loading_since_s = time.monotonic()

    # --- answers ------------------------------------------------------------------------------

    def _answer(self, begin: Callable[[], Sequence[int]]) -> None:
        """Say the answers of the turns that ``begin`` begins, in their order.

        Ctrl+C stops all of them; what is written stays, on the screen and on disk.

        Raises:
            Lfm2ChatError: From ``begin``.
        """
        with self._signals.stopping():
            self._tell_waiting()  # a Ctrl+C of before means nothing now
            turns = begin()
            held: dict[int, deque[OfTurn]] = defaultdict(deque)
            for place, turn in enumerate(turns, 1):
                number = f", answer {place} of {len(turns)}" if len(turns) > 1 else ""
                self._say_turn(turn, turns, held, number)

    def _say_turn(
        self, turn: int, turns: Sequence[int], held: dict[int, deque[OfTurn]], number: str
    ) -> None:
        reading: PrefillProgress | None = None
        heard = summarising = False
        while True:
            event = self._next_of(turn, turns, held, reading)
            match event:
                case TurnAccepted():
                    self._accepted(event, number)
                case SummaryProgress() | SummaryMade():
                    self._say_summary(event, begun=summarising)
                    summarising = True
                case PrefillProgress():
                    reading = event
                    continue
                case TextDelta():
                    self._say_piece(event.text)
                    heard = heard or bool(event.text)
                case TurnFinished():
                    self._voice.go_on(self._splitter.end())
                    self._voice.end()
                    self._finished(event, heard=heard)
                    return
                case TurnFailed():
                    self._voice.end()
                    self._fail(event.message, event.hint, event.exit_code)
                    return
            reading = None

    def _say_summary(self, event: SummaryProgress | SummaryMade, *, begun: bool) -> None:
        """Say that a summary is made, once, and what it says."""
        if isinstance(event, SummaryProgress):
            if not begun:
                self._say(f"summarising the first {event.messages} messages ...")
            return
        self._say(wording.summary_made(event))
        if event.text:
            self._say(f"Summary: {event.text}")

    def _say_piece(self, piece: str) -> None:
        """Say what of a piece belongs to the answer; of a thought only that there is one."""
        thinking = self._splitter.thinking
        answer = self._splitter.feed(piece)
        if self._splitter.thinking and not thinking:
            self._say("thinking ...")
        self._voice.go_on(answer)

    def _next_of(
        self,
        turn: int,
        turns: Sequence[int],
        held: dict[int, deque[OfTurn]],
        reading: PrefillProgress | None,
    ) -> OfTurn:
        """The next event of ``turn``; those of the others are put into ``held``."""
        while not held[turn]:
            event = self._next(SAY_AFTER_S)
            match event:
                case None:
                    self._say_what_takes_long(reading)
                    reading = None
                case StopAsked():
                    for number in turns:
                        self._service.cancel(number)
                case (
                    TurnAccepted()
                    | SummaryProgress()
                    | SummaryMade()
                    | PrefillProgress()
                    | TextDelta()
                    | TurnFinished()
                    | (TurnFailed())
                ):
                    if event.turn in turns:
                        held[event.turn].append(event)
                case _:
                    self._tell(event)
        return held[turn].popleft()

    def _accepted(self, event: TurnAccepted, number: str) -> None:
        self.key, self.temporary = event.conversation.id, False
        self._sampling = self._system_prompt = None
        self._files.clear()
        self._splitter = ThoughtSplitter()
        self._splitter.feed(event.assistant.text)
        going_on = ", going on" if event.assistant.text else ""
        self._voice.begin(f"{speaker(event.assistant.model)}{number}{going_on}")

    def _finished(self, event: TurnFinished, *, heard: bool) -> None:
        if how := ending(event.message):
            self._say(f"({how})")
        elif not heard:
            self._say("(nothing was added)")
        left_out = count_of(event.left_out, "message")
        if event.summary:
            self._say(f"(a summary stood for {left_out} at the beginning: /context says it)")
        elif event.left_out:
            self._say(f"({left_out} at the beginning did not fit and were not read)")

    def _say_what_takes_long(self, reading: PrefillProgress | None) -> None:
        if self._loading:
            self._say_loading()
        elif reading is not None and reading.done < reading.total:
            self._say(f"reading {reading.total - reading.cached} tokens ...")

    # --- models -------------------------------------------------------------------------------

    def _wait_for_model(self) -> None:
        """Return once a model is in memory, or none will come."""
        while self._loading:
            event = self._next(SAY_AFTER_S)
            if event is None:
                self._say_loading()
            else:
                self._tell(event)

    def _say_loading(self) -> None:
        if not self._loading_said and time.monotonic() - self._loading_since_s >= SAY_AFTER_S:
            self._loading_said = True
            self._say(f"loading {one_line(self._loading, 60)} ...")

    # --- everything else ----------------------------------------------------------------------

    def _next(self, timeout_s: float) -> Heard | None:
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _tell_waiting(self) -> None:
        """Say what came in the meantime, without waiting for more."""
        while True:
            try:
                self._tell(self._heard.get_nowait())
            except queue.Empty:
                return

    def _tell(self, event: Heard) -> None:
        """Say what happened beside answers, where it is worth a line."""
        match event:
            case ModelLoading(model=model):
                # It is expected already, but for one that had rested.
                if not self._loading:
                    self._expect(model)
            case ModelPacking(model=model, share=0):
                self._say(f"packing {one_line(model, 60)}, once; the next start is quick")
            case ModelLoaded():
                if self._loading_said:
                    self._say("ready")
                self._loading = ""
            case ModelFailed(message=message, hint=hint, exit_code=code):
                self._loading = ""
                self._fail(message, hint, code)
            case SaveFailed(message=message, hint=hint):
                self._say(f"Not saved: {message}")
                if hint:
                    self._say(f"Hint: {hint}")
            case StoreNotice(message=message, hint=hint):
                self._say(f"Note: {message}. {hint}".rstrip())
            case _:
                pass


def ending(message: Message) -> str:
    """How an answer ended, where it did not simply end."""
    if message.finish_reason in ENDINGS:
        return ENDINGS[message.finish_reason]
    return wording.ending(message)[0]
