"""What ends an answer: tokens, and texts that a stream never shows the beginning of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lfm2chat.chat.tokenizer import Tokenizer

_END_TOKENS: Final = ("<|im_end|>", "<|endoftext|>")


def end_token_ids(tokenizer: Tokenizer, declared: Iterable[int]) -> frozenset[int]:
    """The ids that end an answer: those that the folder ``declared``, and LFM2's own two.

    LFM2's files declare ``<|im_end|>`` alone; a base model ends a text with ``<|endoftext|>``,
    and no answer goes on after either. They are found by name: their ids are 7 and 2 in most
    models, not in those with the vocabulary of 128,000.
    """
    own = (tokenizer.id_of(token) for token in _END_TOKENS)
    known = (token_id for token_id in own if token_id in tokenizer.special_ids)
    return frozenset(declared) | frozenset(token_id for token_id in known if token_id is not None)


class StopMatcher:
    """Cuts a streamed text before the first stop text in it.

    The stop that is complete first wins; of two that end at the same character, the longer.
    How the text is cut into pieces changes nothing. Text that may be the beginning of a stop is
    held back until it is decided. Not shared between threads.
    """

    def __init__(self, stop_texts: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stop_texts if stop)
        self._held = ""
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether a stop text was found; from then on nothing is shown."""
        return self._stopped

    def push(self, text: str) -> tuple[str, bool]:
        """What of the text so far has become certain to be shown, and whether a stop was found."""
        if self._stopped:
            return "", True
        text = self._held + text
        starts = [
            (start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0
        ]
        if starts:
            self._stopped, self._held = True, ""
            return text[: min(starts)[1]], True
        keep = len(text) - self._undecided(text)
        self._held = text[keep:]
        return text[:keep], False

    def flush(self) -> str:
        """What was held back; call it once, when no more text comes. Empty after a stop."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, text: str) -> int:
        """The length of the longest end of ``text`` that begins a stop text."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
