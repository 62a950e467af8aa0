"""How many tokens a conversation and its draft will take, counted while they are typed.

A thread of its own with a tokenizer of its own: no torch, no waiting for the worker or the screen.
Of several questions of one kind about one conversation the newest is answered, the others get
None. What was encoded for one answer is remembered for the next, so a key costs its own words.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lfm2chat.chat.attachments import Attachment, with_attachments
from lfm2chat.chat.remembering import RememberingTokenizer
from lfm2chat.chat.shares import ContextMap, map_context
from lfm2chat.chat.summaries import Summary
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.turns import Conversation, Message, MessageStatus, PromptMessage, Role
from lfm2chat.chat.window import Window
from lfm2chat.errors import ContextFullError
from lfm2chat.modelfiles import open_folder
from lfm2chat.runtime.fitting import (
    Known,
    Sight,
    SummaryDue,
    branch_prompt,
    context_limit,
    fit_by_policy,
    recommended,
    reserved_tokens,
)
from lfm2chat.runtime.models import resolve_model
from lfm2chat.runtime.summaries import Summaries
from lfm2chat.runtime.text_parts import read_text_parts
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What a turn would take now.

    Attributes:
        prompt_tokens: What it would report as that; where it does not fit, what all of it needs.
        limit: Tokens that prompt and answer may have together.
        reserved: Of them, those kept free for the answer.
        left_out: Earlier messages that the model would not see.
        fits: Whether the turn would be answered.
        summarised: Whether it would see a summary of those.
        summary_due: Whether that is still to be made: ``prompt_tokens`` are what it takes at most.
    """

    prompt_tokens: int
    limit: int
    reserved: int
    left_out: int
    fits: bool
    summarised: bool = False
    summary_due: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A conversation and what stands in its prompt.

    ``store`` holds the conversation ``conversation_id``; None is one that is not begun, which will
    have ``system_prompt``.
    """

    model: str
    store: Store | None
    conversation_id: int | None
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    system_prompt: str = ""
    sampling: SamplingParams | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model would be asked, by its own tokens; ``known`` finds what stands for the
    beginning of it.
    """

    sight: Sight
    sampling: SamplingParams
    branch: tuple[Message, ...]
    messages: tuple[PromptMessage, ...]
    files: tuple[Attachment, ...]
    drafted: bool
    known: Known


class _Superseded(Exception):  # noqa: N818  # no error: never seen outside this module
    """Raised between two blocks once a newer question of the kind has come."""


@dataclass(frozen=True, slots=True)
class _Job:
    draft: Draft
    work: Callable[[Asked], Any]
    future: Future[Any]


def _leave(future: Future[Any]) -> None:
    """Answer None to a question that is not worked on, unless who asked has gone."""
    if future.set_running_or_notify_cancel():
        future.set_result(None)


