"""A packed model, whoever runs it: the same numbers, by every chunk, batch and way back."""

from __future__ import annotations

import pytest
import torch

from lfm2chat.engine import CacheBatch, HybridCache, Lfm2ForCausalLM, Precision, run_packed
from lfm2chat.engine.backends.native import NativeModel
from lfm2chat.engine.backends.native_library import KernelSet, kernel_sets, usable_kernels
from lfm2chat.engine.kernels import choose_precision, kernel_names, unpacked_model
from lfm2chat.engine.packed import PackedModel, pack_model, unsupported
from lfm2chat.errors import CacheError, ContextFullError, UsageError
from lfm2chat.spec import Lfm2Config

LAYERS = ["conv", "conv", "full_attention", "conv", "full_attention", "conv"]
IDS = torch.randint(0, 500, (1, 300), generator=torch.Generator().manual_seed(3))


def config(**changes) -> Lfm2Config:
    values = {
        "vocab_size": 500,
        "hidden_size": 192,
        "intermediate_size": 320,
        "num_hidden_layers": len(LAYERS),
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "layer_types": LAYERS,
        "max_position_embeddings": 512,
        "block_auto_adjust_ff_dim": False,
    }
    return Lfm2Config(**values | changes)


def make_packed(precision: Precision, **changes) -> PackedModel:
    torch.manual_seed(7)
    model = Lfm2ForCausalLM(config(**changes))
    state = model.state_dict()
    return pack_model(model.config, precision, state.__getitem__)


def native(packed: PackedModel, kernels: KernelSet | None = None, threads: int = 2) -> NativeModel:
    return NativeModel(packed, threads=threads, kernels=kernels or usable_kernels()[0])


def cache_of(packed: PackedModel) -> HybridCache:
    return HybridCache(packed.config, dtype=torch.bfloat16)


needs_native = pytest.mark.skipif(not usable_kernels(), reason="no native kernels were built")
each_precision = pytest.mark.parametrize("precision", Precision)


