"""Any GGUF file is either read or refused, at once and without allocating what it claims."""

import random
import struct
import time

import gguf
import numpy as np
import pytest
import torch
from gguf_files import write_gguf
from hypothesis import given
from hypothesis import strategies as st

from lfm2chat.errors import ConfigError, ModelError, WeightsError
from lfm2chat.modelfiles import check_weights, expected_tensors, open_folder, read_gguf_header
from lfm2chat.spec import Lfm2Config

F32, Q4_0, Q4_K, BF16 = 0, 2, 12, 30
U32, I32, BOOL, TEXT, ARRAY, U64 = 4, 5, 7, 8, 9, 10
CONFIG = Lfm2Config(
    vocab_size=48,
    hidden_size=64,
    intermediate_size=96,
    block_auto_adjust_ff_dim=False,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    full_attn_idxs=(1,),
    eos_token_id=7,
)
TOKENIZER = {
    "model": {
        "vocab": {"<|pad|>": 0, "<|startoftext|>": 1, "a": 2, "b": 3, "ab": 4, "<|im_end|>": 7},
        "merges": [["a", "b"]],
    },
    "added_tokens": [
        {"id": 0, "content": "<|pad|>", "special": True},
        {"id": 1, "content": "<|startoftext|>", "special": True},
        {"id": 7, "content": "<|im_end|>", "special": True},
    ],
}


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, raw):
    return text(name) + struct.pack("<I", kind) + raw


def array(kind, count, raw):
    return struct.pack("<IQ", kind, count) + raw


def tensor(name="a.weight", shape=(4, 2), kind=F32, place=0):
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, place)


ARCHITECTURE = key("general.architecture", TEXT, text("lfm2"))
GOOD = (tensor(), tensor("b", (32,), Q4_0, 32))


@pytest.fixture
def write(tmp_path):
    def make(
        tensors=GOOD,
        keys=(ARCHITECTURE,),
        *,
        magic=b"GGUF",
        version=3,
        tensor_count=None,
        key_count=None,
        data=64,
        alignment=32,
    ):
        counts = (
            len(tensors) if tensor_count is None else tensor_count,
            len(keys) if key_count is None else key_count,
        )
        raw = magic + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
        path = tmp_path / "model.gguf"
        path.write_bytes(raw + bytes(-len(raw) % alignment) + bytes(data))
        return path

    return make


def model_file(folder, **changes):
    torch.manual_seed(0)
    config = changes.pop("config", CONFIG)
    state = {name: torch.randn(shape) for name, shape in expected_tensors(config).items()}
    state |= changes.pop("weights", {})
    options = {"kind": "BF16", "tokenizer": TOKENIZER} | changes
    return write_gguf(folder / "model.gguf", config, state, **options)


