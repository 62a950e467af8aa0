"""What ``forward`` takes and gives, by the documented names, places and switches."""

import pytest
import torch

from lfm2chat.engine import HybridCache, Lfm2HybridConvCache

IDS = torch.tensor([[5, 1, 90, 44, 3, 17, 60, 2]])
STATES_AND_WEIGHTS = {"output_hidden_states": True, "output_attentions": True}


def difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_outputs_answer_by_name_key_place_and_slice(tiny, random_model):
    outputs = random_model(tiny())(IDS, labels=IDS, **STATES_AND_WEIGHTS)
    names = ["loss", "logits", "past_key_values", "hidden_states", "attentions"]
    assert list(outputs) == list(outputs.keys()) == names
    assert len(outputs) == 5
    for place, name in enumerate(names):
        assert outputs[place] is outputs[name] is getattr(outputs, name)
    assert [type(part) for part in outputs[1:3]] == [torch.Tensor, HybridCache]
    assert outputs[-1] is outputs.attentions
    assert "loss" in outputs
    assert all(mine is other for mine, other in zip(outputs.to_tuple(), outputs[:], strict=True))


def test_what_was_not_asked_for_is_none_and_has_no_place(tiny, random_model):
    outputs = random_model(tiny())(IDS, use_cache=False)
    assert list(outputs) == ["logits"]
    assert outputs[0] is outputs.logits
    for name in ("loss", "past_key_values", "hidden_states", "attentions"):
        assert getattr(outputs, name) is None
        assert name not in outputs
        with pytest.raises(KeyError):
            outputs[name]
    with pytest.raises(IndexError):
        outputs[1]


def test_a_tuple_is_what_is_there_in_the_documented_order(tiny, random_model):
    model = random_model(tiny())
    whole = model(IDS, labels=IDS, return_dict=False, **STATES_AND_WEIGHTS)
    assert type(whole) is tuple
    assert [type(part) for part in whole] == [torch.Tensor, torch.Tensor, HybridCache, tuple, tuple]
    assert whole[0].ndim == 0
    assert whole[1].shape == (1, 8, 97)
    assert [len(part) for part in whole[3:]] == [7, 2]
    assert len(model(IDS, use_cache=False, return_dict=False)) == 1
    state, cache = model.model(IDS, return_dict=False)
    assert (state.shape, cache.length) == ((1, 8, 64), 8)


def test_the_configs_switches_hold_where_the_call_says_nothing(tiny, random_model):
    config = tiny(use_cache=False, return_dict=False, **STATES_AND_WEIGHTS)
    model = random_model(config)
    logits, states, weights = model(IDS)
    assert (logits.shape, len(states), len(weights)) == ((1, 8, 97), 7, 2)
    state, states, weights = model.model(IDS)
    assert states[-1] is state
    said = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}
    outputs = model(IDS, use_cache=True, **said)
    assert list(outputs) == ["logits", "past_key_values"]
    # What generates and what reads ahead wants logits, whatever the config says.
    cache = HybridCache(config)
    assert difference(model.next_logits(IDS, cache)[0], logits[0, -1]) < 1e-5


def test_every_argument_may_stand_in_its_documented_place(tiny, random_model):
    model = random_model(tiny())
    ones, places = torch.ones_like(IDS), torch.arange(8)
    cache = HybridCache(model.config)
    outputs = model(IDS, ones, places[None], cache, None, None, True, places, 3)
    expected = model(IDS)
    assert outputs.past_key_values is cache
    assert outputs.logits.shape == (1, 3, 97)
    assert difference(outputs.logits, expected.logits[:, -3:]) < 1e-5
    embeds = model.model.embed_tokens(IDS)
    losses = [model(None, None, None, None, embeds, IDS).loss, model(IDS, labels=IDS).loss]
    assert torch.equal(*losses)


def test_the_cache_has_its_documented_name_and_length(tiny, random_model):
    model = random_model(tiny())
    cache = Lfm2HybridConvCache(model.config)
    first = model(IDS[:, :5], past_key_values=cache)
    assert first.past_key_values is cache
    assert cache.get_seq_length() == 5
    model(IDS[:, 5:], past_key_values=cache, use_cache=False)  # a cache that is given is used
    assert cache.get_seq_length() == 8


@pytest.mark.parametrize("shape", [(1, 8), (2, 8)])
def test_no_position_at_all_may_be_kept(shape, tiny, random_model, oracle):
    model = random_model(tiny())
    ids = torch.randint(0, 97, shape)
    nothing = torch.zeros(shape, dtype=torch.bool)
    logits = model(ids, logits_to_keep=nothing).logits
    assert logits.shape == oracle(model)(ids, logits_to_keep=nothing).logits.shape == (0, 97)


PACKED = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0], [4, 5, 6, 7, 8, 20, 21, 22]])


@pytest.mark.parametrize("weights", [True, False], ids=["eager", "fused"])
@pytest.mark.parametrize("rows", [1, 2])
def test_positions_that_jump_pack_several_sequences_as_in_transformers(  # noqa: PLR0917
    rows, weights, tiny, random_model, oracle, monkeypatch
):
    model = random_model(tiny())
    theirs = oracle(model)
    if weights:
        theirs.set_attn_implementation("eager")
    arguments = {"position_ids": PACKED[:rows], "use_cache": False, "output_attentions": weights}
    ids = torch.randint(0, 97, (2, 8))
    truth = theirs(ids, **arguments).logits
    assert difference(model(ids, **arguments).logits, truth) < 1e-5
    # In blocks of one row of the mask, too.
    monkeypatch.setattr("lfm2chat.engine.attention.MASK_ELEMENTS", 1)
    assert difference(model(ids, **arguments).logits, truth) < 1e-5


def test_packed_sequences_without_convolutions_are_each_as_if_alone(tiny, random_model):
    model = random_model(tiny(full_attn_idxs=None))
    packed = model(IDS, position_ids=PACKED[:1], use_cache=False).logits
    for first, last in ((0, 3), (3, 7), (7, 8)):
        assert difference(packed[:, first:last], model(IDS[:, first:last]).logits) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_asking_for_the_weights_of_a_padded_batch_changes_no_logits(dtype, tiny, random_model):
    # In float64 the oracle's hidden scores are infinite in its softmax, and padding is no number.
    model = random_model(tiny(), dtype=dtype)
    mask = torch.ones(2, 8, dtype=torch.long)
    mask[0, :3] = 0
    ids = IDS.repeat(2, 1)
    plain = model(ids, attention_mask=mask).logits
    weighed = model(ids, attention_mask=mask, output_attentions=True)
    assert weighed.logits.isfinite().all()
    real = mask == 1
    tolerance = 10 * torch.finfo(dtype).eps if dtype.itemsize < 4 else 1e-5
    assert difference(weighed.logits[real], plain[real]) < tolerance
    for weights in weighed.attentions:
        sums = weights.double().sum(-1)
        assert torch.allclose(sums, torch.ones_like(sums), atol=tolerance)
        assert not weights[0, :, 3:, :3].any()
