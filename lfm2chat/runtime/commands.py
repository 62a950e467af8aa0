"""What the worker is told: orders, frozen, plain data, put on its queue by the service."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from lfm2chat.chat.turns import Conversation, Message, PromptMessage
from lfm2chat.spec import SamplingParams
from lfm2chat.store import Store


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Select the model of that name, and load it once the turns before are done.

    Others stay in memory while there is room; else the one that was used least recently goes.
    """

    model: str


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn whose user message is in ``store``: the branch up to ``user`` is what gets answered,
    and ``assistant`` is the message that takes the answer. It is empty, or holds the text of
    ``beginning``, after which the answer goes on.
    """

    store: Store
    conversation: Conversation
    user: Message
    assistant: Message
    beginning: PromptMessage | None = None


@dataclass(frozen=True, slots=True)
class RunTurn:
    """Answer ``stored``, or the last of ``messages`` where nothing may be written.

    ``cancel`` is looked at after every token and every prefill chunk. ``sampling`` of None
    means the model's recommendation with the user's settings laid over it. ``model`` is the name
    of the one that answers, "" the selected one; it is loaded for this where it must be.
    ``place`` counts from 0 the turns that were asked for at once: each has a seed of its own.
    """

    turn: int
    stored: StoredTurn | None = None
    messages: tuple[PromptMessage, ...] = ()
    sampling: SamplingParams | None = None
    model: str = ""
    place: int = 0
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Score:
    """Tell how sure the model was of each token of an answer in ``store``.

    It waits for every turn; ``cancel`` is looked at after every chunk.
    """

    request: int
    store: Store
    conversation_id: int
    message_id: int
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Prime:
    """Read ahead, in place of what was read ahead before: ``prompt_ids`` are what the next prompt
    is likely to be, by ``model`` and the tokenizer of that hash. A turn of that model ends it.

    ``stored`` says that the conversation is, so that its context may come from the disk.
    """

    model: str
    tokenizer_hash: str
    prompt_ids: tuple[int, ...]
    stored: bool = False


@dataclass(frozen=True, slots=True)
class ForgetConversation:
    """Drop from memory what belongs to a deleted conversation."""

    conversation_id: int


@dataclass(frozen=True, slots=True)
class TellWarm:
    """Tell which messages of a conversation in ``store`` are warm in the selected model,
    once no turn is running.
    """

    store: Store
    conversation_id: int


@dataclass(frozen=True, slots=True)
class Close:
    """End the thread. Live turns are cancelled, saved and reported first."""


BesideTurns = Score | Prime
"""What no turn waits for."""

Command = LoadModel | RunTurn | BesideTurns | ForgetConversation | TellWarm | Close
