"""What a GGUF file of an LFM2 says: its configuration, and its tensors by the checkpoint's names.

In: a checked header. Out: an :class:`Lfm2Config`, and the header anew as one of a checkpoint. The
names are those that llama.cpp gives the tensors of its architecture ``lfm2``. Queries and keys are
stored as in the checkpoint there: nothing is permuted.
"""

from __future__ import annotations

import struct
from typing import Any

from lfm2chat.errors import ConfigError
from lfm2chat.modelfiles.gguf import GgufHeader
from lfm2chat.modelfiles.opened import mixed_files
from lfm2chat.modelfiles.safetensors import Header, TensorInfo
from lfm2chat.modelfiles.strictjson import DOWNLOAD_AGAIN
from lfm2chat.spec import Lfm2Config
from lfm2chat.spec.relatives import WORKING

HEAD = "output.weight"

_ARCHITECTURES = {"lfm2moe": "lfm2_moe"}
"""llama.cpp's names, where they are not those of config.json."""

_WHOLE = {
    "token_embd": "model.embed_tokens",
    "token_embd_norm": "model.embedding_norm",
    "output_norm": "model.embedding_norm",  # so in the first files of 2025
    "output": "lm_head",
}
_IN_LAYER = {
    "attn_norm": "operator_norm",
    "ffn_norm": "ffn_norm",
    "ffn_gate": "feed_forward.w1",
    "ffn_down": "feed_forward.w2",
    "ffn_up": "feed_forward.w3",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.out_proj",
    "attn_q_norm": "self_attn.q_layernorm",
    "attn_k_norm": "self_attn.k_layernorm",
    "shortconv.conv": "conv.conv",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
}


def gguf_config(header: GgufHeader) -> Lfm2Config:
    """The configuration that the metadata describes.

    Raises:
        ConfigError: Another architecture, a key that is missing, a value out of bounds.
    """
    take = _Taker(header)
    architecture = str(take("general.architecture"))
    values = {"model_type": _ARCHITECTURES.get(architecture, architecture)}
    if architecture != "lfm2":
        return Lfm2Config.from_dict(values)  # which knows what the relatives are
    _refuse_variants(take)
    heads, hidden = take("lfm2.attention.head_count"), take("lfm2.embedding_length")
    key_heads, layers = _key_heads(take)
    return Lfm2Config.from_dict(
        values
        | {
            "vocab_size": _vocab_size(take),
            "hidden_size": hidden,
            "intermediate_size": take("lfm2.feed_forward_length"),
            # The length is that of the tensors: nothing is adjusted any more.
            "block_auto_adjust_ff_dim": False,
            "num_hidden_layers": len(layers),
            "num_attention_heads": heads,
            "num_key_value_heads": key_heads or heads,
            "full_attn_idxs": [number for number, count in enumerate(layers) if count],
            "head_dim": take("lfm2.attention.key_length", None),
            "conv_L_cache": take("lfm2.shortconv.l_cache"),
            "max_position_embeddings": take("lfm2.context_length"),
            "rope_theta": _as_written(take("lfm2.rope.freq_base")),
            "norm_eps": _as_written(take("lfm2.attention.layer_norm_rms_epsilon")),
            "tie_word_embeddings": HEAD not in header.weights.tensors,
            "bos_token_id": take("tokenizer.ggml.bos_token_id", None),
            "eos_token_id": _end_ids(take),
            "pad_token_id": take("tokenizer.ggml.padding_token_id", None),
        }
    )


def checkpoint_header(header: GgufHeader) -> Header:
    """The tensors under the names, and with the shapes, that they have in a checkpoint.

    What no LFM2 has keeps its name.

    Raises:
        WeightsError: Two tensors are one weight.
    """
    tensors: dict[str, TensorInfo] = {}
    for tensor in header.weights.tensors.values():
        name, shape = _checkpoint_name(tensor.name), tensor.shape
        if name.endswith("conv.conv.weight") and len(shape) == 2:
            shape = (shape[0], 1, shape[1])  # (D, W) there, (D, 1, W) here
        if name in tensors:
            raise mixed_files(f"{header.path.name} holds {name} twice")
        tensors[name] = TensorInfo(name, tensor.dtype, shape, tensor.start, tensor.nbytes)
    return Header(header.path, tensors, header.weights.file_bytes, header.weights.sha256)


