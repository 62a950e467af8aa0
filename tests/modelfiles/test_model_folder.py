"""A folder as a whole: configs, the comparison of weights with the config, fingerprints."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles import (
    check_weights,
    expected_tensors,
    fingerprint,
    read_config,
    read_generation_config,
)
from lfm2chat.spec import Lfm2Config

CONFIG = Lfm2Config(
    vocab_size=40,
    hidden_size=64,
    intermediate_size=48,
    block_multiple_of=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    full_attn_idxs=(1,),
    conv_bias=True,
)


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return {name: torch.randn(shape) for name, shape in expected_tensors(CONFIG).items()}


@pytest.fixture
def folder(tmp_path, tensors):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_the_expected_tensors_are_those_of_the_published_350m():
    config = Lfm2Config(
        hidden_size=1024,
        intermediate_size=6656,
        num_hidden_layers=16,
        num_attention_heads=16,
        full_attn_idxs=(2, 5, 8, 10, 12, 14),
    )
    shapes = expected_tensors(config)
    assert len(shapes) == 148
    numbers = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert numbers == config.num_parameters == 354_483_968


def test_a_good_folder_is_accepted(folder):
    files = check_weights(folder, read_config(folder))
    assert read_config(folder) == CONFIG
    assert files.dtype == "F32"
    assert files.file_bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("model.layers.0.conv.in_proj.weight", None, "conv.in_proj.weight is missing"),
        (
            "model.layers.0.conv.in_proj.weight",
            torch.zeros(64, 192),
            "is (64, 192), expected (192, 64)",
        ),
        ("model.layers.9.ffn_norm.weight", torch.zeros(64), "which no LFM2 has"),
        ("lm_head.weight", torch.zeros(41, 64), "which no LFM2 has"),
        ("model.embedding_norm.weight", torch.zeros(64, dtype=torch.int8), "dtype"),
    ],
)
def test_the_first_difference_is_named(name, tensor, says, folder, tensors):
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        check_weights(folder, CONFIG)
    assert says in str(caught.value)
    assert caught.value.hint


def test_an_untied_model_needs_its_head(folder, tensors):
    untied = Lfm2Config.from_dict(CONFIG.to_dict() | {"tie_word_embeddings": False})
    with pytest.raises(WeightsError, match=r"lm_head\.weight is missing"):
        check_weights(folder, untied)
    save_file(tensors | {"lm_head.weight": torch.zeros(40, 64)}, folder / "model.safetensors")
    assert check_weights(folder, untied)


def split(folder, tensors, names=("a.safetensors", "b.safetensors")):
    """Two files and an index in place of one."""
    (folder / "model.safetensors").unlink()
    items = sorted(tensors.items())
    halves = dict(items[:9]), dict(items[9:])
    for name, half in zip(names, halves, strict=True):
        save_file(half, folder / name)
    places = {key: name for name, half in zip(names, halves, strict=True) for key in half}
    write_index(folder, places)
    return places


def write_index(folder, places):
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_several_files_are_one_model(folder, tensors):
    split(folder, tensors)
    files = check_weights(folder, CONFIG)
    assert [header.path.name for header in files.headers] == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(
    "place", ["../a.safetensors", "/etc/passwd", "x/a.safetensors", "a.bin", "..", 7, ""]
)
def test_an_index_cannot_lead_out_of_its_folder(place, folder, tensors):
    places = split(folder, tensors)
    write_index(folder, places | {"model.embed_tokens.weight": place})
    with pytest.raises(WeightsError, match="names the file"):
        check_weights(folder, CONFIG)


def test_an_index_that_does_not_fit_its_files_is_refused(folder, tensors):
    places = split(folder, tensors)
    write_index(folder, places | {"model.embed_tokens.weight": "b.safetensors"})
    with pytest.raises(WeightsError, match="do not agree"):
        check_weights(folder, CONFIG)
    write_index(folder, places | {"more": "c.safetensors"})
    with pytest.raises(WeightsError, match=r"c\.safetensors cannot be read"):
        check_weights(folder, CONFIG)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(WeightsError, match="no weight_map"):
        check_weights(folder, CONFIG)


def test_a_folder_with_only_a_pickle_says_why_it_is_not_opened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is a pickle"):
        check_weights(folder, CONFIG)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{", b'{"model_type": NaN}', b"\xff", b'{"a": 1, "a": 2}'),
        *(b"[" * 99_999, b'{"a":' * 40 + b"1" + b"}" * 40, b'{"a": ' + b"9" * 5000 + b"}"),
        b" " * 2_000_000,
    ],
)
def test_a_damaged_config_is_refused(content, folder):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    assert "config.json" in str(caught.value)


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        read_config(tmp_path)


def test_what_a_folder_recommends_is_read(tmp_path):
    def recommended(values):
        (tmp_path / "generation_config.json").write_text(json.dumps(values))
        return read_generation_config(tmp_path)

    assert read_generation_config(tmp_path).eos_token_ids == ()
    published = recommended({"bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0})
    assert (published.eos_token_ids, published.sampling) == ((7,), None)
    warm = recommended({"eos_token_id": [7, 2], "temperature": 0.1, "top_k": 50})
    assert warm.eos_token_ids == (7, 2)
    assert (warm.sampling.temperature, warm.sampling.top_k) == (0.1, 50)
    assert (warm.sampling.min_p, warm.sampling.repetition_penalty) == (0.0, 1.0)
    assert recommended({"do_sample": False, "temperature": 0.6}).sampling.greedy
    for bad in ({"eos_token_id": "7"}, {"eos_token_id": [-1]}, {"temperature": -1}):
        with pytest.raises(ConfigError, match="generation_config"):
            recommended(bad)


def test_a_fingerprint_is_the_same_for_a_copy_and_another_for_other_weights(
    folder, tensors, tmp_path_factory
):
    before = fingerprint(folder)
    copy = tmp_path_factory.mktemp("copy") / "model"
    shutil.copytree(folder, copy)
    assert fingerprint(copy) == before
    tensors["model.embed_tokens.weight"] += 1
    save_file(tensors, copy / "model.safetensors")
    assert fingerprint(copy) != before
    (folder / "config.json").write_text(json.dumps(CONFIG.to_dict() | {"norm_eps": 1e-6}))
    assert fingerprint(folder) != before
