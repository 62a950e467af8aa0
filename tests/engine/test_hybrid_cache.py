"""What must hold for the cache whatever is done to it, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2chat.engine import HybridCache, Lfm2HybridConvCache
from lfm2chat.errors import CacheError

# Of the logit scale. float64, but norms are rounded to float32 as the oracle rounds them, so a
# difference in the last place may, rarely, become one of 1e-7. A wrong cache makes 1e-2.
EXACT = 1e-6


@pytest.fixture
def model(tiny, random_model):
    return random_model(tiny(num_hidden_layers=4, full_attn_idxs=(1, 3)), dtype=torch.float64)


def new_cache(model, **changes):
    return HybridCache(model.config, dtype=model.dtype, **changes)


def feed(model, cache, ids):
    return model(torch.tensor([ids]), past_key_values=cache).logits[0, -1]


def same(ours, fresh):
    return float((ours - fresh).abs().max() / fresh.abs().max()) < EXACT


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_any_chunking_gives_the_same_logits(model_once, sizes, seed):
    torch.manual_seed(seed)
    ids = torch.randint(0, 97, (1, sum(sizes)))
    whole = model_once(ids, use_cache=False).logits
    cache, start = new_cache(model_once, capacity=1), 0
    for size in sizes:
        part = model_once(ids[:, start : start + size], past_key_values=cache).logits
        assert same(part, whole[:, start : start + size])
        start += size
    assert cache.length == sum(sizes)


@pytest.fixture(scope="module")
def model_once():
    """One model for all examples of a property."""
    from lfm2chat.engine import Lfm2ForCausalLM
    from lfm2chat.spec import Lfm2Config

    config = Lfm2Config(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=96,
        block_multiple_of=16,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        full_attn_idxs=(1, 3),
        conv_L_cache=4,
        conv_bias=True,
    )
    torch.manual_seed(3)
    model = Lfm2ForCausalLM(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(0, 0.3)
    return model.to(torch.float64)


def test_going_back_makes_the_same_numbers_again(model):
    cache = new_cache(model)
    feed(model, cache, [5, 6, 7])
    mark = cache.mark()
    first = feed(model, cache, [8, 9])
    cache.restore(mark)
    assert torch.equal(feed(model, cache, [8, 9]), first)


def test_marks_beyond_a_restored_one_are_dropped_for_good(model):
    cache = new_cache(model)
    feed(model, cache, [1, 2])
    early = cache.mark()
    feed(model, cache, [3, 4])
    late = cache.mark()
    cache.restore(late)
    cache.restore(early)
    feed(model, cache, [5, 6, 7, 8])  # as long again, but with other tokens
    with pytest.raises(CacheError):
        cache.restore(late)
    with pytest.raises(CacheError):
        cache.fork(late)
    cache.restore(early)
    assert cache.length == 2


def test_a_mark_of_another_cache_is_refused(model):
    cache, other = new_cache(model), new_cache(model)
    feed(model, cache, [1, 2])
    feed(model, other, [1, 2])
    mark = other.mark()
    with pytest.raises(CacheError, match="another cache"):
        cache.restore(mark)
    with pytest.raises(CacheError):
        other.fork(mark).restore(mark)


def test_a_fork_and_its_origin_go_separate_ways(model):
    cache = new_cache(model)
    feed(model, cache, [1, 2, 3])
    twin = cache.fork(cache.mark())
    ours, theirs = feed(model, cache, [4]), feed(model, twin, [5])
    assert same(ours, feed(model, new_cache(model), [1, 2, 3, 4]))
    assert same(theirs, feed(model, new_cache(model), [1, 2, 3, 5]))


@pytest.mark.parametrize("layer_that_fails", [0, 1, 2, 3])
def test_a_pass_that_is_stopped_between_layers_leaves_the_cache_whole(model, layer_that_fails):
    cache = new_cache(model, capacity=4)
    feed(model, cache, [1, 2, 3])
    calls = iter(range(9))

    def stop():
        if next(calls) == layer_that_fails:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.next_logits(torch.tensor([[4, 5, 6, 7]]), cache, before_layer=stop)
    assert cache.length == 3
    assert same(feed(model, cache, [8]), feed(model, new_cache(model), [1, 2, 3, 8]))


def whole(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0, -1]


LONG = [(7 * i * i + 3 * i) % 97 for i in range(60)]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 30, 56, 59])
def test_going_back_to_any_token_is_exact(model, length):
    cache = new_cache(model)
    feed(model, cache, LONG)
    position = cache.rewind(length)
    assert max(0, length - cache.reach) == position
    assert (cache.length, cache.position) == (length, position)
    logits = feed(model, cache, [*LONG[position:length], 11, 12])
    assert cache.position == cache.length == length + 2
    assert same(logits, whole(model, [*LONG[:length], 11, 12]))
    assert same(feed(model, cache, [13]), whole(model, [*LONG[:length], 11, 12, 13]))


def test_a_token_less_than_the_reach_is_not_exact(model):
    # The window is as short as it can be: this is what makes the test above mean something.
    cache = new_cache(model)
    feed(model, cache, LONG)
    position = cache.rewind(40)
    cache._position = position + 1
    assert not same(
        feed(model, cache, [*LONG[position + 1 : 40], 11]), whole(model, [*LONG[:40], 11])
    )


def test_sixteen_layers_need_the_last_twenty_tokens_again_and_nineteen_do_not_do(
    tiny, random_model
):
    published = tiny(num_hidden_layers=16, full_attn_idxs=(2, 5, 8, 10, 12, 14))
    model = random_model(published, dtype=torch.float64)
    for name, weight in model.named_parameters():
        if name.endswith("conv.conv.weight"):
            weight.normal_(0, 1)  # as large as trained ones
    expected = whole(model, [*LONG[:40], 11])

    def off(left_out):
        cache = new_cache(model)
        feed(model, cache, LONG)
        assert cache.rewind(40) == 40 - cache.reach == 20
        cache._position += left_out
        logits = feed(model, cache, [*LONG[cache.position : 40], 11])
        return float((logits - expected).abs().max() / expected.abs().max())

    assert off(0) < 1e-12
    assert off(1) > EXACT


def test_a_mark_nearby_spares_the_tokens_before_it(model):
    cache = new_cache(model)
    feed(model, cache, LONG[:38])
    mark = cache.mark()
    feed(model, cache, LONG[38:])
    assert cache.rewind(40) == mark.length == 38
    assert same(feed(model, cache, [*LONG[38:40], 9]), whole(model, [*LONG[:40], 9]))
    cache.restore(mark)
    assert cache.rewind(38) == 38


def test_tokens_read_again_in_pieces_are_as_good(model):
    cache = new_cache(model)
    feed(model, cache, LONG)
    position = cache.rewind(40)
    feed(model, cache, LONG[position : position + 1])
    with pytest.raises(CacheError, match="rewound to 40"):
        cache.mark()
    with pytest.raises(CacheError):
        cache.segment(10)
    again = cache.rewind(40)
    assert again == position + 1
    assert same(feed(model, cache, [*LONG[again:40], 5]), whole(model, [*LONG[:40], 5]))


def test_going_further_back_while_rewound_is_exact_too(model):
    cache = new_cache(model)
    feed(model, cache, LONG)
    cache.rewind(40)
    position = cache.rewind(39)
    assert same(feed(model, cache, [*LONG[position:39], 5]), whole(model, [*LONG[:39], 5]))


def test_no_cache_goes_forward_by_going_back(model):
    cache = new_cache(model)
    feed(model, cache, LONG[:10])
    for length in (11, -1):
        with pytest.raises(CacheError, match="holds 10"):
            cache.rewind(length)
    with pytest.raises(CacheError):
        cache.fork(11)


def test_a_fork_at_any_length_is_exact_and_leaves_the_origin_alone(model):
    cache = new_cache(model)
    feed(model, cache, LONG)
    twin = cache.fork(33)
    ours = feed(model, cache, [1])
    theirs = feed(model, twin, [*LONG[twin.position : 33], 2])
    assert same(ours, whole(model, [*LONG, 1]))
    assert same(theirs, whole(model, [*LONG[:33], 2]))


def test_a_segment_comes_back_without_being_read(model):
    cache = new_cache(model)
    feed(model, cache, LONG)
    segment = cache.segment(20)
    position = cache.rewind(20)
    feed(model, cache, [*LONG[position:20], *range(30)])
    assert cache.splice(segment) == len(LONG)
    assert same(feed(model, cache, [3]), whole(model, [*LONG, 3]))
    assert segment.nbytes > 0


@pytest.mark.parametrize("end", [20, 21, 45])
def test_a_part_of_a_segment_is_spliced_and_read_on(model, end):
    cache = new_cache(model)
    feed(model, cache, LONG)
    segment = cache.segment(20)
    position = cache.rewind(25)
    feed(model, cache, [*LONG[position:25], 1, 2])
    position = cache.splice(segment, end)
    assert same(feed(model, cache, [*LONG[position:end], 3]), whole(model, [*LONG[:end], 3]))


def test_a_segment_that_does_not_fit_is_refused(model, tiny, random_model):
    cache = new_cache(model)
    feed(model, cache, LONG)
    segment = cache.segment(20)
    short = new_cache(model)
    feed(model, short, LONG[:5])
    with pytest.raises(CacheError, match="cannot be spliced"):
        short.splice(segment)
    other = random_model(tiny(num_hidden_layers=4, full_attn_idxs=(0, 2, 3)))
    elsewhere = HybridCache(other.config)
    other(torch.tensor([LONG]), past_key_values=elsewhere)
    with pytest.raises(CacheError, match="another model"):
        elsewhere.splice(segment)


def test_a_row_of_padding_goes_back_exactly_too(model):
    ids = torch.tensor([LONG, [0] * 9 + LONG[:51]])
    mask = (torch.arange(60)[None] >= torch.tensor([[0], [9]])).long()
    cache = new_cache(model, batch_size=2)
    model(ids, attention_mask=mask, past_key_values=cache)
    start = cache.rewind(40)
    again = model(ids[:, start:50], attention_mask=mask[:, :50], past_key_values=cache).logits
    truth = model(ids[:, :50], attention_mask=mask[:, :50], use_cache=False).logits
    assert same(again[:, -10:], truth[:, -10:])


def test_eight_bits_take_half_the_memory_of_bf16_at_a_small_error(tiny, random_model):
    model = random_model(tiny(hidden_size=256, num_hidden_layers=4, full_attn_idxs=(1, 3)))
    exact = HybridCache(model.config)
    small = HybridCache(model.config, quantized=True)
    truth = feed(model, exact, LONG)
    rounded = feed(model, small, LONG)
    for token in (1, 2, 3):
        truth, rounded = feed(model, exact, [token]), feed(model, small, [token])
    error = float((truth - rounded).abs().max() / truth.abs().max())
    assert 0 < error < 0.03
    columns = sum(kept.nbytes for kept in exact._columns.kept)
    head_dim = model.config.head_dim
    ratio = (small.nbytes - columns) / (exact.nbytes - columns)
    assert ratio == pytest.approx((head_dim + 4) / (4 * head_dim))
    position = small.rewind(30)
    again = feed(model, small, [*LONG[position:30], 8])
    fresh = feed(model, HybridCache(model.config, quantized=True), [*LONG[:30], 8])
    assert float((again - fresh).abs().max() / fresh.abs().max()) < 0.03


def test_buffers_grow_in_steps_and_rarely(model):
    cache = new_cache(model, capacity=1)
    capacities = set()
    for _ in range(600):
        feed(model, cache, [1])
        capacities.add(cache.capacity)
    assert len(capacities) <= 4
    assert cache.length == 600
    assert cache.capacity < 1200


def test_nbytes_counts_keys_values_and_columns(tiny):
    config = tiny()  # 2 attention layers of 2 heads of 16; 4 conv layers of 64 x 2
    cache = HybridCache(config, dtype=torch.bfloat16, capacity=500, batch_size=3)
    cache.begin(100)
    for layer in config.conv_layers:
        cache.extend_conv(layer, torch.zeros(3, 64, 100, dtype=torch.bfloat16))
    cache.commit()
    assert cache.nbytes == 3 * 2 * (2 * 2 * 2 * 16 * 100 + 4 * 64 * 2)
    assert cache.mark().nbytes == 3 * 2 * 4 * 64 * 2


def test_a_cache_that_grew_in_inference_mode_is_used_outside_of_it(model):
    cache = new_cache(model, capacity=1)
    model.next_logits(torch.tensor([[1, 2, 3]]), cache)
    model.requires_grad_()
    assert feed(model, cache, [4]).requires_grad


def test_the_documented_name_is_the_same_class():
    assert Lfm2HybridConvCache is HybridCache
