"""Measuring: made-up models run, every figure is a positive number, rates say what was timed."""

import math

import pytest
import torch

from lfm2chat.engine import HybridCache, Precision, run_packed
from lfm2chat.engine.kernels import kernel_names, unpacked_model
from lfm2chat.engine.measure import Stopwatch, peak_memory_bytes, read_bytes_per_s
from lfm2chat.engine.packed import buffer_bytes
from lfm2chat.engine.quantize import unpack
from lfm2chat.engine.random_weights import SPREAD, random_packed, random_plain
from lfm2chat.engine.rates import RateTrial, _fit, cut_down_models
from lfm2chat.errors import ContextFullError, NotEnoughMemoryError, UsageError
from lfm2chat.spec.rates import head_weights, layer_weights
from lfm2chat.spec.sizes import published_config

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 7, 11, 13, 17]])


@pytest.fixture
def shapes(tiny):
    return (
        tiny(hidden_size=128, head_dim=32),
        tiny(hidden_size=256, head_dim=64, num_hidden_layers=3, full_attn_idxs=(1,)),
    )


@pytest.mark.parametrize("precision", Precision)
def test_a_packed_model_of_random_bytes_gives_finite_logits_like_the_plain_one(precision, tiny):
    packed = random_packed(tiny(hidden_size=128, head_dim=32), precision)
    model = run_packed(packed, threads=1)
    logits = model.next_logits(IDS, HybridCache(packed.config, dtype=model.dtype))
    assert logits.isfinite().all()
    assert float(logits.std()) > 0
    plain = unpacked_model(packed, torch.float32)
    wanted = plain.next_logits(IDS, HybridCache(packed.config, dtype=torch.float32))
    assert float((logits - wanted).abs().max()) < 0.1 * float(wanted.abs().max())


@pytest.mark.parametrize("precision", Precision)
def test_random_weights_are_as_large_as_trained_ones(precision, tiny):
    packed = random_packed(tiny(hidden_size=256), precision)
    for name in ("embedding", "0.in", "2.in", "0.gate_up", "5.down"):
        numbers = unpack(packed.matrix(name))
        assert float(numbers.std()) == pytest.approx(SPREAD, rel=0.1)
        assert abs(float(numbers.mean())) < 0.2 * SPREAD  # 4 bits reach from -8 to 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plain_model_of_random_numbers_gives_finite_logits(dtype, tiny):
    model = random_plain(tiny(), dtype, CPU)
    logits = model.next_logits(IDS, HybridCache(model.config, dtype=dtype))
    assert logits.isfinite().all()
    assert float(logits.std()) > 0


def test_random_weights_that_do_not_fit_are_refused_before_any_memory_is_taken(tiny):
    huge = tiny(hidden_size=16_384, vocab_size=2**20, num_hidden_layers=128, head_dim=64)
    with pytest.raises(NotEnoughMemoryError):
        random_packed(huge, Precision.INT8)
    with pytest.raises(NotEnoughMemoryError):
        random_plain(huge, torch.float32, CPU)


def test_the_stopwatch_gives_seconds_for_reading_writing_and_the_first_token(tiny):
    clock = Stopwatch(random_plain(tiny(), torch.float32, CPU))
    for seconds in (clock.prefill_s(300), clock.decode_s(3, past=5), clock.first_token_s(4)):
        assert 0 < seconds < math.inf


def test_nothing_can_be_read_and_nothing_beyond_the_models_positions(tiny):
    clock = Stopwatch(random_plain(tiny(max_position_embeddings=16), torch.float32, CPU))
    with pytest.raises(UsageError):
        clock.prefill_s(0)
    with pytest.raises(ContextFullError):
        clock.prefill_s(17)
    with pytest.raises(ContextFullError):
        clock.decode_s(16, past=1)


def test_memory_is_read_at_some_speed_and_has_a_peak():
    assert read_bytes_per_s(1, size=2**22, repetitions=2) > 0
    before = peak_memory_bytes()
    if before is None:
        pytest.skip("this system does not tell")
    held = torch.ones(2**25, dtype=torch.uint8)
    assert peak_memory_bytes() >= before
    assert peak_memory_bytes() > held.numel()


def test_rates_foretell_the_models_that_they_were_measured_on(shapes):
    trial = RateTrial("float32", threads=1, models=shapes)
    for _ in range(3):
        trial.round()
    rates = trial.rates(base_bytes=1000)
    assert trial.nbytes == sum(round(rates.decode_bytes(config)) for config in shapes)
    for config in shapes:
        told = rates.foretell(config)
        assert told.prefill_tok_s > 0
        assert told.decode_tok_s > 0
        assert told.memory_bytes >= 1000 + 4 * layer_weights(config)


@pytest.mark.skipif(kernel_names() == ["torch"], reason="no native kernels were built")
@pytest.mark.parametrize("precision", Precision)
def test_packed_rates_count_the_bytes_that_are_packed(precision, tiny):
    shapes = [tiny(hidden_size=width, vocab_size=128) for width in (128, 256)]
    trial = RateTrial(precision.value, threads=1, models=shapes)
    trial.round()
    rates = trial.rates(base_bytes=0)
    assert rates.bytes_per_s > 0
    config = published_config("350M")
    held = buffer_bytes(config, precision)
    assert rates.foretell(config).memory_bytes == pytest.approx(held, rel=0.01)


@pytest.mark.parametrize(("x", "y"), [(2.0, 3.0), (0.0, 1.5), (1e-4, 1e-11)])
def test_two_rows_give_both_rates_back(x, y):
    rows = [(8, 1e8, 8 * x + 1e8 * y), (5, 3e8, 5 * x + 3e8 * y)]
    assert _fit(rows) == pytest.approx((x, y))


def test_noise_that_would_make_a_rate_negative_makes_it_nothing():
    x, y = _fit([(8, 100, 10.0), (5, 300, 50.0)])
    assert x == 0
    assert 0.1 <= y <= 50 / 300
    assert _fit([(1, 1, 2.0), (1, 1, 2.0)]) == (0, 2)


@pytest.mark.parametrize("weight_bytes", [0.53, 1.03, 2.0, 4.0])
def test_cut_down_models_have_real_widths_and_more_weights_than_caches_hold(weight_bytes):
    for cut, size in zip(cut_down_models(weight_bytes), ("350M", "1.2B"), strict=True):
        real = published_config(size)
        assert (cut.hidden_size, cut.ff_dim) == (real.hidden_size, real.ff_dim)
        assert set(cut.layer_types) == set(real.layer_types)
        assert 400e6 <= cut.num_parameters * weight_bytes <= 900e6
        share = head_weights(cut) / cut.num_parameters
        assert share == pytest.approx(head_weights(real) / real.num_parameters, rel=0.1)
