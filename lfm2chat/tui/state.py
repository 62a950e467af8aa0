"""What the app knows: live turns, queued messages, drafts. Plain data, no Textual.

Generation belongs to the service, and what is known about it belongs here, never to a widget:
a conversation that is left keeps writing, and shows its running text when it is opened again.
Everything runs on the event loop's thread.

A conversation has a *key*: its number in the store, or a negative number until its first turn is
committed. :meth:`ChatState.apply` turns events into facts and moves keys when they settle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lfm2chat.chat.attachments import Attachment
from lfm2chat.chat.turns import Message, MessageStatus
from lfm2chat.runtime.events import (
    DownloadEnded,
    DownloadFinished,
    DownloadProgress,
    Event,
    ModelFailed,
    ModelLoaded,
    ModelLoading,
    ModelPacking,
    ModelResting,
    PrefillProgress,
    SummaryMade,
    SummaryProgress,
    TextDelta,
    TurnAccepted,
    TurnFailed,
    TurnFinished,
    WarmPlaces,
)
from lfm2chat.spec import FinishReason, SamplingParams
from lfm2chat.store import is_temporary
from lfm2chat.tui.draft import Draft
from lfm2chat.tui.keymap import STANDARD, Keymap

# Finished messages are kept to correct what a slower read of the store says about them.
REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Editing:
    """A message that is being said in another way; ``before`` is the draft that it pushed out."""

    message: Message
    before: Draft


@dataclass(slots=True)
class LiveTurn:
    """One turn that has not ended. ``text`` is raw; whoever shows it makes it safe.

    ``prompt`` and ``files`` are what was sent. ``version`` tells a new version of a message from
    one at the end; one that is ``aside`` is written beside the branch that is shown.
    """

    turn: int
    key: int
    prompt: str
    version: bool = False
    aside: bool = False
    files: tuple[Attachment, ...] = ()
    user: Message | None = None
    assistant: Message | None = None
    text: str = ""
    summary: SummaryProgress | None = None
    prefill: PrefillProgress | None = None
    generated_tokens: int = 0
    decode_s: float = 0.0
    context_used: int = 0
    stopping: bool = False

    @property
    def sent(self) -> Draft:
        """What was sent, as it would stand in the prompt."""
        return Draft(self.prompt, self.files)

    def running_message(self) -> Message | None:
        """The assistant's message with the text so far, or None before the commit."""
        return None if self.assistant is None else replace(self.assistant, text=self.text)


@dataclass(slots=True)
class ModelState:
    """The selected model. ``phase`` is ``loading``, ``ready``, ``resting`` or ``failed``."""

    name: str
    phase: str = "loading"
    context_tokens: int = 0
    recommended: SamplingParams | None = None
    loading: str = ""
    packed: float | None = None


@dataclass(slots=True)
class ContextUse:
    """The last known fill of one conversation's context, in tokens; ``summarised`` says that the
    messages that are left out are so as a summary.
    """

    used: int = 0
    cached: int = 0
    read: int = 0
    left_out: int = 0
    summarised: bool = False


