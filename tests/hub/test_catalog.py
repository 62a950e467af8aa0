from __future__ import annotations

from typing import Any

import pytest

from lfm2chat.errors import ModelNotFoundError
from lfm2chat.hub.catalog import (
    ModelCard,
    catalog,
    find_card,
    is_repository,
    local_name,
    recommended_sampling,
    repository_of,
)

PARAMETERS = {
    "230M": 229_693_184,
    "350M": 354_483_968,
    "700M": 742_489_344,
    "1.2B": 1_170_340_608,
    "2.6B": 2_569_272_320,
}
CARDS = catalog()


def sampling(name: str) -> dict[str, Any]:
    """What differs from 'everything off' in the recommendation for ``name``."""
    found = recommended_sampling(name)
    assert found is not None
    off = {"temperature": 1.0, "min_p": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    return {key: getattr(found, key) for key in off if getattr(found, key) != off[key]}


def test_the_catalogue_knows_the_family_smallest_first():
    names = [card.name for card in CARDS]
    assert len(set(names)) == len(names)
    assert {"LFM2-350M", "LFM2-700M", "LFM2-1.2B", "LFM2-2.6B"} < set(names)
    assert {"LFM2.5-230M", "LFM2.5-350M", "LFM2.5-1.2B-Instruct", "LFM2.5-1.2B-JP"} < set(names)
    parameters = [card.parameters for card in CARDS]
    assert parameters == sorted(parameters)


@pytest.mark.parametrize("card", CARDS, ids=[card.name for card in CARDS])
def test_every_card_is_complete(card: ModelCard):
    assert card.repository == f"LiquidAI/{card.name}"
    assert card.parameters == PARAMETERS[card.name.split("-")[1]]
    assert card.context_tokens == 32_768
    # bf16 weights, and the few megabytes of the tokenizer
    assert 0 < card.download_bytes - 2 * card.parameters < 10_000_000
    assert "US$10 million" in card.licence.condition
    assert card.licence.url.startswith("https://")
    assert {"English", "Japanese"} & set(card.languages)
    assert card.good_for.endswith(".")
    assert not card.note or card.note.endswith(".")
    assert all(prompt.strip() == prompt != "" for prompt in card.system_prompts)
    assert not card.system_prompts or card.note


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (
            ["LFM2-350M", "LFM2-700M", "LFM2-1.2B", "LFM2-2.6B", "LFM2-2.6B-Exp"],
            {"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05},
        ),
        (
            ["LFM2.5-230M", "LFM2.5-350M"],
            {"temperature": 0.1, "top_k": 50, "repetition_penalty": 1.05},
        ),
        (
            ["LFM2.5-1.2B-Instruct", "LFM2.5-1.2B-JP"],
            {"temperature": 0.1, "top_k": 50, "top_p": 0.1, "repetition_penalty": 1.05},
        ),
        (
            ["LFM2.5-1.2B-Thinking"],
            {"temperature": 0.05, "top_k": 50, "repetition_penalty": 1.05},
        ),
        (
            ["LFM2-350M-Extract", "LFM2-350M-ENJP-MT", "LFM2-350M-PII-Extract-JP"],
            {"temperature": 0.0},
        ),
        (["LFM2-1.2B-Extract", "LFM2-1.2B-RAG", "LFM2-1.2B-Tool"], {"temperature": 0.0}),
        (
            ["LFM2-350M-Math"],
            {"temperature": 0.6, "top_p": 0.95, "min_p": 0.1, "repetition_penalty": 1.05},
        ),
    ],
)
def test_each_model_is_sampled_as_its_own_card_recommends(names: list[str], wanted: dict[str, Any]):
    for name in names:
        card = find_card(name)
        assert card is not None
        assert sampling(name) == wanted
        assert recommended_sampling(card.repository) == card.sampling


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("someone/LFM2-350M-finetuned", "LFM2-350M"),
        ("someone/LFM2-350M-Extract-v3", "LFM2-350M-Extract"),
        ("my_lfm2.5_1.2b_thinking", "LFM2.5-1.2B-Thinking"),
        ("LFM2.5-350M-Base", "LFM2.5-350M"),
        ("LFM2-2.6B-Transcript", "LFM2-2.6B"),
        ("mlx-community/LFM2-1.2B-4bit", "LFM2-1.2B"),
        # Of the generation, where the name says no more.
        ("LFM2.5-2.6B", "LFM2.5-1.2B-Instruct"),
        ("LFM2.5-1.2B-Base", "LFM2.5-1.2B-Instruct"),
        ("acme/lfm2-support", "LFM2-350M"),
    ],
)
def test_a_fine_tune_is_sampled_as_the_model_that_its_name_tells_of(name: str, like: str):
    assert find_card(name) is None
    assert sampling(name) == sampling(like)


@pytest.mark.parametrize("name", ["", "mine", "LFM3-1.7B", "alfm2", "LFM25-1B", "lfm2.75", "LFM20"])
def test_a_name_that_tells_nothing_gets_no_recommendation(name: str):
    assert recommended_sampling(name) is None


def test_the_system_prompts_that_a_model_needs_are_given_word_for_word():
    needed = {card.name: card.system_prompts for card in CARDS if card.system_prompts}
    assert needed == {
        "LFM2-350M-ENJP-MT": ("Translate to Japanese.", "Translate to English."),
        "LFM2-350M-PII-Extract-JP": (
            "Extract <address>, <company_name>, <email_address>, <human_name>, <phone_number>",
        ),
    }


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
    assert all(card.name in str(caught.value) for card in CARDS)
    assert "organisation/name" in caught.value.hint
