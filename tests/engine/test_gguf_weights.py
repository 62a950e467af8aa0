"""Blocks of a GGUF file: the numbers they stand for, and the way into the packed form."""

import gguf
import numpy as np
import pytest
import torch
from gguf_files import write_gguf

from lfm2chat.engine import Lfm2ForCausalLM, Precision, choose_precision, kernel_names, open_packed
from lfm2chat.engine.gguf_weights import block_scales, dequantize
from lfm2chat.engine.kernels import unpacked_model
from lfm2chat.engine.quantize import pack, unpack
from lfm2chat.engine.weights import BLOCK_BYTES, WeightReader
from lfm2chat.errors import WeightsError
from lfm2chat.modelfiles import check_weights, expected_tensors, read_config
from lfm2chat.modelfiles.gguf import BLOCKS
from lfm2chat.spec import Lfm2Config

QUANTIZED = ("Q4_0", "Q8_0", "Q6_K")
CONFIG = Lfm2Config(
    vocab_size=8300,
    hidden_size=256,
    intermediate_size=320,
    block_auto_adjust_ff_dim=False,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    full_attn_idxs=(1,),
    eos_token_id=7,
)
EMBEDDING = "model.embed_tokens.weight"


def their_numbers(raw, kind):
    with np.errstate(invalid="ignore"):  # float16 scales that are no number
        return gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])


