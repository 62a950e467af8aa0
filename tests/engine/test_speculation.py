"""Guesses read along in one pass: they change the speed, never the text nor the cache."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.engine import HybridCache, PassCosts, PromptLookup, decode, prefill
from lfm2chat.engine.speculate import LENGTHS, Payoff
from lfm2chat.errors import CacheError
from lfm2chat.spec import SamplingParams

PROMPT = [5, 9, 2, 31, 77, 40, 8, 61, 3, 90, 17]
NO_EOS = frozenset({96})


class Scripted:
    """Guesses that come true with a given chance; ``truth`` is what will be drawn."""

    def __init__(self, truth, chance, *, seed=0):
        self._truth, self._chance = truth, chance
        self._random = random.Random(seed)
        self._at = 0

    def add(self, token):
        assert token == self._truth[self._at]
        self._at += 1

    def guesses(self, most):
        following = self._truth[self._at : self._at + most]
        return [g if self._random.random() < self._chance else (g + 1) % 90 for g in following]


class Fixed:
    """The same guesses always, right or wrong."""

    def __init__(self, ids):
        self._ids = ids

    def add(self, token):
        pass

    def guesses(self, most):
        return list(self._ids[:most])


class Always(PassCosts):
    """Passes of any size cost the same: guessing always pays."""

    def ratio(self, rows):
        return 1.0 / rows


def params(**changes):
    return SamplingParams(
        **{
            "temperature": 1.0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "max_new_tokens": 40,
            "seed": 3,
        }
        | changes
    )


def begin(model, prompt=PROMPT, **named):
    cache = HybridCache(model.config, **named)
    reading = prefill(model, prompt, cache)
    try:
        while True:
            next(reading)
    except StopIteration as stop:
        return cache, stop.value


def write(model, sampling, *, prompt=PROMPT, named=None, **arguments):
    cache, logits = begin(model, prompt, **named or {})
    found = decode(
        model, logits, cache, sampling, context_ids=prompt, eos_token_ids=NO_EOS, **arguments
    )
    return cache, [token.id for token in found]


@pytest.fixture
def model(tiny, random_model):
    return random_model(tiny()).double()


@pytest.fixture
def exact(model):
    return {"named": {"dtype": torch.float64}, "costs": Always()}


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sampling", [params(), params(temperature=0.0, repetition_penalty=1.1)])
def test_guesses_change_nothing_in_what_is_written(model, exact, chance, sampling):
    named = exact["named"]
    cache, plain = write(model, sampling, named=named)
    guessed, ids = write(model, sampling, drafts=Scripted(plain, chance), **exact)
    assert ids == plain
    assert guessed.length == guessed.position == cache.length


def test_wherever_it_stops_the_cache_holds_what_was_read_and_no_guess(model, exact):
    _, plain = write(model, params(), named=exact["named"])
    for stop in range(1, 20):
        cache, logits = begin(model, dtype=torch.float64)
        writing = decode(
            model,
            logits,
            cache,
            params(),
            context_ids=PROMPT,
            eos_token_ids=NO_EOS,
            drafts=Scripted(plain, 0.7),
            costs=exact["costs"],
        )
        ids = [token.id for token in itertools.islice(writing, stop)]
        writing.close()
        assert ids == plain[:stop]
        assert cache.length == cache.position == len(PROMPT) + stop - 1
        after = model.next_logits(torch.tensor([[ids[-1]]]), cache)
        other, _ = begin(model, PROMPT + ids, dtype=torch.float64)
        expected = model.next_logits(torch.tensor([[7]]), other)
        torch.testing.assert_close(
            model.next_logits(torch.tensor([[7]]), cache), expected, rtol=0, atol=1e-5
        )
        assert after.shape == expected.shape


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_a_held_pass_counts_as_far_as_it_is_kept(sizes, data):
    from lfm2chat.engine import Lfm2ForCausalLM
    from lfm2chat.spec import Lfm2Config

    torch.manual_seed(1)
    config = Lfm2Config(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        layer_types=["conv", "full_attention", "conv"],
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = Lfm2ForCausalLM(config).eval().double()
    cache = HybridCache(config, dtype=torch.float64)
    read: list[int] = []
    for size in sizes:
        ids = data.draw(st.lists(st.integers(0, 96), min_size=size, max_size=size))
        cache.hold()
        logits = model.all_logits(torch.tensor([ids]), cache)[0]
        assert cache.length == len(read)
        for kept in range(1, data.draw(st.integers(1, size)) + 1):
            cache.keep(kept)
        read += ids[:kept]
        assert cache.length == cache.position == len(read)
        whole = model.all_logits(torch.tensor([read]), HybridCache(config, dtype=torch.float64))
        torch.testing.assert_close(logits[kept - 1], whole[0, -1], rtol=0, atol=1e-5)


def test_what_was_not_held_cannot_be_kept(model):
    cache, _ = begin(model, dtype=torch.float64)
    with pytest.raises(CacheError, match="held pass"):
        cache.keep(1)
    cache.hold()
    model.all_logits(torch.tensor([[1, 2]]), cache)
    with pytest.raises(CacheError, match="3 tokens"):
        cache.keep(3)
    cache.keep(2)
    cache.rewind(cache.length - 1)
    with pytest.raises(CacheError):
        cache.keep(1)


def test_what_is_drawn_with_wrong_guesses_has_the_model_s_own_distribution(random_model, tiny):
    model = random_model(tiny(vocab_size=6)).double()
    prompt = [1, 4, 2]
    # 1. The chance of each pair of tokens, from the model itself.
    cache, logits = begin(model, prompt, dtype=torch.float64)
    first = logits.double().softmax(-1)
    expected = {}
    for one in range(6):
        twin = cache.fork(cache.length)
        second = model.next_logits(torch.tensor([[one]]), twin)[0].double().softmax(-1)
        expected |= {(one, two): float(first[one] * second[two]) for two in range(6)}
    # 2. How often each is drawn, with guesses that are often wrong.
    draws = 4000
    found: Counter[tuple[int, ...]] = Counter()
    for seed in range(draws):
        writing = decode(
            model,
            logits,
            cache.fork(cache.length),
            params(max_new_tokens=3, seed=seed),
            context_ids=prompt,
            eos_token_ids=frozenset(),
            drafts=Fixed([seed % 6, 3]),
            costs=Always(),
        )
        found[tuple(token.id for token in itertools.islice(writing, 3))[:2]] += 1
    # 3. Chi-square with 35 degrees of freedom: beyond 66.6 in one of a thousand.
    distance = sum(
        (found[pair] - draws * chance) ** 2 / (draws * chance) for pair, chance in expected.items()
    )
    assert distance < 66.6


def test_no_guess_goes_beyond_the_context(model, exact):
    _, plain = write(model, params(), max_length=len(PROMPT) + 9, named=exact["named"])
    _, ids = write(
        model, params(), max_length=len(PROMPT) + 9, drafts=Fixed(list(range(50))), **exact
    )
    assert ids == plain
    assert len(ids) == 9


def test_what_stood_in_the_context_is_guessed_from_its_latest_place():
    lookup = PromptLookup([1, 2, 3, 4, 5, 6, 9, 2, 3, 4, 7, 8, 2, 3])
    assert lookup.guesses(4) == []
    lookup.add(4)
    assert lookup.guesses(4) == [7, 8, 2, 3]
    lookup.add(7)
    assert lookup.guesses(2) == [8, 2]
    lookup.add(0)
    assert lookup.guesses(2) == []


def test_a_text_that_repeats_itself_is_guessed_to_go_on():
    lookup = PromptLookup([])
    for token in [1, 2, 3, 1, 2, 3]:
        lookup.add(token)
    assert lookup.guesses(5) == [1, 2, 3]


def costs_of(**ratios):
    costs = PassCosts()
    costs.note(1, 1.0)
    for rows, ratio in ratios.items():
        costs.note(int(rows.removeprefix("rows")), ratio)
    return costs


def test_guesses_that_never_come_true_are_soon_left_out():
    payoff = Payoff(costs_of(rows3=1.1, rows6=1.3, rows12=1.9))
    made = 0
    for _ in range(400):
        if payoff.length(11):
            made += 1
            payoff.note(0, failed=True)
    assert made < 20


def test_guesses_that_come_true_are_made_as_long_as_they_may_be():
    payoff = Payoff(costs_of(rows3=1.1, rows6=1.2, rows12=1.4))
    for _ in range(10):
        payoff.note(payoff.length(11), failed=False)
    assert payoff.length(11) == LENGTHS[-1]
    assert payoff.length(3) == 3
    assert payoff.length(0) == 0


def test_where_passes_cost_as_much_as_their_rows_nothing_is_guessed_for_long():
    payoff = Payoff(costs_of(rows3=3.0, rows6=6.0, rows12=12.0))
    lengths = [payoff.length(11) for _ in range(100)]
    assert sum(1 for length in lengths if length) < 10


def test_after_a_rest_guessing_begins_again_where_the_text_repeats_itself():
    payoff = Payoff(costs_of(rows3=1.1, rows6=1.2, rows12=1.4))
    for _ in range(50):
        if payoff.length(11):
            payoff.note(0, failed=True)
    lengths = []
    for _ in range(400):
        length = payoff.length(11)
        lengths.append(length)
        if length:
            payoff.note(length, failed=False)
    assert lengths[-1] == LENGTHS[-1]
