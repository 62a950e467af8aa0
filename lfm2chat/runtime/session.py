"""One turn on the worker's thread: the branch from the store, the answer into it, events out.

Text is joined to at most 20 events a second: the screen cannot use more, and each costs it work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from lfm2chat.chat.turns import Message, MessageStatus, PromptMessage, Role
from lfm2chat.engine import Decoding
from lfm2chat.errors import Lfm2ChatError, NotEnoughMemoryError
from lfm2chat.runtime.beside import InMemory
from lfm2chat.runtime.commands import RunTurn
from lfm2chat.runtime.events import (
    Event,
    PrefillProgress,
    SummaryMade,
    SummaryProgress,
    TextDelta,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.runtime.fitting import branch_prompt
from lfm2chat.runtime.generation import answer
from lfm2chat.runtime.places import numbered
from lfm2chat.runtime.primed import Primed
from lfm2chat.runtime.recorder import TurnRecorder
from lfm2chat.runtime.steps import (
    Answer,
    Fit,
    Reading,
    Step,
    Summarised,
    Summarising,
    Waiting,
    Writing,
)
from lfm2chat.runtime.summarising import Branch, Summariser
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import is_temporary

EVENT_S = 1 / 20
NOWHERE = Message(
    id=0,
    conversation_id=0,
    parent_id=None,
    role=Role.ASSISTANT,
    text="",
    status=MessageStatus.WRITING,
    created_at=0.0,
)


class TurnSequence:
    """One turn, step by step. Made, stepped and dropped on the worker's thread.

    ``limit_s`` says before each chunk of the prompt how long it may take, where others wait.
    """

    def __init__(
        self,
        command: RunTurn,
        memory: InMemory,
        *,
        settings: Settings,
        emit: Callable[[Event], None],
        primed: Primed | None = None,
        limit_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._command = command
        self._primed = primed
        self._limit_s = limit_s
        self._loaded = memory.loaded
        self._contexts = memory.contexts
        stored = command.stored
        # Of a temporary turn nothing is ever written, and nothing is read for it.
        self._saved = memory.saved if stored and not is_temporary(stored.conversation.id) else None
        self._places = memory.places
        self._summaries = memory.summaries
        self._numbers: list[int | None] = []
        self._settings = settings
        self._emit = emit
        self._recorder = _recorder(command, emit)
        self._steps: Generator[Step] | None = None
        self._step: Step = Waiting()
        self._ended = False
        self._unsent = ""
        self._sent_at = 0.0

    @property
    def unread(self) -> Decoding | None:
        """The answer whose last token waits for the model; None while the prompt is read, after
        the last token, and once the turn is cancelled.
        """
        step = self._step
        return step.unread if type(step) is Writing and not self._command.cancel.is_set() else None

    @property
    def writes(self) -> bool:
        """Whether the prompt is read and tokens are being drawn."""
        return type(self._step) is Writing

    @property
    def ended(self) -> bool:
        """Whether the turn is finished or has failed."""
        return self._ended

    @property
    def waits(self) -> bool:
        """Whether the last step did nothing, since another turn reads the same beginning."""
        return type(self._step) is Waiting

    def cancel(self) -> None:
        """End with the next token or chunk."""
        self._command.cancel.set()

    def step(self) -> bool:
        """Do one chunk or one token; False once the turn is finished or has failed."""
        try:
            if self._steps is None:
                self._steps = self._start()
            step = self._step = next(self._steps)
        except Lfm2ChatError as error:
            self._fail(str(error), error.hint, error.exit_code)
            return False
        except MemoryError:
            self._fail(
                "the memory is full",
                "start a new conversation or take a smaller model",
                NotEnoughMemoryError.exit_code,
            )
            return False
        self._tell(step)
        if isinstance(step, Answer):
            self._ended = True
            self._steps.close()  # the context goes back now, not when this object goes
            return False
        return True

    def fail(self, error: BaseException) -> None:
        """End the turn because of a fault of ours; the worker has logged it."""
        self._fail(
            f"the engine failed: {type(error).__name__}",
            "the log says more; `lfm2chat doctor` shows where it lies",
            Lfm2ChatError.exit_code,
        )

    def _start(self) -> Generator[Step]:
        stored = self._command.stored
        primed, self._primed = self._primed, None
        messages = self._messages()
        return answer(
            self._loaded,
            self._contexts,
            messages,
            sampling=self._sampling(),
            beginning=stored.beginning if stored is not None else None,
            roll=self._settings.context_policy == "roll",
            fitting=self._fitting(messages),
            cancelled=self._command.cancel.is_set,
            conversation_id=stored.conversation.id if stored is not None else None,
            saved=self._saved,
            limit_s=self._limit_s,
            primed=primed,
        )

    def _messages(self) -> tuple[PromptMessage, ...]:
        stored = self._command.stored
        if stored is None:
            return self._command.messages
        branch = stored.store.branch(stored.conversation.id, tip_id=stored.user.id)
        self._numbers, messages = branch_prompt(branch, stored.conversation.system_prompt)
        return tuple(messages)

    def _fitting(self, messages: Sequence[PromptMessage]) -> Fit | None:
        """What makes a summary where one is needed; None where the settings want none."""
        if self._settings.context_policy != "summarise":
            return None
        stored = self._command.stored
        ids = self._numbers if stored is not None else range(len(messages))
        branch = Branch(
            stored.conversation.id if stored is not None else None,
            tuple(number for number in ids if number is not None),
        )
        return Summariser(
            self._loaded,
            self._contexts,
            self._summaries,
            branch,
            cancelled=self._command.cancel.is_set,
            limit_s=self._limit_s,
        ).fit

    def _sampling(self) -> SamplingParams:
        stored = self._command.stored
        own = self._command.sampling or (stored.conversation.sampling if stored else None)
        chosen = own or self._settings.sampling_over(self._loaded.recommended)
        return chosen.for_sibling(self._command.place)

    def _tell(self, step: Step) -> None:
        match step:
            case Reading(done, total, cached):
                self._emit(PrefillProgress(self._command.turn, done, total, cached))
            case Writing(text):
                self._recorder.write(text)
                self._unsent += text
                if time.monotonic() - self._sent_at >= EVENT_S:
                    self._send(step)
            case Answer():
                self._finish(step)
            case Summarising(messages, share):
                if time.monotonic() - self._sent_at >= EVENT_S:
                    self._emit(SummaryProgress(self._command.turn, messages, share))
                    self._sent_at = time.monotonic()
            case Summarised(messages, text):
                self._emit(SummaryMade(self._command.turn, messages, text))
            case Waiting():
                pass

    def _send(self, step: Writing) -> None:
        if self._unsent:
            self._emit(
                TextDelta(
                    turn=self._command.turn,
                    text=self._unsent,
                    generated_tokens=step.generated_tokens,
                    decode_s=step.decode_s,
                    context_used=step.context_used,
                )
            )
        self._unsent = ""
        self._sent_at = time.monotonic()

    def _finish(self, step: Answer) -> None:
        timing = step.timing
        self._note_places(step)
        rest = Writing("", timing.generated_tokens, timing.decode_s, step.context_used)
        self._send(rest)

        def committed(message: Message) -> None:
            self._emit(
                TurnFinished(
                    turn=self._command.turn,
                    message=message,
                    timing=timing,
                    context_used=step.context_used,
                    left_out=step.left_out,
                    summary=step.summary,
                )
            )

        self._recorder.finish(
            step,
            model=self._loaded.name,
            tokenizer_hash=self._loaded.tokenizer.hash,
            then=committed,
        )

    def _note_places(self, step: Answer) -> None:
        """Where the messages end that were read, and the answer, if its ids are all its text."""
        stored = self._command.stored
        if stored is None or not step.seen_ids:
            return
        system = self._numbers[:1] if stored.conversation.system_prompt else []
        told = [None] if system or step.summary else []
        kept = [*told, *self._numbers[len(system) + step.left_out :]]
        ends = numbered(step.ends, kept)
        if step.token_ids:
            ends.append((stored.assistant.id, len(step.seen_ids)))
        self._places.note(stored.store, stored.conversation.id, step.seen_ids, ends)

    def _fail(self, message: str, hint: str, exit_code: int) -> None:
        self._ended = True
        failed = TurnFailed(self._command.turn, message, hint, exit_code)
        self._recorder.fail(message, then=lambda _: self._emit(failed))


def refuse(command: RunTurn, failed: TurnFailed, *, emit: Callable[[Event], None]) -> None:
    """Fail a turn that never started: in its store, then by the event ``failed``."""
    _recorder(command, emit).fail(failed.message, then=lambda _: emit(failed))


def _recorder(command: RunTurn, emit: Callable[[Event], None]) -> TurnRecorder:
    stored = command.stored
    if stored is None:
        return TurnRecorder(None, NOWHERE, emit=emit)
    return TurnRecorder(stored.store, stored.assistant, emit=emit)
