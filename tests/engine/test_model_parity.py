"""Our logits against those of ``transformers``, which is the definition of right."""

import pytest
import torch

from lfm2chat.engine import HybridCache

TOLERANCE = 1e-4  # of the logit scale, float32
TOKENS = 24
SPLITS = ([TOKENS], [9, 15], [1, 23], [5, 2, 13, 4], [1] * TOKENS)


def difference(ours, theirs):
    """Largest difference in units of the largest logit."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def in_chunks(model, ids, sizes, cache=None):
    cache = cache or HybridCache(model.config, batch_size=ids.shape[0], dtype=model.dtype)
    logits, start = [], 0
    for size in sizes:
        logits.append(model(ids[:, start : start + size], past_key_values=cache).logits)
        start += size
    assert cache.length >= ids.shape[1]
    return torch.cat(logits, dim=1)


@pytest.mark.parametrize("seed", range(20))
def test_logits_of_any_configuration_equal_those_of_transformers(
    seed, drawn, random_model, oracle, oracle_run
):
    model = random_model(drawn(seed), seed=seed)
    theirs = oracle(model)
    ids = torch.randint(0, model.config.vocab_size, (2, TOKENS))
    truth = theirs(ids, use_cache=False).logits
    for sizes in SPLITS:
        assert difference(in_chunks(model, ids, sizes), truth) < TOLERANCE
    assert difference(oracle_run(theirs, ids, [9, 15]), truth) < TOLERANCE


@pytest.mark.parametrize("seed", range(0, 20, 3))
def test_logits_after_restore_and_fork_equal_those_of_transformers(
    seed, drawn, random_model, oracle
):
    model = random_model(drawn(seed), seed=seed)
    ids = torch.randint(0, model.config.vocab_size, (1, TOKENS))
    other = torch.randint(0, model.config.vocab_size, (1, TOKENS))
    truth = oracle(model)(ids, use_cache=False).logits
    cache = HybridCache(model.config)
    model(ids[:, :10], past_key_values=cache)
    mark = cache.mark()
    model(other, past_key_values=cache)
    twin = cache.fork(mark)
    cache.restore(mark)
    restored = in_chunks(model, ids[:, 10:], [1, 13], cache)
    forked = in_chunks(model, ids[:, 10:], [6, 8], twin)
    assert difference(restored, truth[:, 10:]) < TOLERANCE
    assert difference(forked, truth[:, 10:]) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_whole_pass_is_bit_for_bit_that_of_transformers(dtype, tiny, random_model, oracle):
    model = random_model(tiny(), dtype=dtype)
    ids = torch.randint(0, 97, (3, 40))
    assert torch.equal(model(ids).logits, oracle(model)(ids).logits)


def test_bfloat16_token_by_token_is_as_close_as_transformers(
    tiny, random_model, oracle, oracle_run
):
    truth_model = random_model(tiny(), dtype=torch.float32)
    model = random_model(tiny(), dtype=torch.bfloat16)
    truth_model.load_state_dict({n: w.float() for n, w in model.state_dict().items()})
    ids = torch.randint(0, 97, (1, TOKENS))
    truth = truth_model(ids).logits
    ours = difference(in_chunks(model, ids, [1] * TOKENS).float(), truth)
    theirs = difference(oracle_run(oracle(model), ids, [1] * TOKENS).float(), truth)
    assert ours < max(2e-2, 1.2 * theirs)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_tokens_equal_those_of_transformers_for_100_steps(seed, tiny, random_model, oracle):
    model = random_model(tiny(), seed=seed)
    theirs = oracle(model)
    ids = torch.randint(0, 97, (1, 5))
    expected = ids.clone()
    for _ in range(100):
        choice = theirs(expected, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(-1)
        expected = torch.cat([expected, choice[:, None]], dim=1)
    cache = HybridCache(model.config)
    found, step = ids, ids
    for _ in range(100):
        step = model.next_logits(step, cache).argmax(-1)[:, None]
        found = torch.cat([found, step], dim=1)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_equals_transformers_and_each_row_alone(side, tiny, random_model, oracle):
    model = random_model(tiny(conv_bias=True))
    ids = torch.randint(1, 97, (3, 20))
    lengths = [20, 13, 1]
    mask = torch.zeros(3, 20, dtype=torch.long)
    for row, length in enumerate(lengths):
        kept = slice(20 - length, 20) if side == "left" else slice(0, length)
        mask[row, kept] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    arguments = {"attention_mask": mask, "position_ids": positions}
    ours, theirs = model(ids, **arguments).logits, oracle(model)(ids, **arguments).logits
    assert torch.isfinite(ours).all()
    assert difference(ours[mask == 1], theirs[mask == 1]) < TOLERANCE
    if side == "right":
        for row, length in enumerate(lengths):
            alone = model(ids[row : row + 1, :length]).logits[0]
            assert difference(ours[row, :length], alone) < TOLERANCE


def test_a_left_padded_batch_of_one_keeps_padding_out_of_the_convolutions(tiny, random_model):
    # transformers up to 5.14 let it leak: dlogit 5.5.
    model = random_model(tiny())
    ids = torch.randint(1, 97, (1, 12))
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.long), ids], dim=1)
    mask = (torch.arange(18) >= 6)[None].long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    ours = model(padded, attention_mask=mask, position_ids=positions).logits[:, 6:]
    assert difference(ours, model(ids).logits) < TOLERANCE


def test_a_left_padded_batch_goes_on_in_chunks(tiny, random_model, oracle):
    model = random_model(tiny())
    ids = torch.randint(1, 97, (2, 20))
    mask = torch.ones(2, 20, dtype=torch.long)
    mask[0, :7] = 0  # the padding reaches into the second chunk
    theirs = oracle(model)(ids, attention_mask=mask).logits
    cache = HybridCache(model.config, batch_size=2)
    parts = [
        model(ids[:, a:b], attention_mask=mask[:, :b], past_key_values=cache).logits
        for a, b in ((0, 5), (5, 19), (19, 20))
    ]
    assert difference(torch.cat(parts, dim=1)[mask == 1], theirs[mask == 1]) < TOLERANCE


def test_hidden_states_are_the_embeddings_each_layer_and_the_normed_last(
    tiny, random_model, oracle
):
    model = random_model(tiny())
    ids = torch.randint(0, 97, (1, 11))
    ours = model(ids, output_hidden_states=True)
    theirs = oracle(model)(ids, output_hidden_states=True)
    assert len(ours.hidden_states) == len(theirs.hidden_states) == 7
    for mine, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert torch.equal(mine, other)
    assert torch.equal(model.lm_head(ours.hidden_states[-1]), ours.logits)


@pytest.mark.parametrize(
    "keep",
    [
        0,
        1,
        4,
        torch.tensor([0, 3, 7]),
        torch.tensor([[0, 1], [5, 7]]),
        torch.arange(16).reshape(2, 8) % 3 == 0,
    ],
    ids=["all", "last", "four", "indices", "per-row", "booleans"],
)
def test_logits_to_keep_chooses_what_transformers_chooses(keep, tiny, random_model, oracle):
    model = random_model(tiny())
    ids = torch.randint(0, 97, (2, 8))
    ours = model(ids, logits_to_keep=keep).logits
    theirs = oracle(model)(ids, logits_to_keep=keep).logits
    assert ours.shape == theirs.shape
    assert difference(ours, theirs) < TOLERANCE


def test_embeddings_may_stand_in_for_ids(tiny, random_model, oracle):
    model = random_model(tiny())
    embeds = torch.randn(2, 9, 64)
    ours = model(inputs_embeds=embeds).logits
    assert difference(ours, oracle(model)(inputs_embeds=embeds).logits) < TOLERANCE


def test_positions_far_out_are_turned_as_transformers_turns_them(tiny, random_model, oracle):
    model = random_model(tiny(max_position_embeddings=128_000))
    ids = torch.randint(0, 97, (1, 16))
    positions = torch.arange(127_984, 128_000)[None]
    ours = model(ids, position_ids=positions).logits
    assert difference(ours, oracle(model)(ids, position_ids=positions).logits) < TOLERANCE


def test_the_loss_equals_that_of_transformers(tiny, random_model, oracle):
    model = random_model(tiny())
    theirs = oracle(model)
    ids = torch.randint(0, 97, (2, 15))
    labels = ids.clone()
    labels[0, :6] = -100
    for arguments in ({}, {"num_items_in_batch": 17}):
        ours = model(ids, labels=labels, **arguments).loss
        other = theirs(ids, labels=labels, **arguments).loss
        assert ours.dtype == torch.float32
        assert float(ours) == pytest.approx(float(other), rel=1e-6)
