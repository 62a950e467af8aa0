"""Drawn configurations, read by ours and by ``transformers``: the same model comes out."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import Lfm2Config as OracleConfig
from transformers.models.lfm2.modeling_lfm2 import Lfm2MLP

from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.config import ATTENTION

SAME = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
    *("initializer_range", "norm_eps", "use_cache", "pad_token_id", "bos_token_id"),
    *("tie_word_embeddings", "conv_bias", "conv_L_cache", "block_multiple_of"),
    *("block_ffn_dim_multiplier", "block_auto_adjust_ff_dim", "output_hidden_states"),
    *("output_attentions", "return_dict"),
)
thetas = st.floats(1e3, 1e7)
widths = st.integers(48, 20_000)


@st.composite
def drawn_kwargs(draw):
    """Keyword arguments that both accept: any subset of the fields and of their older names."""
    heads = draw(st.sampled_from([1, 2, 4, 8, 16]))
    hidden = heads * 8 * draw(st.integers(max(1, 64 // (heads * 8)), 20))
    layers = draw(st.integers(1, 20))
    indices = st.lists(st.integers(0, layers + 3), max_size=layers)
    optional = {
        "vocab_size": st.integers(8, 1000),
        "intermediate_size": widths,
        "block_ff_dim": widths,
        "max_position_embeddings": st.integers(1, 10**6),
        "initializer_range": st.floats(0.0, 1.0),
        "norm_eps": st.floats(1e-8, 1e-2),
        "use_cache": st.booleans(),
        "bos_token_id": st.none() | st.integers(0, 7),
        "pad_token_id": st.none() | st.integers(0, 7),
        "eos_token_id": st.integers(0, 7) | st.lists(st.integers(0, 7), min_size=1, max_size=3),
        "tie_word_embeddings": st.booleans(),
        "tie_embedding": st.booleans(),
        "conv_bias": st.booleans(),
        "conv_L_cache": st.integers(1, 8),
        "block_multiple_of": st.integers(1, 512),
        "block_ffn_dim_multiplier": st.floats(0.1, 3.0) | st.sampled_from([1, 1.0, 2]),
        "block_auto_adjust_ff_dim": st.booleans(),
        "full_attn_idxs": st.none() | indices,
        "layer_types": st.none()
        | st.lists(st.sampled_from(["conv", ATTENTION]), min_size=layers, max_size=layers),
        "rope_theta": thetas,
        "rope_parameters": st.none()
        | st.fixed_dictionaries({"rope_type": st.just("default")}, optional={"rope_theta": thetas}),
        "rope_scaling": st.none()
        | st.fixed_dictionaries({"type": st.just("default")}, optional={"rope_theta": thetas}),
        "head_dim": st.sampled_from([8, 16, 64]),
        "output_hidden_states": st.booleans(),
        "return_dict": st.booleans(),
        "block_dim": st.integers(1, 4096),
        "conv_dim": st.integers(1, 4096),
        "num_heads": st.integers(1, 64),
        "use_pos_enc": st.booleans(),
    }
    sizes = {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": draw(
            st.sampled_from([count for count in (1, 2, 4, 8, 16) if heads % count == 0])
        ),
    }
    return sizes | draw(st.fixed_dictionaries({}, optional=optional))


def theirs_from(values):
    return OracleConfig(**json.loads(json.dumps(values)))


def assert_same(ours, theirs):
    for name in SAME:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert list(ours.layer_types) == theirs.layer_types
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
    assert list(ours.eos_token_ids) in (theirs.eos_token_id, [theirs.eos_token_id])
    width = getattr(theirs, "head_dim", theirs.hidden_size // theirs.num_attention_heads)
    assert ours.head_dim == width
    with torch.device("meta"):
        assert ours.ff_dim == Lfm2MLP(theirs).w1.weight.shape[0]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(drawn_kwargs())
def test_drawn_arguments_make_the_model_that_transformers_makes(values):
    assert_same(Lfm2Config(**values), theirs_from(values))


@pytest.mark.long
@settings(max_examples=3000, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(drawn_kwargs())
def test_thousands_of_drawn_arguments_make_the_model_that_transformers_makes(values):
    assert_same(Lfm2Config(**values), theirs_from(values))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(drawn_kwargs())
def test_a_configuration_survives_the_way_through_transformers_and_back(values):
    ours = Lfm2Config(**values)
    theirs = OracleConfig.from_dict(json.loads(json.dumps(ours.to_dict())))
    assert_same(ours, theirs)
    for written in (theirs.to_json_string(use_diff=True), theirs.to_json_string(use_diff=False)):
        back = Lfm2Config.from_dict(json.loads(written))
        assert_same(back, theirs)
        assert (back.ff_dim, back.num_parameters) == (ours.ff_dim, ours.num_parameters)


def test_transformers_reads_our_file_and_we_read_the_one_it_writes(tmp_path):
    ours = Lfm2Config(
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=None,
        num_hidden_layers=3,
        full_attn_idxs=(1,),
        rope_theta=5e5,
        eos_token_id=[7, 2],
    )
    (tmp_path / "config.json").write_text(json.dumps(ours.to_dict()))
    theirs = OracleConfig.from_pretrained(tmp_path)
    assert_same(ours, theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    back = Lfm2Config.from_dict(json.loads((tmp_path / "theirs" / "config.json").read_text()))
    assert_same(back, theirs)
    assert back.num_key_value_heads == 4


def test_theta_is_the_one_alias_that_transformers_no_longer_reads():
    assert theirs_from({"theta": 5e5}).rope_parameters["rope_theta"] == 1e6
    assert Lfm2Config(theta=5e5).rope_theta == 5e5
