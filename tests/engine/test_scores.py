"""Log-probabilities: of text that is given, and of what else could have been written."""

import math

import pytest
import torch

from lfm2chat.engine import HybridCache, decode, prefill, score
from lfm2chat.errors import ContextFullError, UsageError
from lfm2chat.spec import SamplingParams

TOLERANCE = 1e-4  # nats, in float32
IDS = [(13 * i * i + 5 * i + 2) % 97 for i in range(300)]


@pytest.fixture
def model(tiny, random_model):
    return random_model(tiny())


@pytest.fixture
def truth(model, oracle):
    """The oracle's log-probabilities (T, V) after each of the ids."""
    return oracle(model)(torch.tensor([IDS]), use_cache=False).logits[0].log_softmax(-1)


def drain(reading):
    told = []
    while True:
        try:
            told.append(next(reading))
        except StopIteration as stop:
            return stop.value, told


def new_cache(model):
    return HybridCache(model.config, dtype=model.dtype)


def test_each_given_token_has_the_oracles_log_probability(model, truth):
    cache = new_cache(model)
    scored, told = drain(score(model, IDS, cache))

    assert [token.id for token in scored] == IDS
    assert scored[0].logprob is None
    assert scored[0].alternatives == ()
    for place, token in enumerate(scored[1:], start=1):
        assert token.logprob == pytest.approx(float(truth[place - 1, token.id]), abs=TOLERANCE)
    assert cache.length == told[-1] == len(IDS)
    assert told == sorted(told)


def test_on_top_of_a_cache_the_first_token_has_one_too(model, truth):
    cache = new_cache(model)
    logits, _ = drain(prefill(model, IDS[:40], cache))
    scored, _ = drain(score(model, IDS[40:], cache, logits=logits))

    for place, token in enumerate(scored, start=40):
        assert token.logprob == pytest.approx(float(truth[place - 1, token.id]), abs=TOLERANCE)
    assert cache.length == len(IDS)


def test_alternatives_are_the_likeliest_tokens_best_first(model, truth):
    scored, _ = drain(score(model, IDS, new_cache(model), alternatives=5))

    for place, token in enumerate(scored[1:], start=1):
        expected = truth[place - 1].topk(5)
        logprobs = [other.logprob for other in token.alternatives]
        assert logprobs == pytest.approx(expected.values.tolist(), abs=TOLERANCE)
        assert logprobs == sorted(logprobs, reverse=True)
        for other in token.alternatives:  # by its own number: near ones may change places
            assert other.logprob == pytest.approx(float(truth[place - 1, other.id]), abs=TOLERANCE)


def test_all_alternatives_together_are_certain(model):
    scored, _ = drain(score(model, IDS[:8], new_cache(model), alternatives=97))

    for token in scored[1:]:
        assert len({other.id for other in token.alternatives}) == 97
        total = sum(math.exp(other.logprob) for other in token.alternatives)
        assert total == pytest.approx(1, abs=1e-4)
        own = next(other for other in token.alternatives if other.id == token.id)
        assert own.logprob == pytest.approx(token.logprob, abs=1e-6)


def test_each_given_token_has_the_oracles_entropy_before_it(model, truth):
    scored, _ = drain(score(model, IDS, new_cache(model)))

    assert scored[0].entropy is None
    for place, token in enumerate(scored[1:], start=1):
        expected = torch.distributions.Categorical(logits=truth[place - 1]).entropy()
        assert token.entropy == pytest.approx(float(expected), abs=TOLERANCE)


def test_a_token_that_is_certain_has_no_entropy_and_an_impossible_one_is_no_fault(model):
    class Certain:
        def __init__(self, model):
            self.config = model.config
            self.model = model

        def all_logits(self, ids, cache):
            rows = self.model.all_logits(ids, cache)
            rows[:] = -torch.inf
            rows[..., 5] = 3.0
            return rows

    scored, _ = drain(score(Certain(model), [1, 5, 6], new_cache(model)))
    assert [token.entropy for token in scored[1:]] == [0.0, 0.0]
    assert [token.logprob for token in scored[1:]] == [0.0, -math.inf]


def test_padding_of_the_vocabulary_has_no_part_in_a_score(model, truth, oracle):
    ids = [one % 11 for one in IDS]
    scored, _ = drain(score(model, ids, new_cache(model), vocab_limit=11, alternatives=50))

    logits = oracle(model)(torch.tensor([ids]), use_cache=False).logits[0, :, :11]
    for place, token in enumerate(scored[1:], start=1):
        row = logits[place - 1].log_softmax(-1)
        assert token.logprob == pytest.approx(float(row[token.id]), abs=TOLERANCE)
        expected = float(-(row.exp() * row).sum())
        assert token.entropy == pytest.approx(expected, abs=TOLERANCE)
        assert {other.id for other in token.alternatives} == set(range(11))


