"""The configuration: documented fields, aliases and arithmetic, bounds, refusals."""

import json

import pytest
from transformers import Lfm2Config as OracleConfig

from lfm2chat.errors import ConfigError
from lfm2chat.spec import Lfm2Config

REAL = {
    "model_type": "lfm2",
    "architectures": ["Lfm2ForCausalLM"],
    "hidden_size": 1024,
    "block_ff_dim": 6656,
    "block_auto_adjust_ff_dim": True,
    "block_ffn_dim_multiplier": 1.0,
    "block_multiple_of": 256,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "full_attn_idxs": [2, 5, 8, 10, 12, 14],
    "vocab_size": 65536,
    "eos_token_id": 7,
    "rope_theta": 1000000.0,
    "tie_embedding": True,
    # keys that LFM2 files carry and nothing reads
    "block_dim": 1024,
    "conv_dim": 1024,
    "conv_dim_out": 1024,
    "block_use_swiglu": True,
    "use_pos_enc": True,
    "torch_dtype": "bfloat16",
}


def changed(**values):
    return REAL | values


@pytest.mark.parametrize(
    ("hidden", "heads", "width", "ff_dim", "parameters"),
    [
        (1024, 16, 6656, 4608, 354_483_968),
        (1536, 24, 10_240, 6912, 742_489_344),
        (2048, 32, 12_288, 8192, 1_170_340_608),
    ],
)
def test_the_published_models_have_their_published_sizes(hidden, heads, width, ff_dim, parameters):
    config = Lfm2Config.from_dict(
        changed(hidden_size=hidden, num_attention_heads=heads, block_ff_dim=width)
    )
    assert (config.ff_dim, config.num_parameters, config.head_dim) == (ff_dim, parameters, 64)
    assert config.attention_layers == (2, 5, 8, 10, 12, 14)
    assert config.conv_layers == (0, 1, 3, 4, 6, 7, 9, 11, 13, 15)


def test_the_26b_keeps_its_width_unadjusted():
    config = Lfm2Config.from_dict(
        changed(
            hidden_size=2048,
            num_attention_heads=32,
            num_hidden_layers=30,
            full_attn_idxs=[2, 5, 9, 13, 17, 21, 24, 27],
            block_ff_dim=10_752,
            block_auto_adjust_ff_dim=False,
        )
    )
    assert (config.ff_dim, config.num_parameters) == (10_752, 2_569_272_320)


def test_the_defaults_are_the_documented_ones():
    ours, theirs = Lfm2Config(), OracleConfig()
    for name in (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
        *("initializer_range", "norm_eps", "use_cache", "pad_token_id", "bos_token_id"),
        *("eos_token_id", "tie_word_embeddings", "conv_bias", "conv_L_cache"),
        *("block_multiple_of", "block_ffn_dim_multiplier", "block_auto_adjust_ff_dim"),
    ):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.rope_theta == 1e6
    assert list(ours.layer_types) == theirs.layer_types == ["full_attention"] * 32


@pytest.mark.parametrize(
    "values",
    [
        REAL,
        changed(intermediate_size=12_288),
        {k: v for k, v in changed(intermediate_size=6656).items() if k != "block_ff_dim"},
        changed(layer_types=["conv", "full_attention"] * 8),
        changed(tie_embedding=False, tie_word_embeddings=True),
        changed(rope_theta=5e5),
        changed(rope_parameters={"rope_theta": 2e5, "rope_type": "default"}),
        changed(block_ffn_dim_multiplier=1.3, block_multiple_of=50),
        changed(eos_token_id=[7, 2]),
        changed(head_dim=32),
    ],
    ids=["real", "both", "new", "types", "untied", "theta", "rope", "width", "eos", "heads"],
)
def test_any_spelling_is_read_as_transformers_reads_it(values):
    ours, theirs = Lfm2Config.from_dict(values), OracleConfig(**values)
    assert list(ours.layer_types) == theirs.layer_types
    assert ours.intermediate_size == theirs.intermediate_size
    assert ours.tie_word_embeddings == theirs.tie_word_embeddings
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
    assert list(ours.eos_token_ids) in (theirs.eos_token_id, [theirs.eos_token_id])


