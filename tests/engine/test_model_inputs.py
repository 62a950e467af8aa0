"""Wrong input is refused with a sentence, before anything is computed or changed."""

import pytest
import torch
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import HybridCache
from lfm2chat.errors import CacheError, UsageError

IDS = torch.tensor([[1, 2, 3]])


WRONG = {
    "neither": ({}, "exactly one"),
    "both": ({"input_ids": IDS, "inputs_embeds": torch.zeros(1, 3, 64)}, "exactly one"),
    "id too high": ({"input_ids": torch.tensor([[1, 97]])}, "expected 0 to 96"),
    "id too low": ({"input_ids": torch.tensor([[-1, 2]])}, "run from -1"),
    "one row of ids": ({"input_ids": torch.tensor([1, 2])}, "input_ids is"),
    "a list": ({"input_ids": [[1, 2, 3]]}, "input_ids is a list"),
    "no ids": ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "not empty"),
    "broken ids": ({"input_ids": torch.zeros(1, 3)}, "whole numbers"),
    "bytes": ({"input_ids": torch.ones(1, 3, dtype=torch.uint8)}, "whole numbers"),
    "complex ids": ({"input_ids": torch.ones(1, 3, dtype=torch.complex64)}, "whole numbers"),
    "narrow embeds": ({"inputs_embeds": torch.zeros(1, 3, 63)}, "inputs_embeds is"),
    "flat embeds": ({"inputs_embeds": torch.zeros(3, 64)}, "inputs_embeds is"),
    "no embeds": ({"inputs_embeds": torch.zeros(1, 0, 64)}, "not empty"),
    "embeds of another precision": (
        {"inputs_embeds": torch.zeros(1, 3, 64, dtype=torch.float64)},
        "torch.float32",
    ),
    "short mask": ({"attention_mask": torch.ones(1, 2)}, "attention_mask is (1, 2)"),
    "long mask": ({"attention_mask": torch.ones(1, 4)}, "attention_mask is (1, 4)"),
    "mask of more rows": ({"attention_mask": torch.ones(2, 3)}, "attention_mask is (2, 3)"),
    "flat mask": ({"attention_mask": torch.ones(3)}, "attention_mask is (3,)"),
    "mask of three sides": ({"attention_mask": torch.ones(1, 3, 3)}, "attention_mask is"),
    "a mask's list": ({"attention_mask": [[1, 1, 1]]}, "attention_mask is a list"),
    "wide 4-D mask": (
        {"attention_mask": torch.ones(1, 1, 3, 4, dtype=torch.bool)},
        "expected (1, 4 or 1, 3, 3)",
    ),
    "4-D mask of other heads": (
        {"attention_mask": torch.ones(1, 3, 3, 3, dtype=torch.bool)},
        "expected (1, 4 or 1, 3, 3)",
    ),
    "4-D mask of more rows": (
        {"attention_mask": torch.ones(2, 1, 3, 3, dtype=torch.bool)},
        "expected (1, 4 or 1, 3, 3)",
    ),
    "4-D mask of whole numbers": (
        {"attention_mask": torch.ones(1, 1, 3, 3, dtype=torch.long)},
        "torch.int64",
    ),
    "few positions": ({"position_ids": torch.tensor([[0, 1]])}, "position_ids is"),
    "flat positions": ({"position_ids": torch.tensor([0, 1, 2])}, "position_ids is"),
    "broken positions": ({"position_ids": torch.tensor([[0.0, 1.0, 2.0]])}, "whole numbers"),
    "positions of more rows": ({"position_ids": torch.zeros(2, 3).long()}, "position_ids is"),
    "a position's list": ({"position_ids": [[0, 1, 2]]}, "position_ids is a list"),
    "a position too far": ({"position_ids": torch.tensor([[0, 1, 4096]])}, "0 to 4095"),
    "a position too low": ({"position_ids": torch.tensor([[-1, 0, 1]])}, "from -1"),
    "few labels": ({"labels": torch.tensor([[1, 2]])}, "labels are (1, 2)"),
    "labels the other way": ({"labels": torch.tensor([[1], [2], [3]])}, "labels are (3, 1)"),
    "labels of fewer logits": ({"labels": IDS, "logits_to_keep": 2}, "logits (1, 2, 97)"),
    "a label too high": ({"labels": torch.tensor([[1, 97, 2]])}, "labels run"),
    "a label too low": ({"labels": torch.tensor([[1, -1, 2]])}, "labels run"),
    "broken labels": ({"labels": torch.zeros(1, 3)}, "whole numbers"),
    "a negative count": ({"logits_to_keep": -1}, "logits_to_keep is -1"),
    "an index too high": ({"logits_to_keep": torch.tensor([0, 3])}, "from 0 to 3"),
    "an index too low": ({"logits_to_keep": torch.tensor([[-4]])}, "from -4 to -4"),
    "broken indices": ({"logits_to_keep": torch.tensor([0.0])}, "logits_to_keep is"),
    "booleans of another shape": (
        {"logits_to_keep": torch.ones(1, 2, dtype=torch.bool)},
        "logits_to_keep is",
    ),
    "indices of more rows": ({"logits_to_keep": torch.zeros(2, 1).long()}, "logits_to_keep is"),
    "a cube of indices": ({"logits_to_keep": torch.zeros(1, 1, 1).long()}, "logits_to_keep is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_with_a_sentence(name, tiny, random_model):
    model = random_model(tiny())
    arguments, says = WRONG[name]
    if not {"input_ids", "inputs_embeds"} & set(arguments) and name != "neither":
        arguments = {"input_ids": IDS} | arguments
    cache = HybridCache(model.config)
    with pytest.raises(UsageError) as caught:
        model(past_key_values=cache, **arguments)
    assert says in str(caught.value)
    assert caught.value.hint


def test_what_is_refused_before_the_layers_leaves_the_cache_as_it_was(tiny, random_model):
    model = random_model(tiny())
    cache = HybridCache(model.config)
    model(IDS, past_key_values=cache)
    wrong = (
        {"attention_mask": torch.ones(1, 3)},
        {"position_ids": torch.tensor([[0, 1, 9999]])},
        {"labels": torch.tensor([[1, 2]])},
        {"logits_to_keep": torch.tensor([3])},
    )
    for arguments in wrong:
        with pytest.raises(UsageError):
            model(IDS, past_key_values=cache, **arguments)
        assert cache.length == 3
    assert model(IDS, attention_mask=torch.ones(1, 6), past_key_values=cache).logits.numel()


def test_a_token_beyond_the_models_last_position_is_refused(tiny, random_model):
    model = random_model(tiny(max_position_embeddings=8))
    ids = torch.randint(0, 97, (1, 9))
    with pytest.raises(UsageError, match="the model knows 0 to 7"):
        model(ids)
    cache = HybridCache(model.config)
    model(ids[:, :8], past_key_values=cache)
    with pytest.raises(UsageError, match="positions run from 8 to 8"):
        model(ids[:, 8:], past_key_values=cache)
    assert cache.length == 8


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_may_be_whole_numbers_of_either_usual_size(dtype, tiny, random_model):
    model = random_model(tiny())
    assert torch.equal(model(IDS.to(dtype)).logits, model(IDS).logits)


@pytest.mark.parametrize("tokens", [1, 3])
def test_numbers_to_add_may_have_another_precision_than_the_model(tokens, tiny, random_model):
    model = random_model(tiny(), dtype=torch.bfloat16)
    ids = IDS[:, :tokens]
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()[None, None]
    added = torch.zeros(mask.shape, dtype=torch.float32).masked_fill(~mask, -1e30)
    with_booleans = model(ids, attention_mask=mask).logits
    for weights in (False, True):
        logits = model(ids, attention_mask=added, output_attentions=weights).logits
        assert torch.allclose(logits, with_booleans, atol=0.05)


def test_a_cache_that_does_not_fit_is_refused(tiny, random_model):
    model = random_model(tiny())
    unfit = {
        "another model": HybridCache(tiny(num_hidden_layers=5)),
        "float64": HybridCache(model.config, dtype=torch.float64),
        "(batch, dtype, device) (2": HybridCache(model.config, batch_size=2),
        "'meta'": HybridCache(model.config, device="meta"),
        "DynamicCache": DynamicCache(),
        "tuple": ((torch.zeros(1), torch.zeros(1)),),
    }
    for says, cache in unfit.items():
        with pytest.raises(CacheError) as caught:
            model(IDS, past_key_values=cache)
        assert says in str(caught.value)
        assert caught.value.hint


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
