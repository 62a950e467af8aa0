"""Each processor and the whole draw against ``transformers``' own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lfm2chat.engine import Sampler
from lfm2chat.engine.sampling import (
    keep_min_p,
    keep_nucleus,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    process,
)
from lfm2chat.errors import GenerationError, UsageError
from lfm2chat.spec import SamplingParams


def theirs(scores, ids, params):
    """``transformers``' chain in its order; its input is (1, V)."""
    chain = [RepetitionPenaltyLogitsProcessor(params.repetition_penalty)]
    if not params.greedy:
        chain.append(TemperatureLogitsWarper(float(params.temperature)))
        if params.top_k:
            chain.append(TopKLogitsWarper(params.top_k))
        if params.top_p < 1:
            chain.append(TopPLogitsWarper(params.top_p))
        chain.append(MinPLogitsWarper(params.min_p))
    ids, scores = torch.tensor([ids]), scores[None]
    for processor in chain:
        scores = processor(ids, scores)
    return scores[0]


def logits(seed, size=300, spread=3.0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("k", [1, 2, 50, 299, 300, 5000])
def test_top_k_equals_transformers(k):
    assert torch.equal(keep_top_k(logits(k), k), TopKLogitsWarper(k)(None, logits(k)[None])[0])


def test_top_k_keeps_ties_of_the_last():
    kept = keep_top_k(torch.tensor([1.0, 5.0, 3.0, 3.0]), 2)
    assert kept.tolist() == [-math.inf, 5.0, 3.0, 3.0]


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_top_p_equals_transformers(p):
    for seed in range(5):
        scores = logits(seed)
        assert torch.equal(keep_top_p(scores, p), TopPLogitsWarper(p)(None, scores[None])[0])


@pytest.mark.parametrize("spread", [0.5, 3.0, 12.0])
@pytest.mark.parametrize("p", [0.0, 1e-311, 0.1, 0.5, 0.9, 0.999])
def test_top_p_of_a_whole_vocabulary_differs_from_transformers_by_rounding_alone(p, spread):
    scores = logits(2, 65_536, spread)
    ours = keep_nucleus(scores, p) > -math.inf
    theirs = TopPLogitsWarper(p)(None, scores[None])[0] > -math.inf
    apart = scores.softmax(-1)[ours != theirs]
    assert float(apart.sum()) < 1e-5
    assert float(scores.softmax(-1)[ours].sum()) >= p - 1e-5


@pytest.mark.parametrize("min_p", [0.0, 0.05, 0.15, 1.0])
def test_min_p_equals_transformers(min_p):
    for seed in range(5):
        scores = logits(seed)
        expected = MinPLogitsWarper(min_p)(None, scores[None])[0]
        assert torch.equal(keep_min_p(scores, min_p), expected)


def test_repetition_penalty_counts_each_id_once_whatever_its_sign():
    scores = torch.tensor([2.0, -2.0, 1.0, 4.0])
    found = penalise_repetition(scores, torch.tensor([0, 1]), 2.0)
    assert found.tolist() == [1.0, -4.0, 1.0, 4.0]
    again = RepetitionPenaltyLogitsProcessor(2.0)(torch.tensor([[0, 1, 1, 0]]), scores[None])
    assert torch.equal(found, again[0])
    assert scores.tolist() == [2.0, -2.0, 1.0, 4.0]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 1000),
    temperature=st.sampled_from([0.0, 0.1, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 7, 50]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.1]),
    min_p=st.sampled_from([0.0, 0.05, 0.15, 1.0]),
    penalty=st.sampled_from([1.0, 1.05, 2.0, 0.8]),
    ids=st.lists(st.integers(0, 299), min_size=1, max_size=40),
)
def test_the_whole_chain_equals_transformers(  # noqa: PLR0917 - one for each parameter
    seed, temperature, top_k, top_p, min_p, penalty, ids
):
    params = SamplingParams(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=penalty
    )
    scores = logits(seed)
    ours = process(scores, params, torch.tensor(sorted(set(ids))))
    assert torch.equal(ours, theirs(scores, ids, params))


