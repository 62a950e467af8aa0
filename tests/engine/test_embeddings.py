"""Embeddings that are read, replaced and resized; what is saved then, ``transformers`` loads."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Lfm2ForCausalLM as OracleModel

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM
from lfm2chat.errors import CacheError, ConfigError, UsageError

IDS = torch.tensor([[1, 5, 9, 40, 3, 77]])
BOTH = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def assert_saved_for_both(model, folder, ids):
    """What ``model`` writes loads here and in ``transformers`` to the same logits."""
    model.save_pretrained(folder)
    theirs = OracleModel.from_pretrained(folder, dtype="auto")
    ours = Lfm2ForCausalLM.from_pretrained(folder, dtype=model.dtype, device="cpu")
    assert ours.config == model.config
    assert theirs.config.vocab_size == model.config.vocab_size
    expected = model(ids).logits
    assert torch.equal(ours(ids).logits, expected)
    assert torch.equal(theirs(ids).logits, expected)


@BOTH
def test_the_embeddings_are_those_of_the_stack_and_the_head(tied, tiny, random_model):
    model = random_model(tiny(tie_word_embeddings=tied))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert embedding is model.model.get_input_embeddings() is model.model.embed_tokens
    assert head is model.lm_head
    assert (head.weight is embedding.weight) == tied
    assert torch.equal(model(inputs_embeds=embedding(IDS)).logits, model(IDS).logits)


@BOTH
def test_embeddings_that_are_set_are_used_as_in_transformers(
    tied, tiny, random_model, oracle, tmp_path
):
    model = random_model(tiny(tie_word_embeddings=tied))
    theirs = oracle(model)
    head = model.lm_head.weight
    fresh = nn.Embedding(97, 64).requires_grad_(False)
    model.set_input_embeddings(fresh)
    theirs.set_input_embeddings(fresh)
    theirs.tie_weights()
    assert model.get_input_embeddings() is fresh
    assert model.lm_head.weight is (fresh.weight if tied else head)
    assert torch.equal(model(IDS).logits, theirs(IDS).logits)
    assert_saved_for_both(model, tmp_path, IDS)


def test_a_head_that_is_set_is_used(tiny, random_model, tmp_path):
    model = random_model(tiny(tie_word_embeddings=False))
    head = nn.Linear(64, 97, bias=False).requires_grad_(False)
    model.set_output_embeddings(head)
    state = model.model(IDS).last_hidden_state
    assert torch.allclose(model(IDS).logits, head(state))
    assert_saved_for_both(model, tmp_path, IDS)


@BOTH
@pytest.mark.parametrize("shape", [(120, 64), (97, 32)])
def test_a_table_of_another_shape_is_refused_and_nothing_changes(shape, tied, tiny, random_model):
    model = random_model(tiny(tie_word_embeddings=tied))
    logits = model(IDS).logits
    with pytest.raises(UsageError, match="the embedding is"):
        model.set_input_embeddings(nn.Embedding(*shape))
    with pytest.raises(UsageError, match="the head is") as caught:
        model.set_output_embeddings(nn.Linear(*shape[::-1]))
    assert "resize_token_embeddings" in caught.value.hint
    assert torch.equal(model(IDS).logits, logits)


@BOTH
@pytest.mark.parametrize("tokens", [120, 97, 80])
def test_a_resized_vocabulary_keeps_its_rows_and_is_saved(  # noqa: PLR0917 - fixtures
    tokens, tied, tiny, random_model, oracle, tmp_path
):
    model = random_model(tiny(tie_word_embeddings=tied))
    theirs = oracle(random_model(tiny(tie_word_embeddings=tied)))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    logits = model(IDS).logits
    returned = model.resize_token_embeddings(tokens)
    theirs.resize_token_embeddings(tokens)
    kept = min(tokens, 97)
    assert returned is model.get_input_embeddings()
    assert returned.weight.shape == model.lm_head.weight.shape == (tokens, 64)
    assert (returned.num_embeddings, model.lm_head.out_features) == (tokens, tokens)
    assert (model.lm_head.weight is returned.weight) == tied
    assert model.config.vocab_size == model.model.config.vocab_size == tokens
    assert theirs.config.vocab_size == tokens
    for name, weight in model.state_dict().items():
        rows = kept if name in {"model.embed_tokens.weight", "lm_head.weight"} else len(weight)
        assert torch.equal(weight[:rows], before[name][:rows]), name
    assert torch.allclose(model(IDS).logits[..., :kept], logits[..., :kept], atol=1e-5)
    assert torch.allclose(theirs(IDS).logits[..., :kept], logits[..., :kept], atol=1e-5)
    # The rows that are new can be used, and the ones that went cannot.
    assert model(torch.tensor([[1, tokens - 1]])).logits.isfinite().all()
    with pytest.raises(UsageError):
        model(torch.tensor([[1, tokens]]))
    assert_saved_for_both(model, tmp_path, IDS)


def test_new_rows_are_the_mean_of_the_old_ones(tiny, random_model):
    model = random_model(tiny(tie_word_embeddings=False))
    heads = model.lm_head.weight.mean(dim=0)
    embedding = model.resize_token_embeddings(100)
    assert torch.allclose(embedding.weight[97:], embedding.weight[:97].mean(dim=0), atol=1e-6)
    assert torch.allclose(model.lm_head.weight[97:], heads.expand(3, -1), atol=1e-6)


def test_a_size_may_be_rounded_up_or_left_alone(tiny, random_model):
    model = random_model(tiny())
    embedding = model.get_input_embeddings()
    assert model.resize_token_embeddings() is embedding
    assert model.config.vocab_size == 97
    model.resize_token_embeddings(pad_to_multiple_of=64)
    assert model.config.vocab_size == 128
    model.resize_token_embeddings(130, 8)
    assert model.config.vocab_size == 136


def test_a_resized_model_is_still_trained_and_its_old_caches_are_refused(tiny, random_model):
    model = random_model(tiny()).train().requires_grad_()
    cache = HybridCache(model.config)
    model.resize_token_embeddings(110)
    ids = torch.tensor([[5, 109, 6]])
    model(ids, labels=ids).loss.backward()
    assert model.get_input_embeddings().weight.grad[109].any()
    assert model.get_input_embeddings().weight.grad.shape == (110, 64)
    with pytest.raises(CacheError):
        model(ids, past_key_values=cache)


@pytest.mark.parametrize("tokens", [0, -3])
def test_a_vocabulary_of_nothing_is_refused_and_nothing_changes(tokens, tiny, random_model):
    model = random_model(tiny())
    with pytest.raises((UsageError, ConfigError)) as caught:
        model.resize_token_embeddings(tokens)
    assert caught.value.hint
    assert model.config.vocab_size == 97
    assert model(IDS).logits.shape == (1, 6, 97)


def test_a_vocabulary_without_its_padding_token_is_refused(tiny, random_model):
    model = random_model(tiny(pad_token_id=90))
    with pytest.raises(ConfigError):
        model.resize_token_embeddings(80)
    assert model(IDS).logits.shape == (1, 6, 97)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_precision_is_saved_for_both(dtype, tied, tiny, random_model, tmp_path):
    model = random_model(tiny(tie_word_embeddings=tied, conv_bias=True), dtype=dtype)
    assert_saved_for_both(model, tmp_path, IDS)
    saved = load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {dtype}
    assert ("lm_head.weight" in saved) != tied


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_several_files_of_every_precision_load_tied_and_untied(  # noqa: PLR0917 - fixtures
    dtype, tied, tiny, random_model, oracle, tmp_path
):
    model = random_model(tiny(tie_word_embeddings=tied), dtype=dtype)
    oracle(model).save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert (tmp_path / "model.safetensors.index.json").exists()
    ours = Lfm2ForCausalLM.from_pretrained(tmp_path, dtype=dtype, device="cpu")
    assert (ours.dtype, ours.device.type) == (dtype, "cpu")
    assert torch.equal(ours(IDS).logits, model(IDS).logits)
    # Saved again into the same folder, the one file counts.
    ours.resize_token_embeddings(99)
    assert_saved_for_both(ours, tmp_path, IDS)
