"""The steps of one answer: what was done since the last one, as frozen values on one thread.

A prompt is made to fit, with a summary where there is one to make, then read, then tokens are
written; the last step is the whole answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from lfm2chat.chat.turns import PromptMessage
from lfm2chat.chat.window import Window
from lfm2chat.engine import Decoding
from lfm2chat.spec import FinishReason, SamplingParams, Timing


@dataclass(frozen=True, slots=True)
class Reading:
    """``done`` of ``total`` prompt tokens are in the cache, ``cached`` were there before."""

    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing was done: another answer reads the same beginning now, and this one will share it."""


@dataclass(frozen=True, slots=True)
class Summarising:
    """A summary of the first ``messages`` is being made; ``share`` of that (0 to 1) is done."""

    messages: int
    share: float


@dataclass(frozen=True, slots=True)
class Summarised:
    """``text`` stands for the first ``messages`` from now on; "": they are left out instead."""

    messages: int
    text: str


@dataclass(frozen=True, slots=True)
class Writing:
    """One more token was drawn; ``text`` is what it makes visible, often empty.

    ``unread`` is that answer while its token waits to be read by the model: whoever drives several
    answers may read those of all in one pass before the next step. None after the last token.
    """

    text: str
    generated_tokens: int
    decode_s: float
    context_used: int
    unread: Decoding | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer. ``token_ids`` are empty where they say more than ``text`` does.

    Of an answer that goes on after a beginning, text and ids are with that beginning, ``timing``
    counts what is new. ``seen_ids`` are all that the model saw, the answer's own at their end;
    ``ends`` are those of the prompt. ``summary`` stood for the messages that were left out, if
    anything did.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    sampling: SamplingParams
    seed: int
    timing: Timing
    context_used: int
    left_out: int
    seen_ids: tuple[int, ...]
    ends: tuple[tuple[int, int], ...]
    summary: str = ""


Step = Reading | Waiting | Summarising | Summarised | Writing | Answer

Fit = Callable[
    [Sequence[PromptMessage], SamplingParams, Sequence[int]], Generator[Step, None, Window | None]
]
"""Makes messages fit beside the answer that begins with those ids; None: it was cancelled."""