def test_a_file_of_the_formats_own_library_is_read(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "lfm2")
    writer.add_array("some.texts", ["a", "", "ü" * 40])
    writer.add_array("some.numbers", [1, -2, 3])
    writer.add_float64("some.float", 0.1)
    writer.add_bool("some.flag", val=True)
    writer.add_tensor("x.weight", np.ones((3, 64), np.float32))
    blocks = gguf.quants.quantize(np.ones((5, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("y", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("z", np.ones(7, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    header = read_gguf_header(tmp_path / "m.gguf")
    assert header.metadata == {
        "general.architecture": "lfm2",
        "some.texts": ("a", "", "ü" * 40),
        "some.numbers": (1, -2, 3),
        "some.float": 0.1,
        "some.flag": True,
    }
    theirs = {one.name: one for one in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert {
        n: (t.dtype, t.shape, t.nbytes, t.start) for n, t in header.weights.tensors.items()
    } == {
        "x.weight": ("F32", (3, 64), 768, theirs["x.weight"].data_offset),
        "y": ("Q8_0", (5, 64), 340, theirs["y"].data_offset),
        "z": ("F16", (7,), 14, theirs["z"].data_offset),
    }


def test_the_smallest_good_file_is_read(write):
    path = write()
    header = read_gguf_header(path)
    assert list(header.weights.tensors) == ["a.weight", "b"]
    assert header.weights.tensors["a.weight"].shape == (2, 4)
    assert header.weights.tensors["b"].start == header.weights.file_bytes - 32


def test_the_last_tensor_needs_no_padding_and_another_alignment_counts(write):
    assert read_gguf_header(write(data=32 + 18)).weights.tensors["b"].nbytes == 18
    wide = key("general.alignment", U32, struct.pack("<I", 64))
    tensors = (tensor(), tensor("b", (32,), Q4_0, 64))
    header = read_gguf_header(write(tensors, (wide,), alignment=64, data=128))
    assert header.weights.tensors["b"].start == header.weights.file_bytes - 64


BAD_TENSORS = [
    ((), "tensors"),
    ((tensor(), tensor()), "same name"),
    ((tensor(), tensor("b", (32,), Q4_0, 0)), "overlaps"),
    ((tensor(), tensor("b", (32,), Q4_0, 16)), "overlaps"),
    ((tensor(), tensor("b", (32,), Q4_0, 40)), "gap"),
    ((tensor(), tensor("b", (32,), Q4_0, 64)), "gap"),
    ((tensor(place=32), tensor("b", (32,), Q4_0, 64)), "gap"),
    ((tensor(place=2**63),), "gap"),
    ((tensor(), tensor("b", (64,), F32, 32)), "header says"),
    ((tensor(shape=(2**20, 2**20)),), "header says"),
    ((tensor(shape=(0, 4)),), "shape"),
    ((tensor(shape=(2**64 - 1, 4)),), "shape"),
    ((tensor(shape=(2**32, 2**32)),), "shape"),
    ((tensor(shape=(2**16,) * 4),), "shape"),
    ((tensor(shape=(33,), kind=Q4_0),), "shape"),
    ((tensor(shape=()),), "dimensions"),
    ((tensor(shape=(1, 1, 1, 1, 8)),), "dimensions"),
    ((tensor(kind=Q4_K),), "Q4_K, expected F32"),
    ((tensor(kind=4711),), "type 4711"),
    ((tensor("b\x1b]52;c;aGk=\x07"),), "named"),
    ((tensor("../b"),), "named"),
    ((tensor(""),), "named"),
    ((tensor("x" * 201),), "named"),
    ((tensor(b"\xff\xfe"),), "UTF-8"),
]


@pytest.mark.parametrize(("tensors", "says"), BAD_TENSORS)
def test_tensors_that_cannot_be_are_refused(write, tensors, says):
    with pytest.raises(WeightsError, match=says) as caught:
        read_gguf_header(write(tensors))
    assert caught.value.hint
    assert "\x1b" not in str(caught.value)


BAD_KEYS = [
    ([ARCHITECTURE] * 2, "twice"),
    ([key("a\x1b", BOOL, b"\x01")], "named"),
    ([key("", BOOL, b"\x01")], "named"),
    ([key("a", BOOL, b"\x02")], "true nor false"),
    ([key("a", 13, b"")], "unknown type 13"),
    ([key("a", ARRAY, array(ARRAY, 1, array(U32, 1, b"0000")))], "unknown type 9"),
    ([key("a", ARRAY, array(U32, 2**20 + 1, b""))], "items"),
    ([key("a", ARRAY, array(U32, 2**64 - 1, b""))], "items"),
    ([key(n, ARRAY, array(BOOL, 2**19, bytes(2**19))) for n in "abc"], "1,048,576 in all"),
    ([key("a", ARRAY, array(TEXT, 2**20, b""))], "cut off"),
    ([key("a", ARRAY, array(U64, 2**20, b""))], "cut off"),
    ([key("a", TEXT, struct.pack("<Q", 2**63) + b"x")], "cut off"),
    ([key("a", TEXT, struct.pack("<Q", 2**64 - 1))], "cut off"),
    ([key("a", TEXT, text(b"\xed\xa0\x80"))], "UTF-8"),
    ([key("general.alignment", U32, struct.pack("<I", 0))], "alignment"),
    ([key("general.alignment", U32, struct.pack("<I", 48))], "alignment"),
    ([key("general.alignment", U32, struct.pack("<I", 2**31))], "alignment"),
    ([key("general.alignment", I32, struct.pack("<i", -32))], "alignment"),
    ([key("general.alignment", TEXT, text("32"))], "alignment"),
]


@pytest.mark.parametrize(("keys", "says"), BAD_KEYS)
def test_metadata_that_cannot_be_is_refused(write, keys, says):
    with pytest.raises(WeightsError, match=says):
        read_gguf_header(write(keys=keys))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"magic": b"GGML"}, "no GGUF"),
        ({"version": 2}, "version 2"),
        ({"version": 3 << 24}, "version"),  # the other byte order
        ({"tensor_count": 2**63}, "tensors"),
        ({"tensor_count": 4097}, "tensors"),
        ({"tensor_count": 0}, "tensors"),
        ({"tensor_count": 3}, "usable"),
        ({"key_count": 2**63}, "keys"),
        ({"key_count": 1025}, "keys"),
        ({"key_count": 2}, "usable"),
        ({"data": 0}, "header says"),
        ({"data": 49}, "header says"),
        ({"data": 65}, "header says"),
    ],
)
def test_counts_and_sizes_that_cannot_be_are_refused(write, changes, says):
    with pytest.raises(WeightsError, match=says):
        read_gguf_header(write(**changes))


def test_a_header_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "model.gguf"
    raw = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + key("a", TEXT, struct.pack("<Q", 2**30))
    with path.open("wb") as file:
        file.write(raw)
        file.truncate(2**31)  # sparse
    started = time.perf_counter()
    with pytest.raises(WeightsError, match="too large"):
        read_gguf_header(path)
    assert time.perf_counter() - started < 0.2


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    path = model_file(tmp_path)
    whole = path.read_bytes()
    header = read_gguf_header(path)
    start = min(one.start for one in header.weights.tensors.values())
    last = max(one.start + one.nbytes for one in header.weights.tensors.values())
    for cut in [*range(0, start, 37), *range(start, last, 4099), last - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(WeightsError):
            read_gguf_header(path)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "model.gguf").mkdir()
    for path in (tmp_path / "model.gguf", tmp_path / "nothing.gguf"):
        with pytest.raises(WeightsError):
            read_gguf_header(path)


def test_any_byte_may_change_and_nothing_but_our_errors_comes_of_it(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutated")
    path = model_file(folder)
    whole = path.read_bytes()
    weights = read_gguf_header(path).weights
    start = min(one.start for one in weights.tensors.values())

    @given(st.data())
    def check(data):
        changed = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, start - 1))
            size = data.draw(st.sampled_from([1, 4, 8]))
            value = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
            changed[at : at + size] = bytes([value] * size)
        path.write_bytes(changed[: data.draw(st.sampled_from([len(whole), start, len(whole) - 1]))])
        started = time.perf_counter()
        try:
            opened = open_folder(folder)
            check_weights(opened, opened.config())
            opened.vocabulary()
        except ModelError:
            pass
        assert time.perf_counter() - started < 2.0

    check()


def test_random_bytes_are_refused(tmp_path):
    draw = random.Random(0)
    path = tmp_path / "model.gguf"
    for _ in range(200):
        path.write_bytes(b"GGUF" + struct.pack("<I", 3) + draw.randbytes(draw.randrange(400)))
        with pytest.raises(WeightsError):
            read_gguf_header(path)


def test_the_model_that_a_file_describes_is_read(tmp_path):
    model_file(tmp_path)
    opened = open_folder(tmp_path)
    assert opened.config() == CONFIG
    files = check_weights(opened, opened.config())
    assert files.dtype == "BF16"
    (header,) = files.headers
    assert {n: t.shape for n, t in header.tensors.items()} == expected_tensors(CONFIG)


def test_a_head_of_its_own_and_the_older_name_of_the_last_norm_are_read(tmp_path):
    config = Lfm2Config(**{**CONFIG.to_dict(), "tie_word_embeddings": False})
    model_file(tmp_path, config=config, norm="output_norm")
    opened = open_folder(tmp_path)
    assert opened.config() == config
    (header,) = check_weights(opened, config).headers
    assert {n: t.shape for n, t in header.tensors.items()} == expected_tensors(config)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.layers.1.self_attn.q_proj.weight", r"q_proj.weight is \(32, 64\), expected"),
        ("model.layers.0.conv.conv.weight", "conv.conv.weight"),
        ("model.embed_tokens.weight", "embed_tokens.weight"),
    ],
)
def test_a_tensor_of_another_shape_is_refused(tmp_path, name, says):
    shape = (32, *expected_tensors(CONFIG)[name][1:])
    model_file(tmp_path, weights={name: torch.randn(shape)})
    opened = open_folder(tmp_path)
    with pytest.raises(WeightsError, match=says):
        check_weights(opened, opened.config())