@needs_native
@each_precision
@pytest.mark.parametrize("kernels", kernel_sets(), ids=lambda one: one.name)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"conv_L_cache": 4, "num_attention_heads": 12, "num_key_value_heads": 3},
        {"hidden_size": 128, "num_attention_heads": 1, "num_key_value_heads": 1},
        {"vocab_size": 501, "conv_L_cache": 1, "num_key_value_heads": 6},
    ],
    ids=["plain", "untied", "wide", "one large head", "odd"],
)
def test_the_kernels_give_what_the_packed_weights_stand_for(precision, kernels, changes):
    if not kernels.usable:
        pytest.skip("not this processor")
    packed = make_packed(precision, **changes)
    reference = unpacked_model(packed, torch.float32)
    expected = reference.all_logits(IDS, HybridCache(packed.config))
    logits = native(packed, kernels).all_logits(IDS, cache_of(packed))
    # What is left is activations in 8 bits and keys and values in bf16.
    error = (logits - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt()
    assert float(error) < 0.03


@needs_native
@each_precision
def test_a_tokens_logits_depend_on_no_chunk_bit_for_bit(precision):
    packed = make_packed(precision)
    model = native(packed)
    whole, pieces = cache_of(packed), cache_of(packed)
    expected = model.all_logits(IDS, whole)
    start = 0
    rows = []
    for count in (1, 1, 2, 7, 64, 100, 3, 122):
        rows.append(model.all_logits(IDS[:, start : start + count], pieces))
        start += count
    assert torch.equal(torch.cat(rows, dim=1), expected)
    for one, other in zip(whole.tensors(), pieces.tensors(), strict=True):
        assert torch.equal(one, other)


@needs_native
@each_precision
def test_a_batch_gives_each_row_what_it_gets_alone_bit_for_bit(precision):
    packed = make_packed(precision)
    model = native(packed)
    caches = [cache_of(packed) for _ in range(5)]
    for row, cache in enumerate(caches):
        model.next_logits(IDS[:, row : row + 20 * row + 1], cache)
    alone = [cache.fork(cache.length) for cache in caches]
    ids = IDS[0, 200:215].view(5, 3)
    expected = [model.next_logits(ids[r : r + 1], cache) for r, cache in enumerate(alone)]
    assert torch.equal(model.next_logits(ids, CacheBatch(caches)), torch.cat(expected))
    for cache, twin in zip(caches, alone, strict=True):
        assert all(map(torch.equal, cache.tensors(), twin.tensors()))


@needs_native
@each_precision
def test_going_back_to_any_token_leads_to_the_same_logits_bit_for_bit(precision):
    packed = make_packed(precision)
    model = native(packed)
    cache = cache_of(packed)
    expected = model.all_logits(IDS, cache)
    for length in (250, 131, 64, 3):
        position = cache.rewind(length)
        logits = model.next_logits(IDS[:, position : length + 9], cache)
        assert torch.equal(logits[0], expected[0, length + 8])


@needs_native
def test_any_number_of_threads_gives_the_same_bits():
    packed = make_packed(Precision.INT4)
    one, *others = (
        native(packed, threads=threads).all_logits(IDS, cache_of(packed))
        for threads in (1, 2, 3, 7)
    )
    assert all(torch.equal(one, other) for other in others)


@needs_native
@each_precision
@pytest.mark.parametrize("tokens", [9, 77])
def test_kernels_with_a_fused_multiply_add_give_the_same_products(precision, tokens):
    packed = make_packed(precision, num_hidden_layers=1, layer_types=["conv"])
    fused = [kernels for kernels in usable_kernels() if kernels.name != "plain"]
    logits = [native(packed, one).all_logits(IDS[:, :tokens], cache_of(packed)) for one in fused]
    for other in logits[1:]:
        assert float((other - logits[0]).abs().max()) <= 1e-5 * float(logits[0].abs().max())


@needs_native
def test_a_pass_that_is_stopped_leaves_the_cache_as_it_was():
    packed = make_packed(Precision.INT8)
    model = native(packed)
    cache = cache_of(packed)
    model.next_logits(IDS[:, :50], cache)
    before = [tensor.clone() for tensor in cache.tensors()]
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.next_logits(IDS[:, 50:90], cache, before_layer=stop)
    assert cache.length == 50
    assert all(map(torch.equal, cache.tensors(), before))
    twin = cache_of(packed)
    expected = model.next_logits(IDS[:, :90], twin)
    assert torch.equal(model.next_logits(IDS[:, 50:90], cache), expected)


@needs_native
def test_what_does_not_fit_is_refused_before_anything_is_read():
    packed = make_packed(Precision.INT8)
    model = native(packed)
    cache = cache_of(packed)
    with pytest.raises(UsageError, match="input_ids"):
        model.next_logits(torch.tensor([[500]]), cache)
    with pytest.raises(CacheError):
        model.next_logits(IDS, HybridCache(packed.config))
    with pytest.raises(CacheError):
        model.next_logits(IDS, HybridCache(config(vocab_size=501), dtype=torch.bfloat16))
    quantized = HybridCache(packed.config, dtype=torch.bfloat16, quantized=True)
    with pytest.raises(UsageError, match="bf16"):
        model.next_logits(IDS, quantized)
    with pytest.raises(ContextFullError):
        model.next_logits(IDS.repeat(1, 2), cache)
    assert cache.length == 0


@each_precision
def test_without_native_kernels_torch_runs_the_same_weights(precision, monkeypatch):
    monkeypatch.setenv("LFM2CHAT_KERNELS", "torch")
    assert kernel_names() == ["torch"]
    packed = make_packed(precision)
    model = run_packed(packed, threads=1)
    assert isinstance(model, Lfm2ForCausalLM)
    expected = unpacked_model(packed, torch.float32).all_logits(IDS, HybridCache(packed.config))
    logits = model.all_logits(IDS, HybridCache(packed.config, dtype=model.dtype))
    assert float((logits - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_a_model_that_the_kernels_do_not_know_keeps_its_own_precision():
    odd = config(conv_bias=True)
    assert "bias" in unsupported(odd)
    assert choose_precision("auto", odd, device=torch.device("cpu")) is None
    assert choose_precision("int4", config(), device=torch.device("cpu")) is Precision.INT4
    with pytest.raises(UsageError, match="processor alone"):
        choose_precision("int8", config(), device=torch.device("meta"))
