"""What the worker tells: past facts, frozen, plain data; nothing of torch crosses this border.

Emitted from the worker thread, the store's writer thread or a download's, in order for one turn:
``TurnAccepted``, ``SummaryProgress``... and ``SummaryMade`` where a summary is made,
``PrefillProgress``..., ``TextDelta``..., then one of ``TurnFinished`` or ``TurnFailed``. Text in
events is raw: whoever shows it passes it through :func:`lfm2chat.chat.text.safe`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lfm2chat.chat.turns import Conversation, Message
from lfm2chat.spec import SamplingParams, Timing


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The worker began to load ``model`` (the name people use: ``guide``, ``LFM2-350M``).

    ``selected`` is False where a turn asked for another model than the selected one.
    """

    model: str
    selected: bool = True


@dataclass(frozen=True, slots=True)
class ModelPacking:
    """The weights of ``model`` are being packed, once; ``share`` of them (0 to 1) are done."""

    model: str
    share: float


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """``model`` is ready. ``context_tokens`` is the limit that the app keeps to; ``selected`` as in
    :class:`ModelLoading`.
    """

    model: str
    context_tokens: int
    parameters: int
    dtype: str
    device: str
    load_s: float
    recommended: SamplingParams
    selected: bool = True


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """``model`` could not be loaded; the model before it stays selected if there was one.

    ``exit_code`` is that of the error, for a command that ends because of it; ``selected`` as in
    :class:`ModelLoading`: the turn that asked fails with the same words.
    """

    model: str
    message: str
    hint: str
    exit_code: int = 1
    selected: bool = True


@dataclass(frozen=True, slots=True)
class ModelResting:
    """``model`` left the memory, unused for long or because memory is short; the next turn loads
    it again, with what it had read.
    """

    model: str


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """``done_bytes`` of ``total_bytes`` are here (a total of 0: not known yet).

    ``bytes_per_s`` is that of the last seconds, 0 while it is not known; ``wait_s`` whole seconds
    until the next try; ``note`` what is going on besides, mostly empty.
    """

    name: str
    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    wait_s: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class DownloadFinished:
    """What was asked for as ``name`` is whole, checked, and ready as ``model``."""

    name: str
    model: str


@dataclass(frozen=True, slots=True)
class DownloadEnded:
    """The download of ``name`` stopped before its end; what has arrived is kept.

    ``message`` is empty where the user stopped it.
    """

    name: str
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class TurnAccepted:
    """The user's message is committed to the disk; ``assistant`` is still empty."""

    turn: int
    conversation: Conversation
    user: Message
    assistant: Message


@dataclass(frozen=True, slots=True)
class SummaryProgress:
    """The context is full: before it answers, the model writes a summary of the first ``messages``;
    ``share`` of that (0 to 1) is done.
    """

    turn: int
    messages: int
    share: float


@dataclass(frozen=True, slots=True)
class SummaryMade:
    """From now on ``text`` stands for the first ``messages`` in what the model is shown.

    It is empty where the model wrote none: they are left out instead.
    """

    turn: int
    messages: int
    text: str


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """``done`` of ``total`` prompt tokens are in the cache; ``cached`` were there before."""

    turn: int
    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New answer text, joined to at most 20 events a second.

    ``context_used`` counts all tokens that the model sees now; ``decode_s`` is measured from
    the first answer token, so the rate is ``(generated_tokens - 1) / decode_s``.
    """

    turn: int
    text: str
    generated_tokens: int
    decode_s: float
    context_used: int


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The answer is complete and committed: ``message`` is the stored state, ``timing`` and
    ``finish_reason`` in it are set. ``left_out`` earlier messages did not fit the context;
    ``summary`` is what the model was shown in their place, if anything.
    """

    turn: int
    message: Message
    timing: Timing
    context_used: int
    left_out: int = 0
    summary: str = ""


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The turn ended with an error. What was written so far is kept with the message.

    ``exit_code`` is that of the error, for a command that ends because of it.
    """

    turn: int
    message: str
    hint: str
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class OtherToken:
    """A token that could have stood there: its text alone, and its probability (0 to 1)."""

    text: str
    id: int
    probability: float


@dataclass(frozen=True, slots=True)
class LensToken:
    """One token of an answer under the lens.

    Attributes:
        text: What of the answer it completes: empty for the first parts of a character.
        id: The token.
        probability: What the model gave it, before penalties, temperature and filters; 0 to 1.
        entropy: How undecided the model was before it, in nats.
        alternatives: The likeliest tokens there, the best first; it may be among them.
    """

    text: str
    id: int
    probability: float
    entropy: float
    alternatives: tuple[OtherToken, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer ``message_id`` under the lens of ``model``; the texts joined are the answer's."""

    request: int
    message_id: int
    model: str
    tokens: tuple[LensToken, ...]


@dataclass(frozen=True, slots=True)
class ScoreEnded:
    """The lens shows nothing of ``message_id``; ``message`` is empty where it was cancelled."""

    request: int
    message_id: int
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ConversationChanged:
    """Something about a conversation changed on disk: its title, tags, sampling or place, or
    which branch is shown (``tip_id``). A fork is told of as a conversation not seen before.
    """

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class WarmPlaces:
    """The messages of a conversation up to whose end the model need not read anything again.

    Told after each turn and when it is asked for; of the branches that were read or asked for
    last. All others are cold, or not known.
    """

    conversation_id: int
    message_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """Something could not be written. The text stays in memory and is tried again."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class StoreNotice:
    """What was found when the store was opened: damage that was mended, a disk that is far away."""

    message: str
    hint: str


Event = (
    ModelLoading
    | ModelPacking
    | ModelLoaded
    | ModelFailed
    | ModelResting
    | DownloadProgress
    | DownloadFinished
    | DownloadEnded
    | TurnAccepted
    | SummaryProgress
    | SummaryMade
    | PrefillProgress
    | TextDelta
    | TurnFinished
    | TurnFailed
    | Scored
    | ScoreEnded
    | ConversationChanged
    | WarmPlaces
    | SaveFailed
    | StoreNotice
)
