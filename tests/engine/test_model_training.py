"""The guide is trained with this very model: gradients have to be right."""

import torch

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM


def test_gradients_equal_those_of_transformers(tiny, random_model, oracle):
    model = random_model(tiny(conv_bias=True)).train().requires_grad_()
    theirs = oracle(random_model(tiny(conv_bias=True))).train().requires_grad_()
    ids = torch.randint(0, 97, (3, 12))
    model(ids, labels=ids).loss.backward()
    theirs(ids, labels=ids).loss.backward()
    expected = {name: weight.grad for name, weight in theirs.named_parameters()}
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_a_few_steps_learn_a_sequence_by_heart(tiny):
    torch.manual_seed(0)
    model = Lfm2ForCausalLM(tiny()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.randint(1, 97, (2, 16))
    for _ in range(40):
        output = model(ids, labels=ids, use_cache=False)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert output.past_key_values is None
    assert output.loss.item() < 0.05


def test_new_weights_have_the_spread_that_the_config_asks_for(tiny):
    torch.manual_seed(0)
    model = Lfm2ForCausalLM(tiny(initializer_range=0.05, tie_word_embeddings=False))
    assert abs(model.model.layers[0].conv.in_proj.weight.std().item() - 0.05) < 0.002
    assert abs(model.lm_head.weight.std().item() - 0.05) < 0.003
    assert torch.equal(model.model.embedding_norm.weight, torch.ones(64))
    assert not model.model.embed_tokens.weight[0].any()


def test_a_tied_head_is_the_embedding_itself(tiny):
    model = Lfm2ForCausalLM(tiny())
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_gradients_reach_new_tokens_on_top_of_a_cache(tiny, random_model):
    model = random_model(tiny()).requires_grad_()
    ids = torch.randint(0, 97, (1, 12))
    cache = HybridCache(model.config)
    with torch.no_grad():
        model(ids[:, :8], past_key_values=cache)
    model(ids[:, 8:], past_key_values=cache).logits.sum().backward()
    assert float(model.model.layers[2].self_attn.k_proj.weight.grad.abs().sum()) > 0
    assert float(model.model.layers[0].conv.in_proj.weight.grad.abs().sum()) > 0
