"""A title from the model, made while nobody asks it anything.

In: a stored conversation with its first answer. Out: its title in the store, told by
:class:`~lfm2chat.runtime.events.ConversationChanged`; or nothing, where the user gave it one, the
model has none to offer, or a turn came between. Made, stepped and dropped on the worker's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from concurrent.futures import Future

from lfm2chat.chat.titles import clean_title, title_question
from lfm2chat.chat.turns import Conversation, MessageStatus, TitleBy
from lfm2chat.errors import Lfm2ChatError
from lfm2chat.runtime.events import ConversationChanged, Event
from lfm2chat.runtime.generation import answer
from lfm2chat.runtime.loaded import LoadedModel
from lfm2chat.runtime.scheduler import Priority
from lfm2chat.runtime.steps import Answer, Step
from lfm2chat.runtime.warm import WarmContexts
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.store import Store

SAMPLING = SamplingParams(
    temperature=0.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=32, seed=0
)
ENDS = frozenset({FinishReason.STOP})
"""An answer that ended otherwise is cut off in the middle of a title, or none."""

log = logging.getLogger(__name__)


class TitleSequence:
    """Asks the model for the title of one conversation."""

    priority = Priority.TITLE

    def __init__(
        self,
        store: Store,
        conversation_id: int,
        loaded: LoadedModel,
        *,
        emit: Callable[[Event], None],
        urgent: Callable[[], bool],
        done: Callable[[], None],
    ) -> None:
        """``done`` is called once there is nothing more to try; not where it was cancelled."""
        self._store = store
        self._conversation_id = conversation_id
        self._loaded = loaded
        self._emit = emit
        self._urgent = urgent
        self._done = done
        self._cancelled = False
        self._steps: Generator[Step] | None = None

    def step(self) -> bool:
        """Read one chunk or write one token; False at the end."""
        if self._cancelled or self._urgent():
            return False
        self._loaded.take_threads()
        try:
            if self._steps is None:
                self._steps = self._begin()
            step = next(self._steps, None)
        except (Lfm2ChatError, MemoryError) as error:
            log.info("no title was made: %s", error)
            step = None
        if isinstance(step, Answer):
            if step.finish_reason is FinishReason.CANCELLED:
                return False
            self._keep(step)
        if step is None or isinstance(step, Answer):
            self._done()
            return False
        return True

    def cancel(self) -> None:
        """End with the next step."""
        self._cancelled = True

    def fail(self, error: BaseException) -> None:
        """Give up; the worker has logged it."""
        del error
        self._done()

    def _begin(self) -> Generator[Step]:
        conversation = self._store.conversation(self._conversation_id)
        branch = self._store.branch(self._conversation_id)[:2]
        whole = len(branch) == 2 and branch[1].status is MessageStatus.DONE and branch[1].text
        if not whole or conversation.title_by is not TitleBy.TEXT or conversation.trashed_at:
            return
        yield from answer(
            self._loaded,
            WarmContexts(),  # its own: what the user's turns have read stays where it is
            title_question(branch),
            sampling=SAMPLING,
            roll=True,
            cancelled=lambda: self._cancelled or self._urgent(),
        )

    def _keep(self, step: Answer) -> None:
        title = clean_title(step.text) if step.finish_reason in ENDS else None
        if title is None:
            return

        def tell(done: Future[Conversation]) -> None:
            if done.exception() is None:
                self._emit(ConversationChanged(done.result()))

        self._store.update_conversation(
            self._conversation_id, title=title, title_by=TitleBy.MODEL
        ).add_done_callback(tell)
