"""The token ids of a prompt, and how they are collected from its pieces."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lfm2chat.chat.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids for the model.

    ``ends`` are pairs: a message's place among those that were rendered, and how many ids there
    are when its text is over. It is empty where the template does not keep messages apart.
    """

    ids: tuple[int, ...]
    ends: tuple[tuple[int, int], ...] = ()

    def begun(self, ids: Sequence[int]) -> Prompt:
        """The prompt with the beginning of the answer behind it."""
        return Prompt((*self.ids, *ids), self.ends)


@dataclass(frozen=True, slots=True)
class PromptToken:
    """One token of a prompt: of message number ``message``, or the template's own (None).

    ``start`` is where in the message's text it begins; 0 where the model's own ids were taken.
    A token across a border belongs to where it begins.
    """

    id: int
    message: int | None = None
    start: int = 0


class PromptWriter:
    """Collects ids; text waits, so that what stands between two tokens is encoded as one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._ends: list[tuple[int, int]] = []
        self._ended: list[int] = []
        self._waiting: list[tuple[str, int | None]] = []

    def add_text(self, text: str, message: int | None = None) -> None:
        """Text of message number ``message``; None: the template's own."""
        self._waiting.append((text, message))

    def add_control(self, token_id: int) -> None:
        """A token that the template wrote."""
        self.add_ids((token_id,))

    def add_ids(self, ids: Sequence[int], message: int | None = None) -> None:
        """Ids that are taken as they are."""
        self._encode_waiting()
        self._take(ids, message)

    def end_message(self, place: int) -> None:
        """Message number ``place`` ends here."""
        self._ended.append(place)

    def prompt(self) -> Prompt:
        """All that was added."""
        self._encode_waiting()
        return Prompt(tuple(self._ids), tuple(self._ends))

    def _encode_waiting(self) -> None:
        waiting = [(text, message) for text, message in self._waiting if text]
        self._waiting.clear()
        if waiting:
            self._encode(waiting)
        self._ends.extend((place, len(self._ids)) for place in self._ended)
        self._ended.clear()

    def _take(self, ids: Sequence[int], message: int | None) -> None:
        del message
        self._ids.extend(ids)

    def _encode(self, waiting: Sequence[tuple[str, int | None]]) -> None:
        self._ids.extend(self._tokenizer.encode_plain("".join(text for text, _ in waiting)))


class TracingWriter(PromptWriter):
    """Notes where each id comes from. Its text is encoded as the tokens are walked: all of them at
    once, for a large text, keep the garbage collector busy in which no other thread runs.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._parts: list[Iterator[PromptToken]] = []

    def tokens(self) -> Iterator[PromptToken]:
        """All that was added, once.

        Raises:
            TokenizerError: A text cannot be encoded.
        """
        self._encode_waiting()
        return itertools.chain.from_iterable(self._parts)

    def _take(self, ids: Sequence[int], message: int | None) -> None:
        self._parts.append(PromptToken(token_id, message) for token_id in ids)

    def _encode(self, waiting: Sequence[tuple[str, int | None]]) -> None:
        self._parts.append(self._traced(waiting))

    def _traced(self, waiting: Sequence[tuple[str, int | None]]) -> Iterator[PromptToken]:
        ends = list(itertools.accumulate(len(text) for text, _ in waiting))
        for token_id, at in self._tokenizer.plain_offsets("".join(text for text, _ in waiting)):
            number = bisect.bisect_right(ends, at)
            text, message = waiting[number]
            yield PromptToken(token_id, message, at - ends[number] + len(text))
