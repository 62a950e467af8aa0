"""Every checkpoint of the family, by the config.json that it ships: the model that comes out."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import Lfm2Config as OracleConfig
from transformers import Lfm2ForCausalLM as OracleModel

from lfm2chat.errors import ConfigError
from lfm2chat.modelfiles import read_config
from lfm2chat.modelfiles.weights import expected_tensors
from lfm2chat.spec import Lfm2Config

SEED_ATTENTION = [2, 5, 8, 10, 12, 14]
LARGE_ATTENTION = [2, 5, 9, 13, 17, 21, 24, 27]
# Where the six stand among the fourteen is not published; their number is.
SMALLEST_ATTENTION = [2, 4, 6, 8, 10, 12]


def kinds(layers, attention):
    return ["full_attention" if i in attention else "conv" for i in range(layers)]


COMMON = {
    "architectures": ["Lfm2ForCausalLM"],
    "model_type": "lfm2",
    "bos_token_id": 1,
    "conv_L_cache": 3,
    "conv_bias": False,
    "eos_token_id": 7,
    "initializer_range": 0.02,
    "max_position_embeddings": 128_000,
    "norm_eps": 1e-5,
    "num_key_value_heads": 8,
    "pad_token_id": 0,
    "use_cache": True,
    "vocab_size": 65_536,
    "block_ffn_dim_multiplier": 1.0,
    "block_multiple_of": 256,
}


def first(hidden, heads, width):
    """An LFM2 of 2025: the width before the adjustment, and the numbers of the layers."""
    return COMMON | {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_heads": heads,
        "num_hidden_layers": 16,
        "full_attn_idxs": SEED_ATTENTION,
        "block_ff_dim": width,
        "block_auto_adjust_ff_dim": True,
        "rope_theta": 1_000_000.0,
        "torch_dtype": "bfloat16",
        "tie_embedding": True,
        "theta": 1_000_000.0,
        "block_dim": hidden,
        "block_mlp_init_scale": 1.0,
        "block_norm_eps": 1e-5,
        "block_out_init_scale": 1.0,
        "block_use_swiglu": True,
        "block_use_xavier_init": True,
        "conv_dim": hidden,
        "conv_dim_out": hidden,
        "conv_use_xavier_init": True,
        "use_pos_enc": True,
    }


def second(hidden, heads, width):
    """An LFM2.5 of 2026: kinds of layers, rotary parameters, and none of the older names."""
    return COMMON | {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": 16,
        "layer_types": kinds(16, SEED_ATTENTION),
        "intermediate_size": width,
        "block_auto_adjust_ff_dim": True,
        "rope_parameters": {"rope_theta": 1_000_000.0, "rope_type": "default"},
        "dtype": "bfloat16",
    }


LFM2_350M, LFM2_700M = first(1024, 16, 6656), first(1536, 24, 10_240)
LFM2_1_2B = first(2048, 32, 12_288)
LFM2_2_6B = LFM2_1_2B | {
    "num_hidden_layers": 30,
    "full_attn_idxs": LARGE_ATTENTION,
    "layer_types": kinds(30, LARGE_ATTENTION),
    "intermediate_size": 10_752,
    "block_ff_dim": 10_752,
    "block_auto_adjust_ff_dim": False,
}
LFM25_350M, LFM25_1_2B = second(1024, 16, 6656), second(2048, 32, 12_288)
LFM25_230M = LFM25_350M | {
    "num_hidden_layers": 14,
    "layer_types": kinds(14, SMALLEST_ATTENTION),
    "intermediate_size": 2560,
    "block_auto_adjust_ff_dim": False,
}
# The vocabulary is known from a fine-tune only; what counts here is that no id is a constant.
LFM25_2_6B = LFM25_1_2B | {
    "num_hidden_layers": 30,
    "layer_types": kinds(30, LARGE_ATTENTION),
    "intermediate_size": 10_752,
    "block_auto_adjust_ff_dim": False,
    "vocab_size": 128_000,
    "pad_token_id": 124_893,
    "bos_token_id": 124_894,
    "eos_token_id": 124_900,
}

# Name, config.json, width of the feed-forward block, (conv, attention) layers, parameters.
FAMILY = [
    ("LFM2-350M", LFM2_350M, 4608, (10, 6), 354_483_968),
    ("LFM2-350M-Extract", LFM2_350M, 4608, (10, 6), 354_483_968),
    ("LFM2-350M-Math", LFM2_350M, 4608, (10, 6), 354_483_968),
    ("LFM2-350M-ENJP-MT", LFM2_350M, 4608, (10, 6), 354_483_968),
    ("LFM2-350M-PII-Extract-JP", LFM2_350M, 4608, (10, 6), 354_483_968),
    ("LFM2-700M", LFM2_700M, 6912, (10, 6), 742_489_344),
    ("LFM2-1.2B", LFM2_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2-1.2B-Extract", LFM2_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2-1.2B-RAG", LFM2_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2-1.2B-Tool", LFM2_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2-2.6B", LFM2_2_6B, 10_752, (22, 8), 2_569_272_320),
    ("LFM2-2.6B-Exp", LFM2_2_6B, 10_752, (22, 8), 2_569_272_320),
    ("LFM2-2.6B-Transcript", LFM2_2_6B, 10_752, (22, 8), 2_569_272_320),
    ("LFM2.5-230M", LFM25_230M, 2560, (8, 6), 229_693_184),
    ("LFM2.5-350M", LFM25_350M, 4608, (10, 6), 354_483_968),
    ("LFM2.5-350M-Base", LFM25_350M, 4608, (10, 6), 354_483_968),
    ("LFM2.5-1.2B-Base", LFM25_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2.5-1.2B-Instruct", LFM25_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2.5-1.2B-Thinking", LFM25_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2.5-1.2B-JP", LFM25_1_2B, 8192, (10, 6), 1_170_340_608),
    ("LFM2.5-2.6B", LFM25_2_6B, 10_752, (22, 8), 2_697_198_592),
]
each_member = pytest.mark.parametrize(
    ("values", "ff_dim", "layers", "parameters"),
    [row[1:] for row in FAMILY],
    ids=[row[0] for row in FAMILY],
)


@each_member
def test_a_config_as_published_makes_the_published_model(
    values, ff_dim, layers, parameters, tmp_path
):
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = read_config(tmp_path)
    assert (config.ff_dim, config.num_parameters) == (ff_dim, parameters)
    assert (len(config.conv_layers), len(config.attention_layers)) == layers
    assert (config.head_dim, config.conv_L_cache, config.rope_theta) == (64, 3, 1e6)
    assert config.tie_word_embeddings
    assert config.eos_token_ids == (values["eos_token_id"],)


@pytest.mark.parametrize(
    "values",
    [LFM2_350M, LFM2_700M, LFM2_1_2B, LFM2_2_6B, LFM25_230M, LFM25_350M, LFM25_1_2B, LFM25_2_6B],
    ids=["350M", "700M", "1.2B", "2.6B", "2.5-230M", "2.5-350M", "2.5-1.2B", "2.5-2.6B"],
)
def test_its_tensors_have_the_names_and_shapes_of_transformers(values):
    with torch.device("meta"):
        oracle = OracleModel(OracleConfig(**values))
    theirs = {name: tuple(weight.shape) for name, weight in oracle.named_parameters()}
    config = Lfm2Config.from_dict(values)
    assert expected_tensors(config) == theirs
    assert config.num_parameters == sum(weight.numel() for weight in oracle.parameters())


@pytest.mark.parametrize(("older", "newer"), [(LFM2_350M, LFM25_350M), (LFM2_1_2B, LFM25_1_2B)])
def test_the_older_and_the_newer_spelling_are_one_model(older, newer):
    assert expected_tensors(Lfm2Config.from_dict(older)) == expected_tensors(
        Lfm2Config.from_dict(newer)
    )


def test_a_repack_that_gives_the_width_twice_has_the_one_before_the_adjustment():
    config = Lfm2Config.from_dict(LFM2_1_2B | {"intermediate_size": 8192})
    assert config.ff_dim == 8192


VISION = {"model_type": "lfm2_vl", "text_config": LFM2_350M, "vision_config": {}}
STRANGERS = [
    ("LFM2-8B-A1B", LFM2_1_2B | {"model_type": "lfm2_moe"}, "mixture-of-experts"),
    ("LFM2-VL-450M", VISION, "reads pictures"),
    ("LFM2-Audio-1.5B", {"model_type": "lfm2_audio", "lfm": LFM2_1_2B}, "audio model"),
    ("LFM3-1.7B", LFM2_1_2B | {"model_type": "lfm3"}, "LFM3, the next generation"),
    ("LFM3-VL-2B", {"model_type": "lfm3_vl"}, "LFM3-VL"),
    ("LFM2-ColBERT-350M", LFM2_350M | {"architectures": ["Lfm2Model"]}, "writes no text"),
    (
        "LFM2.5-Embedding",
        LFM25_350M | {"architectures": ["Lfm2BidirectionalModel"]},
        "embedding or a retrieval model",
    ),
    (
        "a classifier",
        LFM2_350M | {"architectures": ["Lfm2ForSequenceClassification"]},
        "Lfm2ForSequenceClassification",
    ),
    ("Llama", {"model_type": "llama"}, "'llama', not an LFM2 language model"),
    ("no type", {"hidden_size": 1024}, "names no model_type"),
    ("a type that is no text", {"model_type": ["lfm2"]}, "not an LFM2 language model"),
]


@pytest.mark.parametrize(
    ("values", "says"),
    [stranger[1:] for stranger in STRANGERS],
    ids=[stranger[0] for stranger in STRANGERS],
)
def test_a_stranger_is_refused_with_what_it_is_and_what_works(values, says, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path)
    assert says in str(caught.value)
    for working in ("LFM2-350M", "LFM2-2.6B", "LFM2.5"):
        assert working in caught.value.hint
