"""Gradients beside those of ``transformers``: of padded batches, packed rows, on top of a cache."""

import pytest
import torch
from transformers.cache_utils import DynamicCache

from lfm2chat.engine import HybridCache

MASKS = {
    "none": None,
    "left": torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [1] * 12, [0, *[1] * 11]]),
    "right": torch.tensor([[1] * 12, [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], [*[1] * 11, 0]]),
}


@pytest.fixture
def pair(tiny, random_model, oracle):
    """A model and the oracle with weights of their own, equal ones, that record gradients."""

    def make(**changes):
        config = tiny(**changes)
        model = random_model(config, dtype=torch.float64)
        theirs = oracle(random_model(config, dtype=torch.float64))
        return model.train().requires_grad_(), theirs.train().requires_grad_()

    return make


def assert_same_gradients(model, theirs, *, tolerance=1e-5):
    expected = {name: weight.grad for name, weight in theirs.named_parameters()}
    names = [name for name, _ in model.named_parameters()]
    assert sorted(names) == sorted(expected)
    for name, weight in model.named_parameters():
        if expected[name] is None:
            assert weight.grad is None or not weight.grad.any(), name
            continue
        scale = float(expected[name].abs().max()) or 1.0
        assert float((weight.grad - expected[name]).abs().max()) / scale < tolerance, name


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("side", MASKS)
def test_all_parameters_of_a_padded_batch_get_the_gradients_of_transformers(side, tied, pair):
    model, theirs = pair(conv_bias=True, tie_word_embeddings=tied)
    ids, mask = torch.randint(0, 97, (3, 12)), MASKS[side]
    labels = ids if mask is None else ids.masked_fill(mask == 0, -100)
    for each in (model, theirs):
        each(ids, attention_mask=mask, labels=labels).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert_same_gradients(model, theirs)


def test_packed_rows_get_the_gradients_of_transformers(pair):
    model, theirs = pair()
    ids = torch.randint(0, 97, (2, 9))
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 0, 1, 2]])
    for each in (model, theirs):
        each(ids, position_ids=positions, use_cache=False, labels=ids).loss.backward()
    assert_same_gradients(model, theirs)


def test_gradients_that_flow_through_the_attention_weights_are_those_of_transformers(pair):
    model, theirs = pair()
    theirs.set_attn_implementation("eager")
    ids, mask = torch.randint(0, 97, (3, 12)), MASKS["right"]
    for each in (model, theirs):
        outputs = each(ids, attention_mask=mask, output_attentions=True, output_hidden_states=True)
        sum(part.square().sum() for part in outputs.attentions + outputs.hidden_states).backward()
    assert_same_gradients(model, theirs)


TRAINED = {
    "all": "",
    "queries": "q_proj",
    "keys": "k_proj",
    "values": "v_proj",
    "convolutions": "conv.in_proj",
    "head": "lm_head",
}


@pytest.mark.parametrize("new_tokens", [8, 1])
@pytest.mark.parametrize("trained", TRAINED)
def test_new_tokens_on_top_of_a_cache_give_the_gradients_of_transformers(
    trained, new_tokens, pair, cache_argument
):
    # One kind of weight may be trained alone, as adapters are.
    model, theirs = pair(tie_word_embeddings=False, full_attn_idxs=(0, 4))
    ids, new = torch.randint(0, 97, (2, 6)), torch.randint(0, 97, (2, new_tokens))
    ours = HybridCache(model.config, batch_size=2, dtype=torch.float64)
    others = DynamicCache(config=theirs.config)
    for each, arguments in (
        (model, {"past_key_values": ours}),
        (theirs, {cache_argument: others}),
    ):
        for name, weight in each.named_parameters():
            weight.requires_grad_(TRAINED[trained] in name)
        with torch.no_grad():
            each(ids, **arguments)
        each(new, **arguments).logits.square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.parameters())
    assert_same_gradients(model, theirs)


def test_embeddings_that_are_given_get_the_gradients_of_transformers(pair):
    model, theirs = pair()
    given = [torch.randn(2, 7, 64, dtype=torch.float64).requires_grad_() for _ in range(2)]
    given[1].data.copy_(given[0].data)
    for each, embeds in zip((model, theirs), given, strict=True):
        each(inputs_embeds=embeds).logits.square().sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-6, atol=1e-8)


def test_what_was_read_without_gradients_in_any_way_can_be_trained_on(pair):
    # Reading ahead runs in torch's inference mode, whose tensors autograd may not keep.
    model, _ = pair()
    ids, new = torch.randint(0, 97, (1, 9)), torch.randint(0, 97, (1, 5))
    plain = HybridCache(model.config, dtype=torch.float64)
    with torch.no_grad():
        model(ids, past_key_values=plain)
    model(new, labels=new, past_key_values=plain).loss.backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    read = HybridCache(model.config, dtype=torch.float64)
    model.next_logits(ids, read)
    with torch.inference_mode():
        mark = read.mark()
        forked = read.fork(mark)
    read.restore(mark)
    for cache in (read, forked):
        model.zero_grad()
        model(new, labels=new, past_key_values=cache).loss.backward()
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight.grad, expected[name], rtol=1e-6, atol=1e-9)


def test_training_in_mixed_precision_gives_the_gradients_of_transformers(
    tiny, random_model, oracle
):
    model = random_model(tiny()).train().requires_grad_()
    theirs = oracle(random_model(tiny())).train().requires_grad_()
    ids, mask = torch.randint(0, 97, (3, 12)), MASKS["left"]
    for each in (model, theirs):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = each(ids, attention_mask=mask, labels=ids).loss
        loss.backward()
    assert_same_gradients(model, theirs, tolerance=2e-2)
