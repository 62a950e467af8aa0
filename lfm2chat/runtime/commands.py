"""What the worker is told: orders, frozen, plain data, put on its queue by the service."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from lfm2chat.chat.turns import Conversation, Message, PromptMessage
from lfm2chat.spec import SamplingParams

CommittedTurn = tuple[Conversation, Message, Message]
"""A conversation with its new user message and the empty assistant message, all on disk."""


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load the model of that name and drop the one in use once it is ready."""

    model: str


@dataclass(frozen=True, slots=True)
class RunTurn:
    """Answer the last of ``messages``.

    ``committed`` resolves when the store has the user's message; generation starts after it.
    None means a temporary conversation: nothing is written. ``cancel`` is looked at after every
    token and every prefill chunk. ``sampling`` of None means the model's recommendation with
    the user's settings laid over it.
    """

    turn: int
    messages: tuple[PromptMessage, ...]
    sampling: SamplingParams | None
    committed: Future[CommittedTurn] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Close:
    """End the thread: live turns are cancelled, saved and reported first."""


Command = LoadModel | RunTurn | Close
