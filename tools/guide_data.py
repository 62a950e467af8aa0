"""Training conversations for the guide, drawn from its knowledge base, the same for each seed."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from guide_knowledge import Entry, Knowledge, expand, normalise
from guide_repeat import REPEAT, SHARE, Repeater
from guide_surface import SYSTEM_PROMPTS, vary
from tokenizers import Tokenizer

IM_START, IM_END, BOS = 6, 7, 1
IGNORED = -100
OUTSIDE_SHARE = 0.32
# Most people ask like this, and near misses begin so too: the fact has to win.
PLAIN_SHARE = 0.2
_OWN_LIST = re.compile(r"^[\w ]+$")


@dataclass(frozen=True, slots=True)
class Turn:
    """What was typed, and the entry whose answer is right."""

    text: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of one conversation.

    A label is IGNORED where nothing is to be learned. ``intents`` holds, at the last token
    before each answer, the number of the answer that is right there; IGNORED elsewhere.
    ``exact``: a token of a question is needed itself, so none may be blanked.
    """

    ids: list[int]
    labels: list[int]
    intents: list[int]
    exact: bool = False


class Asker:
    """Draws what people type about an entry. Never draws a phrasing that is held out."""

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self.knowledge = knowledge
        self.rng = random.Random(seed)
        self.barred = {normalise(text) for entry in knowledge.entries() for text in entry.held_out}
        self._facts = list(knowledge.facts)
        self._weights = [_weight(fact) for fact in self._facts]

    def phrasing(self, entry: Entry) -> str:
        """One phrasing of ``entry``, before case, slips and politeness."""
        while True:
            text = self._outside() if entry is self.knowledge.outside.entry else self._inside(entry)
            if normalise(text) not in self.barred:
                return text

    def turn(self, entry: Entry) -> Turn:
        """What somebody types about ``entry``."""
        bare = entry.topic == "small talk" and self.rng.random() < 0.7
        return Turn(vary(self.phrasing(entry), self.rng, bare=bare), entry)

    def conversation(self, turns: int) -> list[Turn]:
        """``turns`` turns: facts, their follow-ups, small talk, and questions from outside."""
        made: list[Turn] = []
        rng = self.rng
        while len(made) < turns:
            last = made[-1].entry if made else None
            if last is not None and last.follow_ups and rng.random() < 0.45:
                made.append(self.turn(rng.choice(last.follow_ups)))
            elif rng.random() < OUTSIDE_SHARE:
                made.append(self._outside_turn())
            elif turns > 1 and rng.random() < 0.15:
                # Follow-ups are few and rare: bring a fact that has some.
                made.append(
                    self.turn(rng.choice([fact for fact in self._facts if fact.follow_ups]))
                )
            else:
                made.append(self.turn(rng.choices(self._facts, self._weights)[0]))
        return made

    def _outside_turn(self) -> Turn:
        if self.rng.random() < 0.07:
            return self._junk()
        return self.turn(self.knowledge.outside.entry)

    def _inside(self, entry: Entry) -> str:
        kinds = {
            "ask": 1.0 * bool(entry.ask) * min(1.0, 0.4 + len(entry.ask) / 20),
            "how": 0.8 * bool(entry.how) * min(1.0, 0.4 + len(entry.how) / 8),
            "what": 0.45 * bool(entry.what),
            "named": 0.35 * bool(entry.named),
        }
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "named":
            name, frame = self.rng.choice(entry.named)
            return self._framed(frame, name)
        template = self._pick(getattr(entry, kind))
        if kind == "ask":
            return template
        if kind == "what":
            return self._framed("what", template)
        if self.rng.random() < PLAIN_SHARE:
            return f"how do i {self._expand(template)}"
        frame = "how"
        if entry.keys and self.rng.random() < 0.25:
            frame = "key"
        elif entry.commands and self.rng.random() < 0.25:
            frame = "command"
        return self._framed(frame, template)

    def _outside(self) -> str:
        outside = self.knowledge.outside
        rng = self.rng
        kind = rng.choices(
            ("ask", "near", "what", "how", "templates", "numbers", "nonsense", "key", "words"),
            (22, 12, 13, 15, 24, 3, 3, 3, 2),
        )[0]
        if kind in {"ask", "near", "numbers"}:
            lines = outside.entry.ask if kind == "ask" else getattr(outside, kind)
            text = self._pick(lines)
            return re.sub("#", lambda _: str(rng.randrange(1, 10 ** rng.randrange(1, 4))), text)
        if kind == "words":
            return " ".join(rng.choice(outside.nonsense) for _ in range(rng.randrange(1, 9)))
        if kind in {"how", "key"}:
            frame = kind if kind == "how" or rng.random() < 0.5 else "command"
            return self._framed(frame, self._pick(outside.tasks))
        if kind == "nonsense":
            return self._framed("what", _invented(rng))
        thing = self._thing()
        if kind == "what":
            return self._framed("what", thing)
        text = self._pick(outside.templates)
        return " ".join(re.sub("@", lambda _: self._thing(), text).split())

    def _thing(self) -> str:
        rng = self.rng
        if rng.random() < 0.15:
            return _invented(rng)
        thing = rng.choice(self.knowledge.outside.things)
        if rng.random() < 0.25 and not thing.startswith("the "):
            adjectives = ("old", "big", "red", "wild", "new", "cheap", "french", "german", "small")
            thing = f"{rng.choice(adjectives)} {thing}"
        return thing

    def _junk(self) -> Turn:
        rng, by_id = self.rng, self.knowledge.by_id
        kind = rng.randrange(4)
        if kind == 0:
            letters = "abcdefghijklmnopqrstuvwxyz0123456789 .,;#*+-_/()"
            text = "".join(rng.choice(letters) for _ in range(rng.randrange(4, 120)))
            return Turn(text.strip() or "?", by_id["unclear"])
        if kind == 1:
            return Turn(rng.choice("abckxyz1?.!-") * rng.randrange(2, 80), by_id["unclear"])
        words = [self._pick(self.knowledge.outside.things) for _ in range(rng.randrange(2, 6))]
        if kind == 2:
            return Turn(" ".join(words), by_id["outside"])
        lines = [self._outside() for _ in range(rng.randrange(3, 25))]
        return Turn(". ".join(lines), by_id["outside"])

    def _framed(self, frame: str, template: str) -> str:
        filled = self._pick(self.knowledge.frames[frame])
        return " ".join(filled.replace("@", " ".join(self._expand(template).split())).split())

    def _pick(self, templates: Sequence[str]) -> str:
        return self._expand(self.rng.choices(templates, _line_weights(tuple(templates)))[0])

    def _expand(self, template: str) -> str:
        pick = self.rng.choice
        return " ".join(
            re.sub(r"\{([^{}]*)\}", lambda found: pick(found.group(1).split("|")), template).split()
        )


