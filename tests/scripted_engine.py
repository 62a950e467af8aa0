"""An engine that says what a test wants, in place of the model's own tokens.

The turn, the store, the events and the threads around it are the real ones; the model that is
loaded is not asked anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from lfm2chat.chat.turns import PromptMessage
from lfm2chat.runtime.generation import Answer, Reading, Step, Writing
from lfm2chat.spec import FinishReason, SamplingParams, Timing

PROMPT_TOKENS = 10
RATE = 200.0
"""Tokens a second, as they are reported; they come as fast as they are taken."""

Say = Callable[[Sequence[PromptMessage]], Iterable[str]]


def engine(say: Say) -> Callable[..., Generator[Step]]:
    """What stands in for ``lfm2chat.runtime.session.answer``: ``say`` gives the tokens' texts."""

    def answer(
        _loaded: Any,
        _contexts: Any,
        messages: Sequence[PromptMessage],
        *,
        sampling: SamplingParams,
        cancelled: Callable[[], bool] = lambda: False,
        **_: Any,
    ) -> Generator[Step]:
        yield Reading(0, PROMPT_TOKENS, 0)
        pieces: list[str] = []
        finish = FinishReason.STOP
        for piece in say(messages):
            pieces.append(piece)
            count = len(pieces)
            yield Writing(piece, count, count / RATE, PROMPT_TOKENS + count)
            if cancelled():
                finish = FinishReason.CANCELLED
                break
        count = len(pieces)
        yield Answer(
            text="".join(pieces),
            token_ids=(),
            finish_reason=finish,
            sampling=sampling,
            seed=0,
            timing=Timing(PROMPT_TOKENS, 0, count, 0.01, count / RATE, 0.01),
            context_used=PROMPT_TOKENS + count,
            left_out=0,
            seen_ids=(),
            ends=(),
        )

    return answer
