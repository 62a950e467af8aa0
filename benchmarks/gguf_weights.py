"""One set of made-up LFM2 weights in the files of every engine that a benchmark compares.

    python benchmarks/gguf_weights.py FOLDER [--model 350M] [--seed 0] [--kinds Q8_0 Q4_0 Q4_K_M]

In: a configuration and a seed. Out, in FOLDER: ``hf/`` (config.json and model.safetensors in bf16,
for us and for transformers), ``bf16.gguf`` (the same numbers for llama.cpp) and, made of that one
by llama.cpp itself, ``Q8_0.gguf``, ``Q4_0.gguf``, ``Q4_K_M.gguf``.

The weights are heavy-tailed, as trained ones are: normal numbers would flatter every quantization,
because none of their blocks has an outlier that takes the others' precision. The GGUF's tokens are
made up (llama.cpp loads no model without any), so it reads ids and no text.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch
from parity import SIZES, configuration
from peer_processes import collect_llama_errors
from torch import Tensor

from lfm2chat.engine import Lfm2ForCausalLM
from lfm2chat.spec import Lfm2Config

FREEDOM = 5
"""Degrees of freedom of Student's t: the lower, the heavier the tails."""
NORM_SPREAD = 0.05
PIECE = 2**22
"""Numbers that are drawn at once: what a larger tensor needs beside itself stays small."""
KINDS = {"Q8_0": 7, "Q4_0": 2, "Q4_K_M": 15}
"""llama.cpp's file types."""
BF16_FILE = 32
QUANTIZATION_VERSION = 2

_LAYER_NAMES = {
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
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
}


def heavy_tailed_weights(config: Lfm2Config, seed: int) -> dict[str, Tensor]:
    """The state dict of an LFM2 in bf16, with the published models' names; a tied head is left out.

    Matrices follow Student's t with a standard deviation of ``config.initializer_range``. Norm
    weights are near 1. A convolution's are as large as keeps its signal's size: at the matrices'
    scale what it passes on would be next to nothing, and its errors too. Each tensor depends on
    the seed and its own name alone.
    """
    with torch.device("meta"):
        model = Lfm2ForCausalLM(config)
    state = {}
    for name, shape in ((name, value.shape) for name, value in model.state_dict().items()):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        generator = torch.Generator().manual_seed(seed * 2**32 + zlib.crc32(name.encode()))
        weight = torch.empty(shape, dtype=torch.bfloat16)
        if "norm" in name:
            weight.copy_(1 + NORM_SPREAD * torch.randn(shape, generator=generator))
        elif name.endswith("conv.conv.weight"):
            _draw(weight, std=1 / math.sqrt(config.conv_L_cache), generator=generator)
        else:
            _draw(weight, std=config.initializer_range, generator=generator)
        state[name] = weight
    return state


def write_folder(config: Lfm2Config, state: dict[str, Tensor], folder: Path) -> None:
    """Write config.json and model.safetensors into ``folder``, for us and for transformers."""
    with torch.device("meta"):
        model = Lfm2ForCausalLM(config)
    model.load_state_dict(state, strict=not config.tie_word_embeddings, assign=True)
    model.tie_weights()
    model.save_pretrained(folder)


def write_gguf(config: Lfm2Config, state: dict[str, Tensor], path: Path) -> None:
    """Write the weights into ``path`` for llama.cpp: matrices in bf16, norms and convs in float32.

    Raises:
        ValueError: ``config`` has biases, which llama.cpp's LFM2 has not.
    """
    if config.conv_bias:
        raise ValueError("llama.cpp knows no LFM2 with conv_bias")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LFM2])
    _describe(writer, config)
    _add_vocabulary(writer, config)
    for name, values, kind in _gguf_tensors(state):
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, values, _ in _gguf_tensors(state):
        writer.write_tensor_data(values)
    writer.close()


def quantize(source: Path, target: Path, kind: str, *, threads: int = 2) -> None:
    """Let llama.cpp make ``target`` out of ``source``, a GGUF in bf16.

    Args:
        source: Row lengths must be multiples of 32, for ``Q4_K_M`` of 256: llama.cpp would take
            another type for a tensor that is not.
        target: Is replaced.
        kind: One of :data:`KINDS`.
        threads: That it works with.

    Raises:
        RuntimeError: llama.cpp refused, with what it said.
    """
    import llama_cpp

    errors = collect_llama_errors()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = KINDS[kind]
    params.nthread = threads
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    if status:
        raise RuntimeError(f"{source} was not quantized to {kind}: {''.join(errors).strip()}")