def six_bit_blocks(rows, columns, seed=0):
    """Q6_K with random levels and scales as small as a model's; the library only reads it."""
    draw = np.random.default_rng(seed)
    raw = draw.integers(0, 256, (rows, columns // 256, 210), dtype=np.uint8)
    multiples = draw.uniform(1e-5, 3e-5, (rows, columns // 256, 1)).astype(np.float16)
    raw[..., 208:] = multiples.view(np.uint8)
    return torch.from_numpy(raw.reshape(rows, -1))


@pytest.fixture(scope="module")
def make_file(tmp_path_factory):
    """Write a model of ``CONFIG`` with all its matrices in one type; gives the folder."""

    def make(kind, **changes):
        generator = torch.Generator().manual_seed(0)
        state = {
            name: torch.randn(shape, generator=generator) * 0.02
            for name, shape in expected_tensors(CONFIG).items()
        }
        state |= changes.pop("weights", {})
        folder = tmp_path_factory.mktemp(kind)
        write_gguf(folder / "model.gguf", CONFIG, state, kind=kind, **changes)
        return folder

    return make


@pytest.fixture(scope="module")
def four_bits(make_file):
    """As llama.cpp makes its Q4_0: the embedding, which is the head too, in Q6_K."""
    embedding = six_bit_blocks(CONFIG.vocab_size, CONFIG.hidden_size)
    return make_file("Q4_0", weights={EMBEDDING: embedding}, head="Q6_K")


def their_tensors(folder):
    """By our names the numbers that the format's own library reads."""
    reader = gguf.GGUFReader(folder / "model.gguf")
    raw = {one.data_offset: one for one in reader.tensors}
    (header,) = check_weights(folder, read_config(folder)).headers
    found = {}
    for name, tensor in header.tensors.items():
        one = raw[tensor.start]
        numbers = gguf.quants.dequantize(one.data, one.tensor_type)
        found[name] = torch.from_numpy(numbers.copy()).view(tensor.shape)
    return found


@pytest.mark.parametrize("kind", QUANTIZED)
def test_any_block_stands_for_the_numbers_of_the_formats_own_library(kind):
    draw = np.random.default_rng(1)
    raw = draw.integers(0, 256, (5000, BLOCKS[kind][1]), dtype=np.uint8)
    theirs = their_numbers(raw, kind).reshape(-1)
    ours = dequantize(torch.from_numpy(raw).view(-1), kind).numpy()
    assert ours.dtype == np.float32
    known = ~np.isnan(theirs)
    assert np.array_equal(np.isnan(ours), ~known)
    assert np.array_equal(ours.view(np.uint32)[known], theirs.view(np.uint32)[known])


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_every_weight_of_a_file_is_read_as_the_formats_own_library_reads_it(make_file, kind):
    folder = make_file(kind)
    theirs = their_tensors(folder)
    files = check_weights(folder, CONFIG)
    assert files.dtype == kind
    reader = WeightReader(files)
    model = Lfm2ForCausalLM.from_pretrained(folder, dtype="float32").state_dict()
    for name, numbers in theirs.items():
        assert torch.equal(reader(name).float(), numbers), name
        assert torch.equal(model[name], numbers), name


def test_a_file_of_several_types_is_read_beyond_one_piece(four_bits):
    files = check_weights(four_bits, CONFIG)
    (header,) = files.headers
    assert header.tensors[EMBEDDING].nbytes > BLOCK_BYTES
    assert {one.dtype for one in header.tensors.values()} == {"F32", "Q4_0", "Q6_K"}
    model = Lfm2ForCausalLM.from_pretrained(four_bits, dtype="float32").state_dict()
    for name, numbers in their_tensors(four_bits).items():
        assert torch.equal(model[name], numbers), name


def test_blocks_run_in_bf16_or_float32_where_nothing_is_asked_for(four_bits):
    model = Lfm2ForCausalLM.from_pretrained(four_bits)
    assert model.dtype in (torch.bfloat16, torch.float32)


def test_4_bits_stay_the_levels_they_are_with_scales_as_near_as_they_can_be_kept(four_bits):
    theirs = their_tensors(four_bits)
    reader = WeightReader(check_weights(four_bits, CONFIG))
    packed = open_packed(four_bits, Precision.INT4)
    ours = unpacked_model(packed, torch.float32).state_dict()
    matrices = [name for name, weight in theirs.items() if weight.ndim == 2 and name != EMBEDDING]
    assert len(matrices) == 17
    for name in matrices:
        scales = reader.scales(name)
        assert scales is not None
        # One byte keeps a scale within 1/32 of itself where it is no less than a 128th of the
        # largest of its row (the library's random weights are never that uneven).
        kept = (ours[name] - theirs[name]).abs().view(*scales.shape, 32)
        levels = theirs[name].view(*scales.shape, 32) / scales.unsqueeze(-1)
        assert torch.equal(levels, levels.round())
        assert (kept <= theirs[name].abs().view_as(kept) / 32 + 1e-9).all(), name


def test_known_scales_cost_no_more_than_those_that_are_looked_for():
    torch.manual_seed(0)
    weight = torch.distributions.StudentT(5.0).sample((256, 512)) * 0.02
    raw = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q4_0)
    numbers = torch.from_numpy(their_numbers(raw, "Q4_0"))
    scales = block_scales(torch.from_numpy(raw).view(-1)).view(256, -1)
    known = unpack(pack(numbers, 4, scales=scales))
    found = unpack(pack(numbers, 4))
    error = (known - numbers).pow(2).sum()
    assert error <= 1.02 * (found - numbers).pow(2).sum()
    assert error <= 0.0004 * numbers.pow(2).sum()


@pytest.mark.parametrize(("rows", "columns"), [(1, 32), (33, 96), (70, 320)])
def test_known_scales_fit_matrices_that_need_padding(rows, columns):
    torch.manual_seed(0)
    weight = torch.randn(rows, columns)
    raw = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q4_0)
    numbers = torch.from_numpy(their_numbers(raw, "Q4_0"))
    scales = block_scales(torch.from_numpy(raw).view(-1)).view(rows, -1)
    moved = (unpack(pack(numbers, 4, scales=scales)) - numbers).abs()
    assert (moved <= numbers.abs() / 32 + 1e-9).all()


def test_a_scale_far_below_its_rows_largest_gets_levels_of_its_own():
    numbers = torch.zeros(1, 64)
    numbers[0, 0], numbers[0, 32] = -8.0, -8e-3
    scales = torch.tensor([[1.0, 1e-3]])
    kept = unpack(pack(numbers, 4, scales=scales))
    assert kept[0, 0] == -8.0
    assert abs(float(kept[0, 32]) + 8e-3) <= 0.5 * 2**-7 / 1.9375


def test_the_6_bit_head_of_a_file_keeps_its_numbers_within_a_step(four_bits):
    theirs = their_tensors(four_bits)[EMBEDDING]
    packed = open_packed(four_bits, Precision.INT4)
    ours = unpack(packed.head)
    error = (ours - theirs).pow(2).sum() / theirs.pow(2).sum()
    assert float(error) < 0.025**2


def test_8_bits_are_packed_with_as_little_error_as_the_file_has(make_file):
    folder = make_file("Q8_0")
    theirs = their_tensors(folder)
    ours = unpacked_model(open_packed(folder, Precision.INT8), torch.float32).state_dict()
    for name, numbers in theirs.items():
        error = (ours[name] - numbers).pow(2).sum() / numbers.pow(2).sum()
        assert float(error) < 0.008**2, name


def test_a_file_with_4_bits_runs_in_4_and_one_with_8_in_8():
    if kernel_names() == ["torch"]:
        pytest.skip("without native kernels nothing is packed unasked")
    cpu = torch.device("cpu")
    assert choose_precision("auto", CONFIG, device=cpu, stored="Q4_0") is Precision.INT4
    assert choose_precision("auto", CONFIG, device=cpu, stored="Q8_0") is Precision.INT8
    assert choose_precision("int8", CONFIG, device=cpu, stored="Q4_0") is Precision.INT8
    assert choose_precision("bfloat16", CONFIG, device=cpu, stored="Q4_0") is None


def test_a_file_that_became_shorter_since_it_was_checked_is_refused(make_file):
    folder = make_file("Q8_0")
    files = check_weights(folder, CONFIG)
    path = folder / "model.gguf"
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(WeightsError, match="cut off"):
        WeightReader(files)(EMBEDDING)
