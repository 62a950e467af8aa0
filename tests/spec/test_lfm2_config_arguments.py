"""The documented constructor: its order, defaults and legacy names, and what `replace` derives."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from lfm2chat.errors import ConfigError
from lfm2chat.spec import Lfm2Config

# The signature on the documentation page, in its order.
DOCUMENTED = {
    "vocab_size": 65536,
    "hidden_size": 2560,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 128000,
    "initializer_range": 0.02,
    "norm_eps": 1e-05,
    "use_cache": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
    "rope_theta": 1000000.0,
    "conv_bias": False,
    "conv_L_cache": 3,
    "block_multiple_of": 256,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True,
    "full_attn_idxs": None,
    "layer_types": None,
}
IGNORED = {
    "block_dim": 1024,
    "conv_dim": 1024,
    "conv_dim_out": 1024,
    "num_heads": 99,
    "block_norm_eps": 0.5,
    "block_use_swiglu": True,
    "block_use_xavier_init": True,
    "conv_use_xavier_init": True,
    "block_mlp_init_scale": 1.0,
    "block_out_init_scale": 1.0,
    "use_pos_enc": True,
    "torch_dtype": "bfloat16",
    "self": "a name that a file may hold",
}


def small(**values):
    return Lfm2Config(
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
        | {"num_hidden_layers": 6, "intermediate_size": 96, "full_attn_idxs": [2, 4]}
        | values
    )


def test_the_signature_is_the_documented_one():
    parameters = inspect.signature(Lfm2Config).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == list(DOCUMENTED.items())
    assert [p.kind for p in parameters][-1] is inspect.Parameter.VAR_KEYWORD


def test_every_documented_argument_may_be_positional():
    layers = ["conv", "full_attention"]
    config = Lfm2Config(
        *(97, 64, 96, 2, 4, 2, 512, 0.05, 1e-6, False, 3, 4, 5, False, 5e5, True, 4, 16, 1.5),
        *(False, [1], layers),
    )
    assert (config.vocab_size, config.hidden_size, config.intermediate_size) == (97, 64, 96)
    assert (config.num_hidden_layers, config.num_attention_heads) == (2, 4)
    assert (config.num_key_value_heads, config.max_position_embeddings) == (2, 512)
    assert (config.initializer_range, config.norm_eps, config.use_cache) == (0.05, 1e-6, False)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (3, 4, 5)
    assert (config.tie_word_embeddings, config.rope_theta, config.conv_bias) == (False, 5e5, True)
    assert (config.conv_L_cache, config.block_multiple_of) == (4, 16)
    assert (config.block_ffn_dim_multiplier, config.block_auto_adjust_ff_dim) == (1.5, False)
    assert (config.full_attn_idxs, config.layer_types) == ((1,), tuple(layers))


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"block_ff_dim": 192}, "intermediate_size", 192),
        ({"block_ff_dim": 192, "intermediate_size": 96}, "intermediate_size", 192),
        ({"block_ff_dim": None}, "intermediate_size", 96),
        ({"tie_embedding": False}, "tie_word_embeddings", False),
        ({"tie_embedding": False, "tie_word_embeddings": True}, "tie_word_embeddings", False),
        ({"theta": 5e5}, "rope_theta", 5e5),
        ({"theta": 5e5, "rope_theta": 2e5}, "rope_theta", 2e5),
        ({"theta": 5e5, "rope_theta": 1e6}, "rope_theta", 1e6),
        ({"rope_theta": None}, "rope_theta", 1e6),
        ({"rope_parameters": {"rope_theta": 3e5}, "rope_theta": 2e5}, "rope_theta", 3e5),
        ({"rope_parameters": {}, "rope_theta": 2e5}, "rope_theta", 2e5),
        ({"rope_parameters": {"rope_type": "default"}, "theta": 5e5}, "rope_theta", 5e5),
        ({"rope_scaling": {"rope_theta": 4e5}}, "rope_theta", 4e5),
        ({"rope_scaling": {"type": "default"}, "rope_theta": 2e5}, "rope_theta", 2e5),
    ],
)
def test_a_legacy_name_means_the_same_as_argument_and_in_the_file(given, field, value):
    config = small(**given)
    assert getattr(config, field) == value
    file = {"model_type": "lfm2", "hidden_size": 64, "num_attention_heads": 4}
    file |= {"num_key_value_heads": 2, "num_hidden_layers": 6, "full_attn_idxs": [2, 4]}
    assert Lfm2Config.from_dict(file | {"intermediate_size": 96} | given) == config


@pytest.mark.parametrize("name", IGNORED)
def test_a_legacy_name_without_a_meaning_has_no_effect(name):
    assert small(**{name: IGNORED[name]}) == small()
    values = small().to_dict() | {name: IGNORED[name], "derived": 5}
    assert Lfm2Config.from_dict(values) == small()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "'linear'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "'full_attention'"),
        ({"rope_parameters": "default"}, "an object or null"),
        ({"output_attentions": 1}, "true or false"),
        ({"return_dict": "yes"}, "true or false"),
        ({"initializer_range": -0.1}, "initializer_range"),
    ],
)
def test_an_argument_that_the_engine_cannot_honour_is_refused(given, says):
    with pytest.raises(ConfigError) as caught:
        small(**given)
    assert says in str(caught.value)
    assert caught.value.hint


def test_the_switches_of_forward_have_the_defaults_of_transformers_and_survive_the_file():
    config = small()
    assert (config.output_hidden_states, config.output_attentions, config.return_dict) == (
        *(False, False),
        True,
    )
    other = small(output_hidden_states=True, output_attentions=True, return_dict=False)
    assert Lfm2Config.from_dict(other.to_dict()) == other
    unset = dict.fromkeys(("output_hidden_states", "output_attentions", "return_dict"))
    assert small(**unset) == config


def test_weights_may_start_at_zero():
    assert small(initializer_range=0.0).initializer_range == 0.0


def test_replace_derives_anew_what_nobody_chose():
    config = small(num_key_value_heads=None)
    longer = replace(config, num_hidden_layers=8)
    assert longer.attention_layers == (2, 4)
    assert len(longer.layer_types) == 8
    wider = replace(config, hidden_size=128, num_attention_heads=2)
    assert (wider.head_dim, wider.num_key_value_heads) == (64, 2)
    assert replace(config, full_attn_idxs=(1,)).attention_layers == (1,)
    everywhere = small(full_attn_idxs=None)
    assert replace(everywhere, num_hidden_layers=3).attention_layers == (0, 1, 2)
    assert replace(replace(config, num_hidden_layers=8), num_hidden_layers=6) == config


def test_replace_keeps_what_was_chosen():
    kinds = ("conv", "full_attention") * 3
    config = small(layer_types=kinds, head_dim=32)
    assert replace(config, vocab_size=97).layer_types == kinds
    assert replace(config, hidden_size=128).head_dim == 32
    assert replace(small(), layer_types=kinds).layer_types == kinds
    with pytest.raises(ConfigError, match="8 entries"):
        replace(config, num_hidden_layers=8)
    with pytest.raises(ConfigError, match="divisor"):
        replace(config, num_attention_heads=3)


def test_equal_configurations_are_equal_whoever_derived_them():
    derived = small()
    chosen = small(layer_types=list(derived.layer_types), head_dim=16)
    assert derived == chosen
    assert hash(derived) == hash(chosen)
    assert repr(derived) == repr(chosen)
    assert derived != replace(derived, conv_bias=True)


def test_a_configuration_can_be_copied_and_pickled_but_not_changed():
    config = small(eos_token_id=[7, 2])
    assert copy.deepcopy(config) == config
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert replace(again, num_hidden_layers=8).attention_layers == (2, 4)
    with pytest.raises(FrozenInstanceError):
        config.hidden_size = 128
