"""GGUF files for tests, written by the format's own library as llama.cpp's converter would."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

from lfm2chat.modelfiles import read_config

LAYER_NAMES = {
    "operator_norm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "conv.in_proj": "shortconv.in_proj",
    "conv.conv": "shortconv.conv",
    "conv.out_proj": "shortconv.out_proj",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}
WHOLE_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.embedding_norm": "token_embd_norm",
    "lm_head": "output",
}


def gguf_of_folder(folder: Path, target: Path, kind: str = "BF16", **changes) -> Path:
    """The model in ``folder`` as one GGUF file; ``changes`` are those of :func:`write_gguf`."""
    state = load_file(folder / "model.safetensors")
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    return write_gguf(
        target,
        read_config(folder),
        state,
        kind=kind,
        tokenizer=tokenizer,
        template=template,
        **changes,
    )


def write_gguf(
    target: Path,
    config,
    state,
    *,
    kind: str = "BF16",
    head: str | None = None,
    tokenizer=None,
    template: str = "",
    pre: str = "lfm2",
    norm: str = "token_embd_norm",
) -> Path:
    """``state`` (a checkpoint's) in ``target``: matrices as ``kind``, the rest in float32.

    ``head`` is the type of the embedding where it is another one; an array of bytes in place of a
    weight is written as it is. ``norm`` is what the last norm is called.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(target, "lfm2")
    _describe(writer, config)
    if tokenizer is not None:
        _add_vocabulary(writer, config, tokenizer, pre)
    if template:
        writer.add_chat_template(template)
    for name, weight in state.items():
        stem = name.removesuffix(".weight")
        wanted = kind if weight.ndim > 1 and not stem.endswith("conv.conv") else "F32"
        wanted = head if head and stem in ("model.embed_tokens", "lm_head") else wanted
        qtype = gguf.GGMLQuantizationType[wanted]
        if weight.dtype == torch.uint8:
            data = weight.numpy()
        else:
            # A convolution's (D, 1, W) has no middle dimension there.
            numbers = weight.float().squeeze(1) if weight.ndim == 3 else weight.float()
            data = gguf.quants.quantize(numbers.numpy(), qtype)
        called = _gguf_name(stem).replace("token_embd_norm", norm)
        writer.add_tensor(f"{called}.weight", np.ascontiguousarray(data), raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _describe(writer, config) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.ff_dim)
    writer.add_head_count(config.num_attention_heads)
    layers = range(config.num_hidden_layers)
    heads = config.num_key_value_heads
    writer.add_head_count_kv([heads if i in config.attention_layers else 0 for i in layers])
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_shortconv_l_cache(config.conv_L_cache)


def _add_vocabulary(writer, config, tokenizer, pre: str) -> None:
    tokens = {i: token for token, i in tokenizer["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, gguf.TokenType.NORMAL)
    for token in tokenizer["added_tokens"]:
        special = token["special"]
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
    ids = range(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([tokens.get(i, f"[PAD{i}]") for i in ids])
    writer.add_token_types([kinds.get(i, gguf.TokenType.UNUSED) for i in ids])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_ids[0])
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_add_bos_token(True)


def _gguf_name(stem: str) -> str:
    if stem in WHOLE_NAMES:
        return WHOLE_NAMES[stem]
    _, _, number, part = stem.split(".", 3)
    return f"blk.{number}.{LAYER_NAMES[part]}"
