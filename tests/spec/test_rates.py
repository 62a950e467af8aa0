"""Foretelling is arithmetic, and the published sizes are those of the catalogue."""

from itertools import pairwise

import pytest

from lfm2chat.errors import UsageError
from lfm2chat.hub.catalog import catalog
from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.rates import Rates, head_weights, layer_weights
from lfm2chat.spec.sizes import config_of, published_config, size_names

RATES = Rates(
    decode_layer_s=1e-4,
    bytes_per_s=30e9,
    product_s=4e-12,
    width_s=1e-8,
    layer_weight_bytes=0.5625,
    head_weight_bytes=1.03125,
    base_bytes=280_000_000,
)


def test_every_model_of_the_catalogue_has_a_published_size():
    for card in catalog():
        config = config_of(card.parameters)
        assert config is not None, card.name
        assert config.num_parameters == card.parameters
    assert config_of(12345) is None


@pytest.mark.parametrize("name", ["1.2B", "1.2b", " 1.2B "])
def test_a_size_is_found_in_any_case_of_letters(name):
    assert published_config(name).hidden_size == 2048


def test_an_unknown_size_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="9B") as caught:
        published_config("9B")
    assert all(name in caught.value.hint for name in size_names())


def test_a_token_costs_its_layers_and_every_byte_of_weights():
    config = published_config("350M")
    read = 0.5625 * layer_weights(config) + 1.03125 * head_weights(config)
    told = RATES.foretell(config)
    assert told.decode_tok_s == pytest.approx(1 / (16e-4 + read / 30e9))
    assert told.memory_bytes == pytest.approx(280e6 + read, abs=1)


def test_larger_models_are_foretold_to_be_slower_and_to_take_more_memory():
    told = [RATES.foretell(published_config(size)) for size in size_names()]
    for smaller, larger in pairwise(told):
        assert smaller.prefill_tok_s > larger.prefill_tok_s > 0
        assert smaller.decode_tok_s > larger.decode_tok_s > 0
        assert smaller.memory_bytes < larger.memory_bytes


def test_a_head_of_its_own_is_held_beside_the_embedding_and_read_alone():
    shape = {
        "vocab_size": 1000,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    tied, own = (
        Lfm2Config(**shape, num_key_value_heads=1, tie_word_embeddings=value)
        for value in (True, False)
    )
    assert layer_weights(tied) == layer_weights(own)
    assert RATES.decode_bytes(tied) == RATES.decode_bytes(own)
    more = RATES.foretell(own).memory_bytes - RATES.foretell(tied).memory_bytes
    assert more == pytest.approx(64_000 * 1.03125, abs=1)
