"""Token ids to text while they come: only whole characters, never one that is taken back."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from lfm2chat.chat.tokenizer import Tokenizer


class StreamingDetokenizer:
    """Turns ids into text, one at a time, in time proportional to the new bytes.

    A byte-level token may end inside a character. Its bytes wait for the rest, so U+FFFD is
    shown only for bytes that no later token can complete. The pieces joined are
    ``tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)`` for any ids: both replace
    maximal invalid parts as Unicode recommends. Not shared between threads.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special_tokens: bool = True) -> None:
        self._tokenizer = tokenizer
        self._hidden = tokenizer.special_ids if skip_special_tokens else frozenset[int]()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The characters that ``token_id`` completes, often none.

        Raises:
            TokenizerError: ``token_id`` is negative or beyond 32 bits.
        """
        if token_id in self._hidden:
            return ""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """What is left: U+FFFD for a character that was never completed, else nothing."""
        return self._decoder.decode(b"", final=True)


def text_pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text that each of ``ids`` completes; joined they are the decoded whole.

    A character of several tokens belongs to the last of them, the others have an empty piece.

    Raises:
        TokenizerError: An id is negative or beyond 32 bits.
    """
    stream = StreamingDetokenizer(tokenizer)
    pieces = [stream.push(token_id) for token_id in ids]
    if pieces:
        pieces[-1] += stream.finish()
    return pieces
