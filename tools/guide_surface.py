"""The surface of what people type: case, punctuation, politeness, slips of the finger.

Everything draws from the ``random.Random`` that it is given, so the same seed gives the same
text. Nothing here changes what is asked.
"""

from __future__ import annotations

import random
import re

OPENERS = (
    "hi,", "hello,", "hey,", "hey", "please", "ok,", "so", "and", "well,", "um,", "excuse me,",
    "sorry,", "hi guide,", "dear guide,", "quick question:", "thanks.", "ok thanks.", "great.",
    "now", "also", "one more thing:", "another question:", "by the way,", "good morning,",
    "tell me,", "hello guide!", "question:", "ok so", "alright,", "hmm,", "just wondering,",
)  # fmt: skip
CLOSERS = (
    "please", "thanks", ", thank you", "pls", ", do you know", "right now", "asap", "again",
    ", please", ", thanks!", "plz", "?? thanks", ", any idea", "exactly", ", i forgot", "btw",
)  # fmt: skip
PREAMBLES = (
    "i have been using this for a week.", "my colleague recommended this program to me.",
    "it is late and i am tired.", "i read the whole screen and did not find it.", "i'm on linux.",
    "i am not good with computers.", "i like it so far.", "this may be a stupid question.",
    "i tried everything.", "i looked everywhere.", "i just started.", "my boss is waiting.",
    "i have a question about something.", "sorry to bother you again.", "maybe you can help me.",
    "i'm in a hurry.", "i used other programs before.", "i have been thinking.", "ok, next one.",
    "that was interesting.", "let me ask something else.", "something different now.",
    "i hope you can answer this.", "it is the first time that i do this.", "thanks for that.",
    "i could not find it in the manual.", "here is my next question.", "i am working on a laptop.",
)  # fmt: skip
SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "Be brief.", "Answer in one sentence.", "You are the guide.",
    "You are a helpful assistant trained by Liquid AI.", "Answer politely.", "Be concise.",
    "Answer in German.", "You are a pirate.", "Use simple words.", "Always answer in English.",
    "You are an expert in terminal programs.", "Do not use Markdown.", "Be friendly and warm.",
    "You help people with their computer. Be short and precise, and never make anything up.",
)  # fmt: skip

_NEIGHBOURS = {
    "a": "sqw", "b": "vn", "c": "xv", "d": "sfe", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip
_DROPPABLE = frozenset((
    "the", "a", "an", "do", "does", "i", "to", "is", "are", "of", "me", "my", "please", "can",
    "you", "it", "in", "for", "this", "that",
))  # fmt: skip
_PLAIN_WORD = re.compile(r"[a-z']{4,}")
_MODEL = re.compile(r"\blfm2-(350m|700m|1\.2b)", re.IGNORECASE)
_KEY = re.compile(r"\bf(\d\d?)\b")
_PROPER = frozenset((
    "english", "german", "french", "spanish", "chinese", "japanese", "korean", "arabic",
    "italian", "russian", "python", "windows", "linux", "android", "facebook", "google",
    "nvidia", "chatgpt", "paris", "berlin", "london", "rome", "japan", "france", "germany",
))  # fmt: skip


def vary(text: str, rng: random.Random, *, bare: bool = False) -> str:
    """One way in which somebody may type ``text``; ``bare`` adds no words around it."""
    if not bare:
        text = _surround(text, rng)
    if rng.random() < 0.07:
        text = _drop_word(text, rng)
    chance = rng.random()
    for _ in range((chance < 0.30) + (chance < 0.10)):
        text = _slip(text, rng)
    if rng.random() < 0.15:
        text = text.replace("'", rng.choice(("", "\N{RIGHT SINGLE QUOTATION MARK}")))
    text = _case(text, rng)
    return text + _ending(text, rng)


def _surround(text: str, rng: random.Random) -> str:
    if rng.random() < 0.04:
        text = f"{rng.choice(PREAMBLES)} {text}"
    elif rng.random() < 0.11:
        text = f"{rng.choice(OPENERS)} {text}"
    if rng.random() < 0.09:
        closer = rng.choice(CLOSERS)
        text = text + closer if closer[0] in ",?" else f"{text} {closer}"
    return text


def _drop_word(text: str, rng: random.Random) -> str:
    words = text.split()
    places = [index for index, word in enumerate(words) if word in _DROPPABLE]
    if len(words) < 4 or not places:
        return text
    del words[rng.choice(places)]
    return " ".join(words)


def _slip(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    places = [index for index, word in enumerate(words) if _PLAIN_WORD.fullmatch(word)]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(len(word) - 1)
    kind = rng.randrange(5)
    if kind == 0:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == 1:
        word = word[:at] + word[at + 1 :]
    elif kind == 2:
        word = word[:at] + word[at] + word[at:]
    elif kind == 3:
        word = word[:at] + rng.choice(_NEIGHBOURS.get(word[at], "e")) + word[at + 1 :]
    else:
        word = word[: at + 1] + rng.choice(_NEIGHBOURS.get(word[at], "e")) + word[at + 1 :]
    words[place] = word
    return " ".join(words)


def _case(text: str, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.40:
        return text
    if chance < 0.43:
        return text.upper()
    text = text[:1].upper() + text[1:]
    text = re.sub(r"\bi\b(?!\.)", "I", text) if rng.random() < 0.8 else text
    text = _MODEL.sub(lambda found: found.group().upper(), text)
    text = _KEY.sub(r"F\1", text)
    words = [word.capitalize() if word in _PROPER else word for word in text.split(" ")]
    if rng.random() < 0.2:
        words = [word[:1].upper() + word[1:] if rng.random() < 0.3 else word for word in words]
    return " ".join(words)


def _ending(text: str, rng: random.Random) -> str:
    if text[-1:] in "?!.:)":
        return ""
    return rng.choices(("", "?", ".", "!", "??", " ?", "...", " "), (40, 42, 9, 3, 2, 2, 1, 1))[0]