class PromptCounter:
    """Counts on a thread that starts with the first question. Any thread may ask."""

    def __init__(self, *, models_folder: Path, settings: Settings, summaries: Summaries) -> None:
        self._models_folder = models_folder
        self._settings = settings
        self._summaries = summaries
        self._jobs: dict[tuple[str, int | None], _Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        # The rest belongs to the thread.
        self._sight: tuple[Sight, SamplingParams, RememberingTokenizer] | None = None
        self._sight_of_name = ""
        self._branch: tuple[Conversation, tuple[Message, ...]] | None = None

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from the next question on."""
        self._settings = settings

    def count(self, draft: Draft) -> Future[TokenCount | None]:
        """What the turn would take. Errors of ours come with the future."""
        return self._ask("count", draft, self._count)

    def map(self, draft: Draft) -> Future[ContextMap | None]:
        """What fills the context. Errors of ours come with the future."""
        return self._ask("map", draft, self._map)

    def prompt(self, draft: Draft, then: Callable[[Asked, Window], None]) -> Future[Any]:
        """Call ``then`` on the thread with what the turn would read; not where it does not fit, or
        a summary is due first.
        """

        def tell(asked: Asked) -> None:
            window = self._window(asked)
            if isinstance(window, Window):
                then(asked, window)

        return self._ask("prompt", draft, tell)

    def close(self, timeout_s: float = 1.0) -> None:
        """End the thread; what is not answered by then gets None."""
        with self._changed:
            self._closed = True
            jobs, self._jobs = self._jobs, {}
            self._changed.notify()
        for job in jobs.values():
            _leave(job.future)
        if self._thread is not None:
            self._thread.join(timeout_s)

    # --- the queue ----------------------------------------------------------------------------

    def _ask(self, kind: str, draft: Draft, work: Callable[[Asked], Any]) -> Future[Any]:
        job = _Job(draft, work, Future())
        with self._changed:
            older = self._jobs.pop((kind, draft.conversation_id), None)
            if self._closed:
                older = job
            else:
                self._jobs[kind, draft.conversation_id] = job
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="lfm2chat-count", daemon=True
                    )
                    self._thread.start()
                self._changed.notify()
        if older is not None:
            _leave(older.future)
        return job.future

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                key = next(iter(self._jobs))
                job = self._jobs.pop(key)
            # From here on it cannot be cancelled; before, whoever asked may have gone.
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                result = job.work(self._asked(job.draft, key))
            except _Superseded:
                job.future.set_result(None)
            except BaseException as error:  # noqa: BLE001  # it belongs to who asked
                job.future.set_exception(error)
            else:
                job.future.set_result(result)

    # --- on the thread ------------------------------------------------------------------------

    def _asked(self, draft: Draft, key: tuple[str, int | None]) -> Asked:
        sight, advice, tokenizer = self._sight_of(draft.model)

        def pause() -> None:
            if key in self._jobs or self._closed:
                raise _Superseded

        tokenizer.pause = pause
        tokenizer.turn_page()
        sampling, branch, system = draft.sampling, tuple[Message, ...](), draft.system_prompt
        if draft.conversation_id is not None and draft.store is not None:
            conversation, branch = self._read(draft.store, draft.conversation_id)
            system = conversation.system_prompt
            sampling = sampling or conversation.sampling
        numbers, shown = branch_prompt(branch, system)
        messages = tuple(shown)
        drafted = bool(draft.text or draft.attachments)
        if drafted:
            text = with_attachments(draft.text, draft.attachments)
            messages = (*messages, PromptMessage(Role.USER, text))
        sampling = sampling or self._settings.sampling_over(advice)
        known = self._known(draft.conversation_id, numbers)
        return Asked(sight, sampling, branch, messages, draft.attachments, drafted, known)

    def _known(self, conversation_id: int | None, numbers: Sequence[int | None]) -> Known:
        ids = [number for number in numbers if number is not None]

        def find(messages: Sequence[PromptMessage]) -> Summary | None:
            if conversation_id is None:
                return None
            return self._summaries.find(conversation_id, ids, messages)

        return find

    def _read(self, store: Store, number: int) -> tuple[Conversation, tuple[Message, ...]]:
        # A draft is saved while it is typed: that alone is no reason to read everything again.
        conversation = replace(store.conversation(number), draft="")
        if self._branch is None or self._branch[0] != conversation:
            branch = tuple(store.branch(number))
            if branch and branch[-1].status is MessageStatus.WRITING:
                return conversation, branch  # it will be longer the next time
            self._branch = conversation, branch
        return self._branch

    def _sight_of(self, name: str) -> tuple[Sight, SamplingParams, RememberingTokenizer]:
        if self._sight is None or self._sight_of_name != name:
            self._sight, self._sight_of_name = None, name
            entry = resolve_model(name, self._models_folder)
            opened = open_folder(entry.folder)
            parts = read_text_parts(opened)
            tokenizer = RememberingTokenizer(parts.tokenizer_json, parts.tokenizer_config)
            template = ChatTemplate(parts.template.source, tokenizer)
            limit = context_limit(opened.config(), self._settings)
            self._sight = Sight(entry.name, template, limit), recommended(entry, opened), tokenizer
        return self._sight

    def _window(self, asked: Asked) -> Window | SummaryDue:
        policy = self._settings.context_policy
        return fit_by_policy(
            asked.sight, asked.messages, asked.sampling, policy=policy, known=asked.known
        )

    def _count(self, asked: Asked) -> TokenCount:
        template, limit = asked.sight.template, asked.sight.context_tokens
        reserved = reserved_tokens(limit, asked.sampling)
        if not asked.drafted:
            prompt = template.build(asked.messages, add_generation_prompt=False)
            tokens = len(prompt.ids)
            return TokenCount(tokens, limit, reserved, 0, fits=tokens <= limit - reserved)
        try:
            window = self._window(asked)
        except ContextFullError:
            needed = len(template.build(asked.messages).ids)
            return TokenCount(needed, limit, reserved, 0, fits=False)
        if isinstance(window, SummaryDue):
            told = TokenCount(window.prompt_tokens, limit, reserved, window.covers, fits=True)
            return replace(told, summarised=True, summary_due=True)
        told = TokenCount(len(window.prompt.ids), limit, reserved, window.left_out, fits=True)
        return replace(told, summarised=bool(window.summary))

    def _map(self, asked: Asked) -> ContextMap:
        left_out, summary, due = 0, "", False
        with suppress(ContextFullError):
            match self._window(asked):
                case Window(left_out=left_out, summary=summary):
                    pass
                case SummaryDue(before=before):
                    due = True
                    if before is not None:
                        left_out, summary = before.messages, before.text
        limit = asked.sight.context_tokens
        files = [m.attachments for m in asked.branch if m.text or m.role is not Role.ASSISTANT]
        return map_context(
            asked.messages,
            template=asked.sight.template,
            files=[*files, asked.files],
            left_out=left_out,
            summary=summary,
            summary_due=due,
            drafted=asked.drafted,
            reserved=reserved_tokens(limit, asked.sampling),
            limit=limit,
        )
