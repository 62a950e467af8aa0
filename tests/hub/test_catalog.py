from __future__ import annotations

import pytest

from lfm2chat.errors import ModelNotFoundError
from lfm2chat.hub.catalog import catalog, find_card, is_repository, local_name, repository_of


def test_the_catalogue_knows_the_three_models_smallest_first():
    names = [card.name for card in catalog()]
    assert names == ["LFM2-350M", "LFM2-700M", "LFM2-1.2B"]
    parameters = [card.parameters for card in catalog()]
    assert parameters == [354_483_968, 742_489_344, 1_170_340_608]


def test_every_card_is_complete():
    for card in catalog():
        assert card.repository == f"LiquidAI/{card.name}"
        assert card.context_tokens == 32_768
        # bf16 weights, and the few megabytes of the tokenizer
        assert 0 < card.download_bytes - 2 * card.parameters < 10_000_000
        assert "US$10 million" in card.licence.condition
        assert card.licence.url.startswith("https://")
        assert "English" in card.languages
        assert card.good_for.endswith(".")
        sampling = card.sampling
        assert (sampling.temperature, sampling.min_p) == (0.3, 0.15)
        assert sampling.repetition_penalty == 1.05


@pytest.mark.parametrize("name", ["LFM2-350M", "lfm2-350m", "LIQUIDAI/LFM2-350m", " LFM2-350M "])
def test_a_card_is_found_by_name_or_repository_in_any_case(name: str):
    card = find_card(name)
    assert card is not None
    assert card.name == "LFM2-350M"
    assert repository_of(name) == "LiquidAI/LFM2-350M"


def test_an_unknown_name_is_no_card():
    assert find_card("LFM2-9B") is None


def test_any_repository_may_be_pulled_by_its_full_name():
    assert repository_of("some-org/My.Model_2") == "some-org/My.Model_2"
    assert local_name("some-org/My.Model_2") == "some-org/My.Model_2"
    assert local_name("LiquidAI/LFM2-2.6B") == "LFM2-2.6B"


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../x", "x/..", "a/../b", "a//b", "/etc/passwd", "a/b\n", "a/.b", "a b/c"]
)
def test_what_is_no_repository_is_refused(name: str):
    assert not is_repository(name)


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(ModelNotFoundError) as caught:
        repository_of("LFM2-9B")
    assert "LFM2-350M, LFM2-700M, LFM2-1.2B" in str(caught.value)
    assert "organisation/name" in caught.value.hint
