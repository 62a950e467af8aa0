"""The parameters of sampling: the seeds of several answers to the same."""

import pytest

from lfm2chat.spec import SamplingParams
from lfm2chat.spec.sampling import MAX_SEED


@pytest.mark.parametrize(("seed", "place", "own"), [(7, 0, 7), (7, 3, 10), (MAX_SEED, 2, 1)])
def test_each_of_several_answers_has_a_seed_that_follows_from_the_locked_one(seed, place, own):
    assert SamplingParams(seed=seed).for_sibling(place) == SamplingParams(seed=own)


def test_without_a_seed_each_answer_draws_its_own():
    assert SamplingParams().for_sibling(3).seed is None