@pytest.mark.parametrize("longest_s", [0.0, 1e9])
def test_chunks_of_any_length_give_the_same_score(model, truth, longest_s):
    scored, told = drain(score(model, IDS, new_cache(model), longest_s=longest_s))

    assert told[0] == 8
    assert told[1] == (16 if longest_s == 0.0 else 24)
    for place, token in enumerate(scored[1:], start=1):
        assert token.logprob == pytest.approx(float(truth[place - 1, token.id]), abs=TOLERANCE)


def test_a_score_that_is_cancelled_knows_what_it_read(model):
    cache = new_cache(model)
    asked = iter([False, True])
    scored, _ = drain(score(model, IDS, cache, cancelled=lambda: next(asked)))

    assert 0 < len(scored) < len(IDS)
    assert cache.length == len(scored)


def test_what_cannot_be_scored_is_refused(model):
    cache = new_cache(model)
    with pytest.raises(UsageError):
        next(score(model, [], cache))
    drain(prefill(model, IDS, cache))
    cache.rewind(200)
    with pytest.raises(UsageError, match="rewound"):
        next(score(model, [1], cache))
    with pytest.raises(ContextFullError):
        next(score(model, [1] * 5000, new_cache(model)))


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0.0, min_p=0.0, repetition_penalty=1.0, seed=1),
        SamplingParams(temperature=1.7, min_p=0.1, repetition_penalty=1.3, top_k=20, seed=1),
    ],
    ids=["greedy", "sampled"],
)
def test_written_tokens_have_the_models_own_log_probability_whatever_the_sampling(
    params, model, oracle
):
    cache = new_cache(model)
    logits, _ = drain(prefill(model, IDS[:30], cache))
    written = []
    for token in decode(
        model,
        logits,
        cache,
        params,
        context_ids=IDS[:30],
        eos_token_ids=frozenset(),
        alternatives=3,
    ):
        written.append(token)
        if len(written) == 20:
            break

    ids = IDS[:30] + [token.id for token in written]
    truth = oracle(model)(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
    for place, token in enumerate(written, start=30):
        row = truth[place - 1]
        assert token.logprob == pytest.approx(float(row[token.id]), abs=TOLERANCE)
        named = [other.logprob for other in token.alternatives]
        assert named == pytest.approx(row.topk(3).values.tolist(), abs=TOLERANCE)
        if params.greedy:
            assert token.id == token.alternatives[0].id


def test_no_alternatives_are_named_unless_asked_for(model):
    cache = new_cache(model)
    logits, _ = drain(prefill(model, IDS[:30], cache))
    params = SamplingParams(seed=1)
    token = next(
        decode(model, logits, cache, params, context_ids=IDS[:30], eos_token_ids=frozenset())
    )
    assert token.alternatives == ()


def test_text_scored_in_pieces_has_the_log_probabilities_of_the_whole(model, truth):
    cache = new_cache(model)
    first, _ = drain(score(model, IDS[:50], cache))
    # The logits after the first piece are asked for by going back one token.
    start = cache.rewind(49)
    logits, _ = drain(prefill(model, IDS[start:50], cache))
    rest, _ = drain(score(model, IDS[50:], cache, logits=logits))

    assert [token.id for token in first + rest] == IDS
    for place, token in enumerate((first + rest)[1:], start=1):
        assert token.logprob == pytest.approx(float(truth[place - 1, token.id]), abs=TOLERANCE)


def test_padding_of_the_vocabulary_is_neither_drawn_nor_named_nor_counted(model, oracle):
    cache = new_cache(model)
    logits, _ = drain(prefill(model, IDS[:30], cache))
    written = list(
        decode(
            model,
            logits,
            cache,
            SamplingParams(temperature=2.0, min_p=0.0, max_new_tokens=20, seed=3),
            context_ids=IDS[:30],
            eos_token_ids=frozenset(),
            vocab_limit=11,
            alternatives=50,
        )
    )

    ids = IDS[:30] + [token.id for token in written]
    truth = oracle(model)(torch.tensor([ids]), use_cache=False).logits[0, :, :11].log_softmax(-1)
    for place, token in enumerate(written, start=30):
        named = {other.id: other.logprob for other in token.alternatives}
        assert set(named) == set(range(11))
        assert named[token.id] == pytest.approx(token.logprob, abs=1e-6)
        assert token.logprob == pytest.approx(float(truth[place - 1, token.id]), abs=TOLERANCE)