def test_theta_alone_is_the_rotary_base():
    values = {name: value for name, value in REAL.items() if name != "rope_theta"}
    assert Lfm2Config.from_dict(values | {"theta": 5e5}).rope_theta == 5e5
    assert Lfm2Config.from_dict(values).rope_theta == 1e6


def test_no_number_of_key_value_heads_means_as_many_as_heads():
    assert Lfm2Config.from_dict(changed(num_key_value_heads=None)).num_key_value_heads == 16


@pytest.mark.parametrize(
    "values",
    [REAL, changed(eos_token_id=[7, 2]), changed(block_ffn_dim_multiplier=1.3, head_dim=32)],
    ids=["real", "eos", "others"],
)
def test_a_config_survives_the_way_through_json(values):
    config = Lfm2Config.from_dict(values)
    again = Lfm2Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert OracleConfig(**config.to_dict()).layer_types == list(config.layer_types)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "lfm2_moe"}, "mixture-of-experts"),
        ({"model_type": "lfm2_vl", "text_config": REAL}, "vision"),
        ({"model_type": "lfm3"}, "LFM3"),
        ({"model_type": "llama"}, "'llama'"),
        ({}, "no model_type"),
        (changed(architectures=["Lfm2BidirectionalModel"]), "writes no text"),
        (changed(rope_scaling={"rope_type": "yarn", "factor": 4.0}), "'yarn'"),
    ],
)
def test_other_models_are_refused_with_what_they_are_and_what_works(values, says):
    with pytest.raises(ConfigError) as caught:
        Lfm2Config.from_dict(values)
    assert says in str(caught.value)
    assert "LFM2-350M" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 10**9),
        ("hidden_size", 56),
        ("hidden_size", 1028),
        ("hidden_size", 1024.0),
        ("hidden_size", "1024"),
        ("hidden_size", True),
        ("hidden_size", None),
        ("num_hidden_layers", 10**6),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", -16),
        ("vocab_size", 0),
        ("vocab_size", 2**20 + 1),
        ("num_attention_heads", 257),
        ("num_attention_heads", 15),
        ("num_key_value_heads", 3),
        ("num_key_value_heads", 0),
        ("head_dim", 63),
        ("head_dim", 4096),
        ("block_ff_dim", 10**7),
        ("block_ff_dim", 1),
        ("block_multiple_of", 0),
        ("block_ffn_dim_multiplier", 1e9),
        ("block_ffn_dim_multiplier", 0),
        ("block_auto_adjust_ff_dim", 1),
        ("conv_L_cache", 17),
        ("conv_L_cache", 0),
        ("conv_bias", "no"),
        ("norm_eps", 0.0),
        ("norm_eps", 1.0),
        ("norm_eps", float("nan")),
        ("rope_theta", float("inf")),
        ("rope_theta", -1.0),
        ("rope_theta", 10**400),
        ("rope_theta", "1e6"),
        ("rope_parameters", []),
        ("max_position_embeddings", 0),
        ("max_position_embeddings", 2.5),
        ("layer_types", ["conv"] * 15),
        ("layer_types", ["conv"] * 15 + ["sliding_attention"]),
        ("layer_types", "conv"),
        ("layer_types", [["conv"]] * 16),
        ("full_attn_idxs", [-1]),
        ("full_attn_idxs", ["2"]),
        ("full_attn_idxs", 2),
        ("eos_token_id", -7),
        ("eos_token_id", [7] * 200),
        ("eos_token_id", "7"),
        ("pad_token_id", 65_536),
        ("tie_embedding", 1),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name, value):
    with pytest.raises(ConfigError) as caught:
        Lfm2Config.from_dict(changed(**{name: value}))
    assert caught.value.hint
    assert len(str(caught.value)) < 300


def test_no_multiplier_means_no_rounding_either():
    config = Lfm2Config.from_dict(changed(block_ffn_dim_multiplier=None))
    assert config.ff_dim == 4437
    assert Lfm2Config.from_dict(config.to_dict()) == config


def test_a_huge_context_is_only_a_limit():
    assert Lfm2Config.from_dict(changed(max_position_embeddings=10**12))
