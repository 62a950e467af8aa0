"""What both front ends call: it knows the store and the worker, and nothing of screens.

Every method returns at once unless its docstring says that it reads the disk. What happens is told
by events, given to ``emit`` from the worker's or the store's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from lfm2chat.chat.attachments import Attachment, attached
from lfm2chat.chat.text import one_line
from lfm2chat.chat.turns import Conversation, PromptMessage
from lfm2chat.errors import Lfm2ChatError, UsageError
from lfm2chat.paths import Paths
from lfm2chat.runtime.asking import BesideTurns
from lfm2chat.runtime.branches import Branches
from lfm2chat.runtime.cabinet import Cabinet
from lfm2chat.runtime.commands import (
    Close,
    Command,
    ForgetConversation,
    LoadModel,
    StoredTurn,
    TellWarm,
)
from lfm2chat.runtime.conversations import Conversations
from lfm2chat.runtime.downloads import Downloads
from lfm2chat.runtime.events import (
    Event,
    ModelFailed,
    ModelLoaded,
    SaveFailed,
    Scored,
    ScoreEnded,
    StoreNotice,
    TurnFailed,
    TurnFinished,
)
from lfm2chat.runtime.models import GUIDE, ModelEntry, available_models
from lfm2chat.runtime.saved_files import SavedFiles
from lfm2chat.runtime.shelf import TITLE_LENGTH, Shelf
from lfm2chat.runtime.summaries import Summaries, summary_files
from lfm2chat.runtime.turns import LiveTurns
from lfm2chat.runtime.worker import ModelWorker
from lfm2chat.settings import Settings
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store

log = logging.getLogger(__name__)


class ChatService(Conversations, BesideTurns):
    """Conversations and models for a front end. Made, started and closed on one thread; any
    thread may call the rest.

    ``store`` of None serves temporary turns and conversations only: nothing is ever written.
    ``downloads`` brings models, when it is told to; ``shelf`` holds presets and saved prompts;
    ``branches`` knows a conversation as a tree; ``cabinet`` finds conversations and puts them away.

    A temporary conversation is one like any other, but lies in memory: its number says so
    (:func:`~lfm2chat.store.is_temporary`), no list names it, and closing the service forgets it.
    """

    def __init__(
        self,
        *,
        paths: Paths,
        settings: Settings,
        store: Store | None,
        emit: Callable[[Event], None],
    ) -> None:
        Conversations.__init__(self, store, self._emit)
        self._summaries = Summaries(
            summary_files(paths.summaries, self._is_kept) if store is not None else None
        )
        BesideTurns.__init__(
            self, models_folder=paths.models, settings=settings, summaries=self._summaries
        )
        self._paths = paths
        self._emit_outside = emit
        self._model_name = self._first_model()
        self._loaded: ModelLoaded | None = None
        budget_bytes = settings.saved_context_mb << 20
        self._saved_files = (
            SavedFiles(paths.contexts, budget_bytes, wanted=self._is_kept)
            if store is not None
            else None
        )
        self.downloads = Downloads(paths, settings, emit)
        self.shelf = Shelf(self._need_store)
        self.cabinet = Cabinet(self._store_of, told=self._told, forget=self._forget_context)
        self._worker = ModelWorker(
            models_folder=paths.models,
            packed_folder=paths.packed,
            kernel_trials=paths.kernels,
            settings=settings,
            saved_files=self._saved_files,
            summaries=self._summaries,
            emit=self._emit,
        )
        self._turns = LiveTurns(self._worker.put, self._emit)
        self.branches = Branches(
            self._store_of, self._turns, model=lambda: self._model_name, told=self._told
        )

    # --- life -------------------------------------------------------------------------------

    def start(self, model: str = "") -> None:
        """Start the worker and let it load ``model``, or the one that was used last.

        A store that can only be read is told of by :class:`SaveFailed`, one that was damaged by
        :class:`StoreNotice`; one that can be written is copied where that is due.
        """
        self._worker.start()
        if self._store is not None:
            if (notice := self._store.notice) is not None:
                self._emit(StoreNotice(notice.message, notice.hint))
            why = self._store.why_read_only
            if why is not None:
                self._emit(SaveFailed(str(why), why.hint))
            else:
                copied = self._store.copy_when_due(when_quiet=True)
                copied.add_done_callback(_log_failed_copy)
        self.select_model(model or self._model_name)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Stop every answer, save it, end the threads. False if the worker did not end in time.

        Blocks for at most ``timeout_s`` and the store's last writes.
        """
        self._turns.cancel_all()
        self._worker.put(Close())
        self.downloads.close()
        self.stop_counting()
        ended = self._worker.join(timeout_s)
        for store in (self._store, self._temporary):
            if store is not None:
                store.close()
        return ended

    def take_settings(self, settings: Settings) -> None:
        """Go by ``settings`` from now on: the next turn, the next download, the next model that is
        loaded. What is loaded stays as it is.
        """
        self._settings = settings
        self._counter.take_settings(settings)
        self.downloads.take_settings(settings)
        self._worker.take_settings(settings)

    # --- turns ------------------------------------------------------------------------------

    def submit(
        self,
        text: str,
        *,
        conversation_id: int | None = None,
        sampling: SamplingParams | None = None,
        keep_sampling: bool = False,
        system_prompt: str | None = None,
        attachments: Sequence[Attachment] = (),
        temporary: bool = False,
        model: str = "",
    ) -> int:
        """Say ``text`` in a conversation, a new one for None; gives the number of the turn.

        ``sampling`` holds for this turn; None means what the conversation keeps, else the
        model's recommendation. ``keep_sampling`` keeps it with a new conversation. The model
        reads ``attachments`` before the text, which may be empty then. A new conversation that is
        ``temporary`` is never written to a disk. ``model`` answers, "" is the selected one; it is
        loaded where it must be, and stays beside the selected one while there is room.

        The message is committed first (:class:`TurnAccepted`), then answered. Where it cannot
        be committed :class:`TurnFailed` comes without :class:`TurnAccepted`. For a new
        conversation ``system_prompt`` of None means the one in the settings.

        Raises:
            UsageError: The message is empty, has too many files, or that conversation is still
                being answered.
            StoreError: This service has no store.
        """
        files = attached(attachments)
        if not text.strip() and not files:
            raise UsageError("the message is empty", hint="write something first")
        new = conversation_id is None
        store = self._temporary_store() if new and temporary else self._store_of(conversation_id)
        (command,) = self._turns.begin(conversation_id, sampling, model=model)
        named = model or self._model_name
        if conversation_id is None:
            prompt = self._settings.system_prompt if system_prompt is None else system_prompt
            future = store.begin_conversation(
                text,
                title=one_line(text if text.strip() else files[0].label, TITLE_LENGTH),
                model=named,
                system_prompt=prompt,
                sampling=sampling if keep_sampling else None,
                attachments=files,
            )
        else:
            future = store.begin_turn(conversation_id, text, model=named, attachments=files)
        future.add_done_callback(
            self._turns.committed([command], lambda begun: [StoredTurn(store, *begun)])
        )
        return command.turn

    def submit_temporary(
        self,
        messages: Sequence[PromptMessage],
        *,
        sampling: SamplingParams | None = None,
        model: str = "",
    ) -> int:
        """Answer the last of ``messages`` and write nothing; gives the number of the turn."""
        (command,) = self._turns.begin(None, sampling, model=model)
        self._worker.put(replace(command, messages=tuple(messages)))
        return command.turn

    def cancel(self, turn: int) -> None:
        """End a turn with its next token; what is written stays. Nothing if it is over."""
        self._turns.cancel(turn)

    def turn_of(self, conversation_id: int) -> int | None:
        """The turn that is answering a conversation now, the first of several, or None."""
        return next(iter(self.turns_of(conversation_id)), None)

    def turns_of(self, conversation_id: int) -> tuple[int, ...]:
        """The turns that are answering a conversation now: several after a regeneration."""
        return self._turns.of(conversation_id)

    def tell_warm(self, conversation_id: int) -> None:
        """Let :class:`WarmPlaces` say what of a conversation need not be read again.

        It comes once no turn is running; after each turn it comes by itself.
        """
        self._worker.put(TellWarm(self._store_of(conversation_id), conversation_id))

    # --- models -----------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        """The selected model, loaded or about to be."""
        return self._model_name

    @property
    def loaded(self) -> ModelLoaded | None:
        """The model in memory as its event told it, or None."""
        return self._loaded

    def select_model(self, name: str) -> None:
        """Let the worker load ``name`` after the turns that were submitted before."""
        self._model_name = name or GUIDE
        self._worker.put(LoadModel(self._model_name))

    def models(self) -> list[ModelEntry]:
        """The guide, then every model on disk. Reads folders: not for the event loop."""
        return available_models(self._paths.models)

    def sampling_in_effect(self, conversation: Conversation | None) -> SamplingParams:
        """What the next turn will be sampled with: the conversation's own parameters, else the
        model's recommendation with the settings laid over it.
        """
        if conversation is not None and conversation.sampling is not None:
            return conversation.sampling
        return self._settings.sampling_over(self.recommended_sampling())

    def recommended_sampling(self) -> SamplingParams:
        """What the model in memory is best sampled with (LFM2's advice until one is loaded)."""
        return self._loaded.recommended if self._loaded is not None else SamplingParams()

    def delete(self, conversation_id: int) -> Future[Conversation]:
        """Move a conversation to the trash; the turns in it are stopped first.

        What the model kept of it on disk is gone when :class:`ConversationChanged` tells of it,
        what it keeps in memory as soon as no turn is running.
        """
        for turn in self.turns_of(conversation_id):
            self.cancel(turn)
        future = self._store_of(conversation_id).trash_conversation(conversation_id)
        future.add_done_callback(lambda done: self._forget(conversation_id, done))
        return self._told(future)

    # --- inside -----------------------------------------------------------------------------

    def _first_model(self) -> str:
        if self._settings.model or self._store is None:
            return self._settings.model or GUIDE
        last = self._store.last_conversation()
        return (last.model if last is not None else "") or GUIDE

    def _put(self, command: Command) -> None:
        self._worker.put(command)

    def _forget(self, conversation_id: int, done: Future[Conversation]) -> None:
        """On the store's writer thread: the worker may be busy with another conversation."""
        if done.exception() is None:
            self._forget_context(conversation_id)

    def _forget_context(self, conversation_id: int) -> None:
        """Let go of what the model made of a conversation, on disk now and in memory soon."""
        if self._saved_files is not None:
            self._saved_files.forget(conversation_id)
        self._summaries.forget(conversation_id)
        self._worker.put(ForgetConversation(conversation_id))

    def _is_kept(self, conversation_id: int) -> bool:
        """Whether a conversation is there and outside the trash. Reads the disk."""
        try:
            return self._need_store().conversation(conversation_id).trashed_at is None
        except Lfm2ChatError:
            return False

    def _emit(self, event: Event) -> None:
        match event:
            case TurnFinished(turn=turn) | TurnFailed(turn=turn):
                self._turns.ended(turn)
            case Scored() | ScoreEnded():
                self._request_ended(event.request)
            case ModelLoaded(selected=True):
                self._loaded = event
                self._model_name = event.model
            case ModelFailed(selected=True) if self._loaded is not None:
                self._model_name = self._loaded.model
            case _:
                pass
        self._emit_outside(event)


def _log_failed_copy(done: Future[Any]) -> None:
    """Nobody waits for a copy: the chat goes on without, and the next start tries again."""
    error = None if done.cancelled() else done.exception()
    if error is not None:
        log.warning("the store was not copied: %s", error)