def test_a_tensor_too_many_or_too_few_is_refused(tmp_path):
    model_file(tmp_path / "more", weights={"model.layers.9.ffn_norm.weight": torch.randn(64)})
    with pytest.raises(WeightsError, match=r"layers\.9\.ffn_norm\.weight .*no LFM2 has"):
        check_weights(tmp_path / "more", CONFIG)
    model_file(tmp_path / "less")
    larger = Lfm2Config(**{**CONFIG.to_dict(), "num_hidden_layers": 4, "layer_types": None})
    with pytest.raises(WeightsError, match="missing"):
        check_weights(tmp_path / "less", larger)


def rewritten(path, old, new):
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new))


def number_key(name, code, value):
    kinds = {"I": U32, "f": 6}
    return key(name, kinds[code], struct.pack(f"<{code}", value))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("lfm2.embedding_length", "I", 64, 2**30), "hidden_size"),
        (("lfm2.embedding_length", "I", 64, 65), "hidden_size"),
        (("lfm2.block_count", "I", 3, 2**32 - 1), "head_count_kv"),
        (("lfm2.attention.head_count", "I", 4, 0), "num_attention_heads"),
        (("lfm2.attention.head_count", "I", 4, 3), "num_key_value_heads"),
        (("lfm2.feed_forward_length", "I", 96, 2**31), "intermediate_size"),
        (("lfm2.shortconv.l_cache", "I", 3, 0), "conv_L_cache"),
        (("lfm2.vocab_size", "I", 48, 2**31), "vocab_size"),
        (("lfm2.rope.freq_base", "f", 1e6, float("nan")), "rope_theta"),
        (("lfm2.rope.freq_base", "f", 1e6, float("inf")), "rope_theta"),
        (("lfm2.attention.layer_norm_rms_epsilon", "f", 1e-5, -1.0), "norm_eps"),
        (("lfm2.attention.value_length", "I", 16, 32), "rotary"),
    ],
)
def test_metadata_out_of_bounds_is_refused(tmp_path, change, says):
    name, code, old, new = change
    path = model_file(tmp_path)
    rewritten(path, number_key(name, code, old), number_key(name, code, new))
    with pytest.raises(ConfigError, match=says):
        open_folder(tmp_path).config()