class _Taker:
    """Values of the metadata by key; one that is missing and has no default is an error."""

    def __init__(self, header: GgufHeader) -> None:
        self._header = header

    def __call__(self, key: str, *default: Any) -> Any:
        if key in self._header.metadata:
            return self._header.metadata[key]
        if default:
            return default[0]
        raise ConfigError(f"{self._header.path.name} names no {key}", hint=DOWNLOAD_AGAIN)


def _checkpoint_name(name: str) -> str:
    stem, dot, kind = name.rpartition(".")
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}{dot}{kind}"
    block, _, rest = stem.partition(".")
    number, _, part = rest.partition(".")
    if block == "blk" and number.isdecimal() and part in _IN_LAYER:
        return f"model.layers.{int(number)}.{_IN_LAYER[part]}{dot}{kind}"
    return name


def _refuse_variants(take: _Taker) -> None:
    """Refuse what the architecture allows and this engine does not compute.

    Raises:
        ConfigError: A model that reads both ways, another rotary embedding, uneven heads.
    """
    if take("lfm2.attention.causal", True) is not True:
        raise ConfigError(
            "this LFM2 reads its text in both directions and writes none: lfm2chat cannot chat"
            " with it",
            hint=WORKING,
        )
    scaling = take("lfm2.rope.scaling.type", "none")
    size = take("lfm2.attention.key_length", None)
    same = (take("lfm2.attention.value_length", size), take("lfm2.rope.dimension_count", size))
    if scaling != "none" or (size is not None and same != (size, size)):
        raise ConfigError(
            f"the rotary embedding is scaled by {str(scaling)[:60]!r} over {str(same[1])[:60]} of"
            f" {str(size)[:60]} numbers; this engine knows the plain one of LFM2",
            hint=WORKING,
        )


def _key_heads(take: _Taker) -> tuple[int, tuple[int, ...]]:
    """Key/value heads of a layer with attention, 0 where there is none; and of each layer.

    A convolution is a layer without heads: there is no other sign of it.
    """
    count, blocks = take("lfm2.attention.head_count_kv"), take("lfm2.block_count")
    if not isinstance(count, tuple):
        # One number is that of every layer; more layers than any model has are refused later.
        count = (count,) * min(blocks, 4096) if isinstance(blocks, int) else ()
    different = set(count) - {0}
    if len(count) != blocks or len(different) > 1:
        raise ConfigError(
            f"lfm2.attention.head_count_kv is {str(count)[:60]}, expected one number for each of"
            f" {str(blocks)[:60]} layers, 0 or the same",
            hint=DOWNLOAD_AGAIN,
        )
    return (different.pop() if different else 0), count


def _vocab_size(take: _Taker) -> Any:
    """Rows of the embedding; files of 2025 tell by their tokens alone."""
    tokens = take("tokenizer.ggml.tokens", ())
    return take("lfm2.vocab_size", len(tokens) if isinstance(tokens, tuple) else 0)


def _end_ids(take: _Taker) -> Any:
    """The tokens that end an answer: of a text, and of a turn where that is another one."""
    ids = {take(f"tokenizer.ggml.{name}_token_id", None): None for name in ("eos", "eot")}
    known = [one for one in ids if one is not None]
    return known if len(known) > 1 else next(iter(known), None)


def _as_written(value: Any) -> Any:
    """A number in float32 as the shortest decimal that is the same one: 1e-5, not 9.99999975e-06.

    So a configuration is the same whether it came from here or from a config.json.
    """
    if not isinstance(value, float):
        return value
    short = float(f"{value:.7g}")
    return short if struct.pack("<f", short) == struct.pack("<f", value) else value