def test_tokens_are_drawn_as_often_as_transformers_chain_says():
    params = SamplingParams(temperature=0.7, min_p=0.02, repetition_penalty=1.1, seed=1)
    scores = logits(0, 65_536, 2.0)
    scores[[3, 500, 65_535]] = torch.tensor([12.0, 11.6, 11.2])
    context, draws = [3, 4, 4], 4000
    wanted = theirs(scores, context, params).softmax(-1)
    counts = torch.zeros(65_536)
    for seed in range(draws):
        sampler = Sampler(
            SamplingParams.from_dict(params.as_dict() | {"seed": seed}),
            context_ids=context,
            vocab_size=65_536,
        )
        token, logprob = sampler.draw(scores)
        counts[token] += 1
    assert logprob == pytest.approx(float(scores.log_softmax(-1)[token]), abs=1e-5)
    possible = wanted > 0
    assert not counts[~possible].any()
    # Chi-squared: with so many degrees of freedom its mean is their number, its variance twice it.
    expected = wanted[possible] * draws
    statistic = float(((counts[possible] - expected) ** 2 / expected).sum())
    freedom = int(possible.sum()) - 1
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.1, 30.0))
def test_what_was_filtered_away_is_never_drawn(seed, spread):
    scores = logits(seed, 300, spread)
    params = SamplingParams(temperature=1.3, top_k=7, top_p=0.8, min_p=0.05, seed=seed)
    token, _ = Sampler(params, context_ids=[], vocab_size=300).draw(scores)
    assert math.isfinite(float(process(scores, params, torch.empty(0, dtype=torch.long))[token]))


def test_the_same_seed_draws_the_same_tokens_and_another_seed_others():
    def drawn(seed):
        params = SamplingParams(temperature=1.0, min_p=0.0, seed=seed)
        sampler = Sampler(params, context_ids=[1], vocab_size=300)
        return [sampler.draw(logits(step))[0] for step in range(20)]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_temperature_0_takes_the_likeliest_after_the_penalty():
    scores = torch.tensor([1.0, 3.0, 2.9])
    plain = SamplingParams(temperature=0.0, repetition_penalty=1.0, seed=0)
    penalised = plain.changed(repetition_penalty=1.5)
    assert Sampler(plain, context_ids=[1], vocab_size=3).draw(scores)[0] == 1
    assert Sampler(penalised, context_ids=[1], vocab_size=3).draw(scores)[0] == 2


def test_drawn_tokens_are_penalised_from_then_on():
    params = SamplingParams(temperature=0.0, repetition_penalty=2.0, seed=0)
    sampler = Sampler(params, context_ids=[], vocab_size=3)
    scores = torch.tensor([1.0, 1.5, 0.9])
    assert [sampler.draw(scores)[0] for _ in range(3)] == [1, 0, 2]


def test_ids_beyond_the_limit_are_never_drawn():
    params = SamplingParams(temperature=5.0, min_p=0.0, seed=1)
    sampler = Sampler(params, context_ids=[250], vocab_size=300, vocab_limit=10)
    scores = torch.zeros(300)
    scores[10:] = 50
    scores[0] = 1
    assert all(sampler.draw(scores)[0] < 10 for _ in range(50))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_logits_that_are_not_finite_end_the_answer(bad, temperature):
    scores = logits(0)
    scores[17] = bad
    params = SamplingParams(temperature=temperature, seed=0)
    with pytest.raises(GenerationError, match="not finite"):
        Sampler(params, context_ids=[1], vocab_size=300).draw(scores)


def test_logits_that_are_all_equal_end_the_answer():
    with pytest.raises(GenerationError, match="equally likely"):
        Sampler(SamplingParams(seed=0), context_ids=[1], vocab_size=300).draw(torch.zeros(300))


def test_a_sampler_without_a_seed_is_refused():
    with pytest.raises(UsageError):
        Sampler(SamplingParams(), context_ids=[1], vocab_size=300)