def test_a_key_that_is_missing_is_named(tmp_path):
    path = model_file(tmp_path)
    rewritten(path, b"lfm2.rope.freq_base", b"lfm2.rope.freq_cafe")
    with pytest.raises(ConfigError, match=r"names no lfm2\.rope\.freq_base"):
        open_folder(tmp_path).config()


@pytest.mark.parametrize(("name", "says"), [("lfm2moe", "experts"), ("llama", "'llama'")])
def test_another_architecture_is_refused_by_name(write, name, says):
    path = write(keys=[key("general.architecture", TEXT, text(name))])
    with pytest.raises(ConfigError, match=says):
        open_folder(path.parent).config()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (text("gpt2"), text("bert"), "bert"),
        (text("a b"), text("aab"), "two parts"),
        (text("[PAD9]"), text("[PAD8]"), ""),  # unused: no text at all
        (text("b"), text("a"), "same text"),
        (
            key("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 1)),
            key("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 48)),
            "bos_token_id is 48",
        ),
    ],
)
def test_a_tokenizer_whose_parts_do_not_fit_is_refused(tmp_path, old, new, says):
    rewritten(model_file(tmp_path), old, new)
    opened = open_folder(tmp_path)
    if not says:
        assert opened.vocabulary() is not None
        return
    with pytest.raises(ConfigError, match=says):
        opened.vocabulary()


def test_a_text_that_is_split_another_way_is_refused(tmp_path):
    model_file(tmp_path, pre="qwen2")
    with pytest.raises(ConfigError, match="qwen2"):
        open_folder(tmp_path).vocabulary()