@dataclass(slots=True)
class ChatState:
    """All of it. ``panes`` are the keys of the conversations on the screen, one for each pane, and
    ``active`` is the pane that the prompt speaks to, or to all of them while ``together``.
    ``models`` are those chosen for one conversation alone, ``system_prompts`` those of
    conversations that have not begun; ``unwritten`` are the keys of temporary ones among them.
    ``siblings`` are the versions of those shown messages that have several, oldest first; ``warm``
    the messages up to which the model need read nothing again.
    """

    model: ModelState
    panes: list[int] = field(default_factory=lambda: [-1])
    active: int = 0
    together: bool = False
    models: dict[int, str] = field(default_factory=dict)
    system_prompts: dict[int, str] = field(default_factory=dict)
    editing: dict[int, Editing] = field(default_factory=dict)
    siblings: dict[int, dict[int, tuple[int, ...]]] = field(default_factory=dict)
    warm: dict[int, frozenset[int]] = field(default_factory=dict)
    live: dict[int, LiveTurn] = field(default_factory=dict)
    queued: dict[int, list[Draft]] = field(default_factory=dict)
    drafts: dict[int, Draft] = field(default_factory=dict)
    sampling: dict[int, SamplingParams | None] = field(default_factory=dict)
    context: dict[int, ContextUse] = field(default_factory=dict)
    keymap: Keymap = STANDARD
    finished: dict[int, Message] = field(default_factory=dict)
    unwritten: set[int] = field(default_factory=set)
    download: DownloadProgress | None = None
    next_key: int = -2

    @property
    def shown(self) -> int:
        """The key of the conversation in the active pane."""
        return self.panes[self.active]

    @shown.setter
    def shown(self, key: int) -> None:
        self.panes[self.active] = key

    def addressed(self) -> list[int]:
        """The keys of the conversations that a sent message goes to, the active one first."""
        others = [key for key in self.panes if key != self.shown] if self.together else []
        return [self.shown, *others]

    def new_key(self) -> int:
        """A key for a conversation that the store does not have yet."""
        self.next_key -= 1
        return self.next_key + 1

    def is_temporary(self, key: int) -> bool:
        """Whether the conversation with that key lies in memory only."""
        return key in self.unwritten or is_temporary(key)

    def begin(
        self,
        turn: int,
        *,
        key: int,
        prompt: str,
        version: bool = False,
        files: tuple[Attachment, ...] = (),
    ) -> LiveTurn:
        """Remember that ``turn`` was submitted."""
        self.live[turn] = LiveTurn(turn, key, prompt, version, files=files)
        return self.live[turn]

    def turns_of(self, key: int) -> list[LiveTurn]:
        """The live turns of one conversation, oldest first."""
        return [turn for turn in self.live.values() if turn.key == key]

    def running(self, key: int) -> LiveTurn | None:
        """The live turn of one conversation, if there is one."""
        turns = sorted(self.turns_of(key), key=lambda turn: turn.aside)
        return turns[0] if turns else None

    def take_queue(self, key: int) -> list[Draft]:
        """The messages that wait in one conversation; they are taken out of the queue."""
        return self.queued.pop(key, [])

    def apply(self, event: Event) -> LiveTurn | None:
        """Take ``event`` in; returns the turn it is about (also when it just ended)."""
        match event:
            case TurnAccepted():
                return self._accepted(event)
            case SummaryProgress() | SummaryMade():
                return self._summarising(event)
            case PrefillProgress() | TextDelta():
                return self._progress(event)
            case TurnFinished():
                return self._finished(event)
            case TurnFailed():
                return self._failed(event)
            case WarmPlaces():
                self.warm[event.conversation_id] = frozenset(event.message_ids)
            case DownloadProgress():
                self.download = event
            case DownloadFinished() | DownloadEnded():
                self.download = None
            case _:
                self._apply_to_model(event)
        return None

    def _apply_to_model(self, event: Event) -> None:
        match event:
            case (
                ModelLoading(selected=False)
                | ModelLoaded(selected=False)
                | ModelFailed(selected=False)
            ):
                pass  # another than the selected one, for one turn
            case ModelLoading():
                self.model.loading = event.model
                self.model.phase, self.model.packed = "loading", None
            case ModelPacking():
                self.model.packed = event.share
            case ModelLoaded():
                self.model = ModelState(
                    event.model, "ready", event.context_tokens, event.recommended
                )
            case ModelFailed():
                self.model.loading = ""
                self.model.phase = "ready" if self.model.recommended is not None else "failed"
            case ModelResting():
                self.model.phase = "resting"
            case _:
                pass

    def overlay(self, key: int, messages: Sequence[Message]) -> list[Message]:
        """``messages`` as read from the store, corrected by what happened since the read."""
        known = {message.id for message in messages}
        shown = [self._newest(message) for message in messages]
        for turn in self.turns_of(key):
            # What the read knows of a new version is right: it is there with its place.
            shown += [
                message
                for message in (turn.user, turn.running_message())
                if message is not None and message.id not in known and not turn.version
            ]
        return shown

    def _newest(self, message: Message) -> Message:
        if message.status is not MessageStatus.WRITING:
            return message
        for turn in self.live.values():
            if turn.assistant is not None and turn.assistant.id == message.id:
                return replace(message, text=turn.text)
        return self.finished.get(message.id, message)

    def _accepted(self, event: TurnAccepted) -> LiveTurn | None:
        turn = self.live.get(event.turn)
        if turn is None:
            return None
        turn.user, turn.assistant = event.user, event.assistant
        turn.text = event.assistant.text
        turn.aside = event.conversation.tip_id not in (None, event.assistant.id)
        if turn.key != event.conversation.id:
            self._move_key(turn.key, event.conversation.id)
        return turn

    def _move_key(self, old: int, new: int) -> None:
        for turn in self.turns_of(old):
            turn.key = new
        tables: list[dict[int, object]] = [
            self.queued,  # type: ignore[list-item]
            self.drafts,  # type: ignore[list-item]
            self.sampling,  # type: ignore[list-item]
            self.context,  # type: ignore[list-item]
            self.models,  # type: ignore[list-item]
        ]
        for table in tables:
            if old in table:
                table[new] = table.pop(old)
        self.panes = [new if key == old else key for key in self.panes]

    def _summarising(self, event: SummaryProgress | SummaryMade) -> LiveTurn | None:
        turn = self.live.get(event.turn)
        if turn is not None:
            turn.summary = event if isinstance(event, SummaryProgress) else None
        return turn

    def _progress(self, event: PrefillProgress | TextDelta) -> LiveTurn | None:
        turn = self.live.get(event.turn)
        if turn is None:
            return None
        use = self.context.setdefault(turn.key, ContextUse())
        if isinstance(event, PrefillProgress):
            turn.prefill = event
            use.cached, use.read = event.cached, event.total - event.cached
            use.used = event.done
        else:
            turn.text += event.text
            turn.generated_tokens, turn.decode_s = event.generated_tokens, event.decode_s
            turn.context_used = use.used = event.context_used
        return turn

    def _finished(self, event: TurnFinished) -> LiveTurn | None:
        self._remember(event.message)
        turn = self.live.pop(event.turn, None)
        key = event.message.conversation_id if turn is None else turn.key
        timing = event.timing
        self.context[key] = ContextUse(
            event.context_used,
            timing.cached_tokens,
            timing.prefilled_tokens,
            event.left_out,
            bool(event.summary),
        )
        return turn

    def _failed(self, event: TurnFailed) -> LiveTurn | None:
        turn = self.live.pop(event.turn, None)
        if turn is not None and turn.assistant is not None:
            self._remember(
                replace(
                    turn.assistant,
                    text=turn.text,
                    status=MessageStatus.FAILED,
                    finish_reason=FinishReason.ERROR,
                    error=event.message,
                )
            )
        return turn

    def _remember(self, message: Message) -> None:
        self.finished[message.id] = message
        while len(self.finished) > REMEMBERED:
            del self.finished[next(iter(self.finished))]