class Encoder:
    """Turns conversations into token ids as the chat template writes them."""

    def __init__(self, tokenizer: Tokenizer, answers: Sequence[str], *, seed: int) -> None:
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)
        self._user = self._ids("user\n")
        self._assistant = self._ids("assistant\n")
        self._system = self._ids("system\n")
        self._newline = self._ids("\n")
        self._answers = {text: self._ids(text) for text in answers}
        self._numbers = {text: number for number, text in enumerate(answers)}
        self._deciding = {text: self._deciding_tokens(text) for text in answers}

    def sample(self, turns: Sequence[Turn], *, system: str = "", cut: bool = False) -> Sample:
        """One conversation; only the answers and the ends of their turns are to be learned.

        ``cut``: the last answer ends where it is clear which one it is. The rest of it is
        learned soon, and reading more questions in its place is what makes the guide general.
        """
        ids: list[int] = [BOS]
        if system:
            ids += [IM_START, *self._system, *self._ids(system), IM_END, *self._newline]
        labels = [IGNORED] * len(ids)
        intents = [IGNORED] * len(ids)
        for turn in turns:
            text, repeats = turn.entry.answer, turn.entry.id == REPEAT
            typed = self._ids(turn.text) if repeats else self._broken(turn.text)
            asked = [IM_START, *self._user, *typed, IM_END, *self._newline]
            asked += [IM_START, *self._assistant]
            answer, after = [*(self._answers.get(text) or self._ids(text)), IM_END], self._newline
            if cut and turn is turns[-1] and not repeats:
                answer, after = answer[: self._deciding[text] + 1], []
            ids += [*asked, *answer, *after]
            labels += [IGNORED] * len(asked) + answer + [IGNORED] * len(after)
            intent = IGNORED if repeats else self._numbers[text]
            intents += [*([IGNORED] * (len(asked) - 1)), intent]
            intents += [IGNORED] * (len(answer) + len(after))
        return Sample(ids, labels, intents, any(turn.entry.id == REPEAT for turn in turns))

    def _deciding_tokens(self, text: str) -> int:
        """How many tokens of this answer tell it from every other."""
        own = self._answers[text]
        others = [ids for other, ids in self._answers.items() if other != text]
        shared = (
            next((i for i, (a, b) in enumerate(zip(own, ids, strict=False)) if a != b), len(own))
            for ids in others
        )
        return max(shared) + 1

    def _broken(self, text: str) -> list[int]:
        """Token ids of ``text``, now and then cut inside words: what is rare must be readable."""
        if self.rng.random() < 0.6:
            return self._ids(text)
        ids: list[int] = []
        start = 0
        for place in range(1, len(text)):
            if text[place - 1].isalnum() and text[place].isalnum() and self.rng.random() < 0.06:
                ids += self._ids(text[start:place])
                start = place
        return ids + self._ids(text[start:])

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def samples(knowledge: Knowledge, tokenizer: Tokenizer, *, seed: int) -> Iterator[Sample]:
    """Conversations without end; most are short, some are as long as the context."""
    asker = Asker(knowledge, seed)
    encoder = Encoder(tokenizer, answers(knowledge), seed=seed + 1)
    rng = random.Random(seed + 2)
    repeater = Repeater(knowledge, tokenizer, rng)
    lengths = ((1, 1, 70), (2, 2, 14), (3, 3, 6), (4, 5, 7), (6, 12, 2), (20, 36, 0.2))
    while True:
        low, high, _ = rng.choices(lengths, [weight for _, _, weight in lengths])[0]
        system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.08 else ""
        turns = asker.conversation(rng.randint(low, high))
        if rng.random() < SHARE:
            # In place of a question, or after one.
            turns = [*turns[: rng.randrange(2)], Turn(*repeater.draw())]
        yield encoder.sample(turns, system=system, cut=rng.random() < 0.85)


