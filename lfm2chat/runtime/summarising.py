"""A summary from the model, made where a turn's messages do not fit any more.

In: the messages of a turn. Out: those that fit, the oldest of them as a summary; made as small
steps before the answer's own. What leaves is asked for as the conversation itself goes on, on a
copy of the context that holds it, so mostly only the question is read. Where it is longer than the
model can see it is read part by part, each with the summary of those before it. Made, stepped and
dropped on the worker's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from lfm2chat.chat.summaries import (
    SPARE_TOKENS,
    Summary,
    clean_summary,
    digest,
    in_parts,
    split_system,
    summary_question,
)
from lfm2chat.chat.turns import PromptMessage
from lfm2chat.chat.window import Window
from lfm2chat.errors import ContextFullError, Lfm2ChatError
from lfm2chat.runtime.fitting import (
    SummaryDue,
    fit_summarised,
    fit_window,
    reserved_tokens,
    with_known,
)
from lfm2chat.runtime.generation import answer
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.steps import Answer, Reading, Step, Summarised, Summarising, Waiting, Writing
from lfm2chat.runtime.summaries import Summaries
from lfm2chat.runtime.warm import WarmContexts
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.spec.free_memory import available_memory_bytes

MIN_PART_TOKENS = 16
"""A model that sees less than this beside the question has nothing to summarise."""

_WORDS_PER_TOKEN = 0.6

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Branch:
    """The messages of a turn after the system's, by their numbers; ``conversation_id`` of None:
    nothing of them is kept.
    """

    conversation_id: int | None
    ids: tuple[int, ...]


class Summariser:
    """Makes the messages of one turn fit; :meth:`fit` is what the answer is given for that."""

    def __init__(
        self,
        loaded: LoadedModel,
        contexts: WarmContexts,
        summaries: Summaries,
        branch: Branch,
        *,
        cancelled: Callable[[], bool],
        limit_s: Callable[[], float | None],
    ) -> None:
        self._loaded = loaded
        self._contexts = contexts
        self._summaries = summaries
        self._branch = branch
        self._cancelled = cancelled
        self._limit_s = limit_s

    def fit(
        self, messages: Sequence[PromptMessage], sampling: SamplingParams, begun: Sequence[int]
    ) -> Generator[Step, None, Window | None]:
        """The messages that fit beside the answer, a new summary made where one is due.

        None where the turn was cancelled before there was one. Where the model writes none the
        oldest messages are left out.

        Raises:
            ContextFullError: The last message alone does not fit.
        """
        found = self._look(messages, sampling, begun)
        while isinstance(found, SummaryDue) and self._is_being_made and not self._cancelled():
            # Another version of the answer needs the very same.
            yield Waiting()
            if not self._is_being_made:
                found = self._look(messages, sampling, begun)
        if isinstance(found, Window):
            return found
        if self._cancelled():
            return None
        window = yield from self._make(found, sampling, begun)
        if window is None and not self._cancelled():
            window = fit_window(self._loaded.sight, messages, sampling, roll=True, begun=begun)
            yield Summarised(window.left_out, "")
        return window

    def _look(
        self, messages: Sequence[PromptMessage], sampling: SamplingParams, begun: Sequence[int]
    ) -> Window | SummaryDue:
        return fit_summarised(
            self._loaded.sight, messages, sampling, known=self._known, begun=begun
        )

    def _known(self, messages: Sequence[PromptMessage]) -> Summary | None:
        if self._branch.conversation_id is None:
            return None
        return self._summaries.find(self._branch.conversation_id, self._branch.ids, messages)

    @property
    def _is_being_made(self) -> bool:
        return self._branch.conversation_id in self._summaries.making

    def _make(
        self, due: SummaryDue, sampling: SamplingParams, begun: Sequence[int]
    ) -> Generator[Step, None, Window | None]:
        """The window with a new summary, which is kept; None where there is none."""
        number = self._branch.conversation_id
        making = self._summaries.making
        if number is not None:
            making.add(number)
        try:
            text = yield from self._written(due)
            if not text or self._cancelled():
                return None
            limit = self._loaded.context_tokens - len(begun)
            free = limit - reserved_tokens(limit, sampling)
            window = with_known(
                self._loaded.sight, due.messages, text, due.covers, free=free, begun=begun
            )
            if window is not None and number is not None:
                self._summaries.keep(number, self._summary(due, text))
        except (Lfm2ChatError, MemoryError) as error:
            log.info("no summary was made: %s", error)
            return None
        finally:
            making.discard(number or 0)
        if window is not None:
            yield Summarised(due.covers, text)
        return window

    def _summary(self, due: SummaryDue, text: str) -> Summary:
        ids = self._branch.ids[: due.covers]
        covered = split_system(due.messages)[1][: due.covers]
        before = due.before.seal if due.before is not None else ""
        return Summary(text, due.covers, ids[-1], digest(ids, covered, before), before)

    def _written(self, due: SummaryDue) -> Generator[Step, None, str]:
        """The summary of what leaves; "" where the model writes none, or the turn was cancelled.

        Raises:
            Lfm2ChatError: It cannot be asked.
        """
        system, rest = split_system(due.messages)
        text = due.before.text if due.before is not None else ""
        known = due.before.messages if due.before is not None else 0
        parts = in_parts(rest[known : due.covers], self._loaded.template, self._part_tokens(due))
        for number, part in enumerate(parts):
            question = summary_question(
                system, text, part, words=int(due.most_tokens * _WORDS_PER_TOKEN)
            )
            for step in self._ask(question, due.most_tokens):
                if isinstance(step, Answer):
                    text = self._clean(step, due.most_tokens)
                else:
                    share = (number + _share(step, due.most_tokens)) / len(parts)
                    yield Summarising(due.covers, share)
            if not text or self._cancelled():
                return ""
        return text

    def _part_tokens(self, due: SummaryDue) -> int:
        """How much of what leaves the model can see at once, beside all else.

        Raises:
            ContextFullError: Next to nothing.
        """
        system, _ = split_system(due.messages)
        earlier = "\N{HORIZONTAL ELLIPSIS}"
        question = summary_question(system, earlier, (), words=due.most_tokens)
        around = len(self._loaded.template.build(question).ids)
        # The summary before it, and the one that is written.
        room = self._loaded.context_tokens - around - 2 * due.most_tokens - SPARE_TOKENS
        if room < MIN_PART_TOKENS:
            raise ContextFullError(
                "no room to ask for a summary", hint="choose a model with a longer context"
            )
        return room

    def _ask(self, question: tuple[PromptMessage, ...], most_tokens: int) -> Generator[Step]:
        return answer(
            self._loaded,
            self._copied(self._loaded.template.build(question).ids),
            question,
            sampling=SamplingParams(
                temperature=0.0,
                min_p=0.0,
                repetition_penalty=1.0,
                max_new_tokens=most_tokens,
                seed=0,
            ),
            cancelled=self._cancelled,
            limit_s=self._limit_s,
        )

    def _copied(self, prompt_ids: Sequence[int]) -> WarmContexts:
        """Contexts with a copy of the one that holds most of a prompt, where there is memory for
        that: what the user's turns have read stays where it is.
        """
        own = WarmContexts()
        free = available_memory_bytes()
        held = self._contexts.nbytes
        twin = None if free is not None and free < 2 * held else self._contexts.twin(prompt_ids)
        if twin is not None:
            own.give(twin)
        return own

    def _clean(self, step: Answer, most_tokens: int) -> str:
        whole = step.finish_reason is FinishReason.STOP
        return clean_summary(
            step.text, self._loaded.tokenizer, whole=whole, most_tokens=most_tokens
        )


def _share(step: Step, most_tokens: int) -> float:
    """How much of one question is done: half of it is reading, half writing."""
    match step:
        case Reading(done, total, cached):
            return 0.5 * (done - cached) / max(1, total - cached)
        case Writing(generated_tokens=count):
            return 0.5 + 0.5 * min(1.0, count / most_tokens)
        case _:
            return 0.0