def _draw(weight: Tensor, *, std: float, generator: torch.Generator) -> None:
    """Fill ``weight`` with Student's t of that standard deviation, by Bailey's polar method.

    As Box and Muller's for normal numbers, with another radius: it needs two uniform numbers,
    where the quotient that defines the distribution needs six normal ones.
    """
    scale = std / math.sqrt(FREEDOM / (FREEDOM - 2))
    flat = weight.view(-1)
    for start in range(0, flat.numel(), PIECE):
        piece = flat[start : start + PIECE]
        # Above 0, where the radius is infinite.
        radius = 1 - torch.rand(piece.numel(), generator=generator)
        radius.pow_(-2 / FREEDOM).sub_(1).mul_(FREEDOM).sqrt_()
        angle = torch.rand(piece.numel(), generator=generator).mul_(2 * math.pi)
        piece.copy_(angle.cos_().mul_(radius).mul_(scale))


def _describe(writer: gguf.GGUFWriter, config: Lfm2Config) -> None:
    """The metadata, as llama.cpp's own converter writes it."""
    writer.add_name("lfm2-made-up")
    writer.add_file_type(BF16_FILE)
    writer.add_quantization_version(QUANTIZATION_VERSION)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.ff_dim)
    writer.add_head_count(config.num_attention_heads)
    # Without heads a layer is a convolution: there is no other sign of it.
    writer.add_head_count_kv(
        [
            config.num_key_value_heads if layer in config.attention_layers else 0
            for layer in range(config.num_hidden_layers)
        ]
    )
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_shortconv_l_cache(config.conv_L_cache)


def _add_vocabulary(writer: gguf.GGUFWriter, config: Lfm2Config) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{token}" for token in range(config.vocab_size)])
    writer.add_token_types([gguf.TokenType.NORMAL] * config.vocab_size)
    writer.add_token_merges(["t 0"])
    if config.bos_token_id is not None:
        writer.add_bos_token_id(config.bos_token_id)
    if config.eos_token_ids:
        writer.add_eos_token_id(config.eos_token_ids[0])


def _gguf_tensors(
    state: dict[str, Tensor],
) -> Iterator[tuple[str, np.ndarray, gguf.GGMLQuantizationType]]:
    """llama.cpp's name, numbers and type of each tensor; those in bf16 share the state's memory."""
    for name, value in state.items():
        if "norm" in name or name.endswith("conv.conv.weight"):
            # A convolution's (D, 1, W) has no middle dimension there.
            wide = value.to(torch.float32).flatten(1) if value.dim() > 1 else value.float()
            yield _gguf_name(name), wide.numpy(), gguf.GGMLQuantizationType.F32
        else:
            bits = value.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
            yield _gguf_name(name), bits, gguf.GGMLQuantizationType.BF16


def _gguf_name(name: str) -> str:
    stem = name.removeprefix("model.").removesuffix(".weight")
    if stem.startswith("layers."):
        _, layer, part = stem.split(".", 2)
        return f"blk.{layer}.{_LAYER_NAMES[part]}.weight"
    top = {"embed_tokens": "token_embd", "embedding_norm": "token_embd_norm", "lm_head": "output"}
    return f"{top[stem]}.weight"


def main() -> int:
    """Write everything, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=SIZES, default="350M")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    config = configuration(arguments.model)
    seconds = {}
    started = time.perf_counter()
    state = heavy_tailed_weights(config, arguments.seed)
    seconds["draw"] = time.perf_counter() - started
    write_folder(config, state, arguments.folder / "hf")
    bf16 = arguments.folder / "bf16.gguf"
    write_gguf(config, state, bf16)
    seconds["write"] = time.perf_counter() - started - seconds["draw"]
    del state
    for kind in arguments.kinds:
        started = time.perf_counter()
        quantize(bf16, arguments.folder / f"{kind}.gguf", kind)
        seconds[kind] = time.perf_counter() - started
    sizes = {path.name: path.stat().st_size for path in sorted(arguments.folder.glob("*.gguf"))}
    print(json.dumps({"model": arguments.model, "seconds": seconds, "bytes": sizes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
