"""A tokenizer that reads only what is new: for who counts the same long text with every key.

Text is encoded in blocks that end where the pretokenizer always ends a piece: between an ASCII
letter and a space or a line feed. So the ids are those of the whole, for the pretokenizers that
are known to do that; other text is one block. ``pause`` is called between two of them, which are
milliseconds apart. One thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from lfm2chat.chat.tokenizer import Tokenizer

BLOCK_CHARACTERS: Final = 4096
_END: Final = re.compile(r"(?<=[A-Za-z])(?=[ \n])")
_LLAMA: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class RememberingTokenizer(Tokenizer):
    """As :class:`Tokenizer`; plain text that was encoded since the last but one :meth:`turn_page`
    is not encoded again.
    """

    def __init__(self, data: bytes, config: dict[str, Any]) -> None:
        """As that of :class:`Tokenizer`."""
        super().__init__(data, config)
        self._in_blocks = _ends_pieces_after_words(json.loads(data))
        self._before: dict[str, list[int]] = {}
        self._now: dict[str, list[int]] = {}
        self.pause: Callable[[], None] = lambda: None

    def turn_page(self) -> None:
        """Forget what was not asked for since the last call."""
        self._before, self._now = self._now, {}

    def encode_plain(self, text: str) -> list[int]:
        """As :meth:`Tokenizer.encode_plain`; it may raise what ``pause`` raises."""
        ids: list[int] = []
        for block in self._blocks(text):
            known = self._now.get(block) or self._before.get(block)
            if known is None:
                self.pause()
                known = super().encode_plain(block)
            self._now[block] = known
            ids += known
        return ids

    def _blocks(self, text: str) -> Iterator[str]:
        start = 0
        while self._in_blocks and len(text) - start > BLOCK_CHARACTERS:
            end = _END.search(text, start + BLOCK_CHARACTERS)
            if end is None:
                break
            yield text[start : end.start()]
            start = end.start()
        yield text[start:]


def _ends_pieces_after_words(document: dict[str, Any]) -> bool:
    """Whether a space or a line feed after a letter always begins a piece of its own, and pieces
    do not depend on what is around them.
    """
    if document.get("normalizer") is not None:
        return False
    match document.get("pre_tokenizer"):
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return True
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"} as split,
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return bool(pattern == _LLAMA and not split.get("invert"))
        case _:
            return False
