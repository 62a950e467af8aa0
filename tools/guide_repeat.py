"""Texts for the guide to repeat: what people may type after "repeat this", and what is then right.

A model that can repeat what stands above is the one on which guesses from the context can be
tried. The texts are words, sentences and pieces of the vocabulary in any order, so that what is
learned is to copy, and not what is likely.
"""

from __future__ import annotations

import math
import random
import re
from functools import cached_property

from guide_knowledge import Entry, Knowledge, expand
from tokenizers import Tokenizer

REPEAT = "repeat"
SHARE = 0.2
LONGEST = 90
"""Words of the longest text."""
_PRINTABLE = re.compile(r" ?[\x21-\x7e]+")


class Repeater:
    """Draws texts to repeat. Shares the ``random.Random`` that it is given."""

    def __init__(self, knowledge: Knowledge, tokenizer: Tokenizer, rng: random.Random) -> None:
        self.rng = rng
        self._tokenizer = tokenizer
        self._frames = [text for frame in knowledge.frames[REPEAT] for text in expand(frame)]
        outside = knowledge.outside
        sentences = [entry.answer for entry in knowledge.entries()]
        self._words = [word for text in sentences for word in text.split()]
        self._words += [word for text in (*outside.things, *outside.tasks) for word in text.split()]
        self._words += list(outside.nonsense)
        self._sentences = [part for text in sentences for part in text.split("\n") if part.strip()]

    @cached_property
    def _pieces(self) -> list[str]:
        ids = range(self._tokenizer.get_vocab_size())
        decoded = [self._tokenizer.decode([token], skip_special_tokens=False) for token in ids]
        return [text for text in decoded if _PRINTABLE.fullmatch(text) and "<|" not in text]

    def draw(self) -> tuple[str, Entry]:
        """What is typed, and an entry whose answer is the text to repeat."""
        text = self.text()
        frame, end = self.rng.choice(self._frames), self.rng.choice(("\n", "\n", " "))
        frame = frame[:1].upper() + frame[1:] if self.rng.random() < 0.5 else frame
        asked = frame.replace("@", "").rstrip() + end + text
        return asked, Entry(id=REPEAT, topic=REPEAT, answer=text)

    def text(self) -> str:
        """A text to repeat: short ones are drawn as often as long ones."""
        rng = self.rng
        words = round(math.exp(rng.uniform(math.log(2), math.log(LONGEST))))
        kind = rng.randrange(4)
        if kind == 0:
            return "".join(rng.choice(self._pieces) for _ in range(words)).strip() or "a"
        if kind == 1:
            return " ".join(rng.choice(self._sentences) for _ in range(1 + words // 30))
        chosen = [rng.choice(self._words) for _ in range(words)]
        if kind == 2:
            # Words that come back: what follows one is then clear only from those before it.
            few = chosen[: max(2, words // 4)]
            chosen = [rng.choice(few) for _ in range(words)]
        glue = "\n" if rng.random() < 0.1 else " "
        return glue.join(chosen)