def answers(knowledge: Knowledge) -> list[str]:
    """Every different answer, in the order of the data."""
    return list(dict.fromkeys(entry.answer for entry in knowledge.entries()))


def _weight(fact: Entry) -> float:
    lines = len(fact.ask) + len(fact.how) + len(fact.what)
    return 0.6 + min(1.0, lines / 30)


@lru_cache(maxsize=4096)
def _line_weights(templates: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(1.0 + math.log2(len(expand(template))) for template in templates)


def _invented(rng: random.Random) -> str:
    """A word that does not exist: what the guide never saw is not about lfm2chat."""
    starts = (
        "b",
        "br",
        "c",
        "ch",
        "d",
        "dr",
        "f",
        "g",
        "gr",
        "h",
        "k",
        "l",
        "m",
        "n",
        "p",
        "pl",
        "r",
    )
    starts += ("s", "st", "sh", "t", "tr", "v", "w", "z", "", "qu", "sp", "cl", "th")
    middles = ("a", "e", "i", "o", "u", "ai", "ea", "oo", "ou", "io", "y")
    ends = ("", "n", "r", "s", "t", "l", "m", "nd", "st", "ck", "x", "rt", "ng", "sh")
    word = "".join(
        rng.choice(starts) + rng.choice(middles) + rng.choice(ends)
        for _ in range(rng.randint(1, 3))
    )
    return word if rng.random() < 0.7 else f"{rng.choice(('the', 'a', 'my', 'old'))} {word}"
