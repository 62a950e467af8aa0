"""Wrong input is refused with a sentence, before anything is computed or changed."""

import pytest
import torch
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import HybridCache
from lfm2chat.errors import CacheError, UsageError

IDS = torch.tensor([[1, 2, 3]])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one"),
        ({"input_ids": IDS, "inputs_embeds": torch.zeros(1, 3, 64)}, "exactly one"),
        ({"input_ids": torch.tensor([[1, 97]])}, "expected 0 to 96"),
        ({"input_ids": torch.tensor([[-1, 2]])}, "run from -1"),
        ({"input_ids": torch.tensor([1, 2])}, "input_ids is"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "not empty"),
        ({"input_ids": torch.zeros(1, 3)}, "whole numbers"),
        ({"inputs_embeds": torch.zeros(1, 3, 63)}, "inputs_embeds is"),
        ({"input_ids": IDS, "attention_mask": torch.ones(1, 2)}, "attention_mask is (1, 2)"),
        ({"input_ids": IDS, "position_ids": torch.tensor([[0, 1]])}, "position_ids is"),
    ],
)
def test_wrong_input_is_refused_with_a_sentence(arguments, says, tiny, random_model):
    model = random_model(tiny())
    with pytest.raises(UsageError) as caught:
        model(**arguments)
    assert says in str(caught.value)
    assert caught.value.hint


def test_a_cache_that_does_not_fit_is_refused(tiny, random_model):
    model = random_model(tiny())
    unfit = {
        "another model": HybridCache(tiny(num_hidden_layers=5)),
        "float64": HybridCache(model.config, dtype=torch.float64),
        "(batch, dtype, device) (2": HybridCache(model.config, batch_size=2),
        "DynamicCache": DynamicCache(),
        "tuple": ((torch.zeros(1), torch.zeros(1)),),
    }
    for says, cache in unfit.items():
        with pytest.raises(CacheError) as caught:
            model(IDS, past_key_values=cache)
        assert says in str(caught.value)


def test_cache_position_must_go_on_where_the_cache_ends(tiny, random_model):
    model = random_model(tiny())
    cache = HybridCache(model.config)
    model(IDS, past_key_values=cache, cache_position=torch.arange(3))
    model(IDS, past_key_values=cache, cache_position=torch.arange(3, 6))
    with pytest.raises(CacheError):
        model(IDS, past_key_values=cache, cache_position=torch.arange(3, 6))
    assert cache.length == 6


def test_use_cache_decides_whether_a_cache_comes_back(tiny, random_model):
    model = random_model(tiny())
    assert model(IDS).past_key_values.length == 3
    assert model(IDS, use_cache=False).past_key_values is None
    assert random_model(tiny(use_cache=False))(IDS).past_key_values is None
