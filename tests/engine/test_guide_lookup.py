"""Guesses from the context on the guide, which repeats a given text: the text is the same."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

import lfm2chat.guide
from lfm2chat.engine import (
    HybridCache,
    Lfm2ForCausalLM,
    PassCosts,
    PromptLookup,
    decode,
    prefill,
)
from lfm2chat.spec import SamplingParams

FOLDER = Path(lfm2chat.guide.__file__).parent
END = frozenset({7})
TEXTS = (
    "Press **Ctrl+N** to start a new conversation. The old one stays in the list.",
    "seven old boats carried the red lamp over the bridge and seven old boats came back",
    "for i in range(10): print(i, i * i)  # squares, then for i in range(10): print(-i)",
    "alpha beta gamma alpha beta delta alpha beta gamma alpha gamma beta delta alpha",
)


class Always(PassCosts):
    """Passes of any size cost the same: guessing always pays."""

    def ratio(self, rows):
        return 1.0 / rows


class Counting:
    """The guide, and how many passes were made over one token and over several."""

    def __init__(self, model):
        self.config, self.dtype, self.device = model.config, model.dtype, model.device
        self._model = model
        self.passes = Counter()

    def next_logits(self, input_ids, cache, *, before_layer=None):
        self.passes["one"] += 1
        return self._model.next_logits(input_ids, cache, before_layer=before_layer)

    def all_logits(self, input_ids, cache):
        self.passes["several"] += 1
        return self._model.all_logits(input_ids, cache)


@pytest.fixture(scope="module")
def guide():
    return Lfm2ForCausalLM.from_pretrained(FOLDER, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def ids_of(tokenizer, text):
    rendered = f"<|startoftext|><|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    return tokenizer.encode(rendered, add_special_tokens=False).ids


def read(model, ids):
    cache = HybridCache(model.config)
    reading = prefill(model, ids, cache)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            return cache, stop.value


def params(**changes):
    usual = {"temperature": 0.0, "min_p": 0.0, "repetition_penalty": 1.0, "seed": 0}
    return SamplingParams(**(usual | {"max_new_tokens": 120} | changes))


def write(model, ids, cache, logits, sampling, *, guessing):
    drafts = PromptLookup(ids) if guessing else None
    found = decode(
        model,
        logits,
        cache,
        sampling,
        context_ids=ids,
        eos_token_ids=END,
        drafts=drafts,
        costs=Always(),
    )
    return [token.id for token in found]


@pytest.mark.parametrize("text", TEXTS)
def test_the_greedy_ids_are_those_without_guesses_and_most_come_true(guide, tokenizer, text):
    ids = ids_of(tokenizer, f"Repeat this:\n{text}")
    plain = write(guide, ids, *read(guide, ids), params(), guessing=False)
    assert tokenizer.decode(plain) == text
    counting = Counting(guide)
    state = read(guide, ids)
    assert write(counting, ids, *state, params(), guessing=True) == plain
    assert counting.passes["several"] > 0
    assert counting.passes.total() < 0.7 * len(plain)


def test_greedy_ids_of_answers_that_repeat_nothing_are_the_same_too(guide, tokenizer):
    for text in ("How do I stop an answer?", "who wrote Faust?", "what does min_p do?"):
        ids = ids_of(tokenizer, text)
        answers = [
            write(guide, ids, *read(guide, ids), params(), guessing=guessing)
            for guessing in (False, True)
        ]
        assert answers[0] == answers[1]


def test_the_drawn_tokens_have_the_distribution_that_they_have_without_guesses(guide, tokenizer):
    # 1. In the middle of a text that is being repeated, where there is something to guess; the
    # temperature lets other tokens in.
    text, heat = TEXTS[1], 2.5
    ids = ids_of(tokenizer, f"Repeat this:\n{text}") + tokenizer.encode(text).ids[:6]
    cache, logits = read(guide, ids)
    first = (logits.double() / heat).softmax(-1)
    likely = [int(token) for token in first.topk(3).indices]
    expected = {}
    for one in likely:
        after = guide.next_logits(torch.tensor([[one]]), cache.fork(cache.length))[0]
        second = (after.double() / heat).softmax(-1)
        top = [int(token) for token in second.topk(3).indices]
        expected |= {(one, two): float(first[one] * second[two]) for two in top}
    # 2. How often each pair is drawn with guesses, all other pairs together.
    draws, guessed = 500, 0
    found = Counter()
    for seed in range(draws):
        counting = Counting(guide)
        sampling = params(temperature=heat, seed=seed, max_new_tokens=3)
        drawn = write(counting, ids, cache.fork(cache.length), logits, sampling, guessing=True)
        guessed += counting.passes["several"] > 0
        found[tuple(drawn[:2])] += 1
    assert guessed > draws / 4
    # 3. Chi-square: beyond 27.9 with nine degrees of freedom in one of a thousand.
    rest = 1 - sum(expected.values())
    distance = sum(
        (found[pair] - draws * chance) ** 2 / (draws * chance) for pair, chance in expected.items()
    )
    others = draws - sum(found[pair] for pair in expected)
    distance += (others - draws * rest) ** 2 / (draws * rest)
    assert distance < 27.9
