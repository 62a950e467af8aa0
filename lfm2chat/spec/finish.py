"""Why an answer ended."""

from __future__ import annotations

from enum import StrEnum


class FinishReason(StrEnum):
    """Why an answer ended. The values are stored and printed; they never change.

    ``STOP``: the model wrote its end token, or a stop text appeared.
    ``LENGTH``: ``max_new_tokens`` was reached. ``CONTEXT``: the model's context is full.
    ``CANCELLED``: the user stopped it. ``CONTROL``: the model wrote a control token that is
    no end token. ``REPETITION``: the model went round in a circle.
    ``INTERRUPTED``: the process ended while the answer was written.
    ``ERROR``: something failed; the message carries the sentence. ``EDITED``: the user wrote it,
    in place of an answer.
    """

    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"
    CANCELLED = "cancelled"
    CONTROL = "control"
    REPETITION = "repetition"
    INTERRUPTED = "interrupted"
    ERROR = "error"
    EDITED = "edited"
