"""Whether the weights of a folder are those of its config: names, shapes and dtypes.

In: a folder and its configuration. Out: where each tensor lies. Nothing is loaded; a folder that
passes can be allocated for without a surprise.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.modelfiles.folder import ModelFolder, open_folder
from lfm2chat.modelfiles.opened import mixed_files
from lfm2chat.modelfiles.safetensors import Header, TensorInfo
from lfm2chat.spec.config import ATTENTION, Lfm2Config

HEAD = "lm_head.weight"

_SAMPLES, _SAMPLE_BYTES = 64, 4096


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The checked weights of one folder, one header for each file.

    ``dtype`` is the one that most numbers have, as the files spell it (``BF16``, ``Q8_0``).
    """

    folder: Path
    config: Lfm2Config
    headers: tuple[Header, ...]
    dtype: str

    @property
    def file_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(header.file_bytes for header in self.headers)


def expected_tensors(config: Lfm2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of ``config`` must have."""
    hidden = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.embedding_norm.weight": (hidden,),
    }
    for layer, kind in enumerate(config.layer_types):
        operator = _attention(config) if kind == ATTENTION else _conv(config)
        shapes |= {
            f"model.layers.{layer}.{name}": shape
            for name, shape in {
                "operator_norm.weight": (hidden,),
                "ffn_norm.weight": (hidden,),
                "feed_forward.w1.weight": (config.ff_dim, hidden),
                "feed_forward.w3.weight": (config.ff_dim, hidden),
                "feed_forward.w2.weight": (hidden, config.ff_dim),
                **operator,
            }.items()
        }
    if not config.tie_word_embeddings:
        shapes[HEAD] = (config.vocab_size, hidden)
    return shapes


def check_weights(folder: Path | ModelFolder, config: Lfm2Config) -> WeightFiles:
    """The weights in ``folder``, one file or several, compared with ``config``.

    A head in the files of a tied model is allowed and not used, as in ``transformers``.

    Raises:
        WeightsError: There are none, a file is damaged, or a tensor is missing, superfluous or
            of another shape; the message names the first difference.
    """
    opened = open_folder(folder)
    headers = tuple(opened.headers())
    found: dict[str, TensorInfo] = {}
    for header in headers:
        for name, tensor in header.tensors.items():
            if name in found:
                raise mixed_files(f"{name} stands in two files of {opened.path.name}")
            found[name] = tensor
    expected = expected_tensors(config)
    optional = {HEAD: expected["model.embed_tokens.weight"]} if config.tie_word_embeddings else {}
    _compare(found, expected, optional)
    numbers = Counter[str]()
    for tensor in found.values():
        numbers[tensor.dtype] += tensor.nbytes
    return WeightFiles(opened.path, config, headers, numbers.most_common(1)[0][0])


def fingerprint(folder: Path | ModelFolder) -> str:
    """A name for the model in ``folder``: the same for a copy, another for other weights.

    Cheap (milliseconds): it covers the configuration, the headers, the sizes and 64 samples of
    4 KiB from each weights file, so it tells fine-tunes apart; it is no checksum of every byte.

    Raises:
        ConfigError, WeightsError: A file is missing or damaged.
    """
    opened = open_folder(folder)
    digest = hashlib.sha256(opened.description())
    for header in opened.headers():
        line = f"{header.path.name} {header.file_bytes} {header.sha256}\n"
        digest.update(line.encode())
        with header.path.open("rb") as file:
            for sample in range(_SAMPLES):
                file.seek(header.file_bytes * sample // _SAMPLES)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _attention(config: Lfm2Config) -> dict[str, tuple[int, ...]]:
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    return {
        "self_attn.q_proj.weight": (queries, config.hidden_size),
        "self_attn.k_proj.weight": (keys, config.hidden_size),
        "self_attn.v_proj.weight": (keys, config.hidden_size),
        "self_attn.out_proj.weight": (config.hidden_size, queries),
        "self_attn.q_layernorm.weight": (config.head_dim,),
        "self_attn.k_layernorm.weight": (config.head_dim,),
    }


def _conv(config: Lfm2Config) -> dict[str, tuple[int, ...]]:
    hidden = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "conv.conv.weight": (hidden, 1, config.conv_L_cache),
        "conv.in_proj.weight": (3 * hidden, hidden),
        "conv.out_proj.weight": (hidden, hidden),
    }
    if config.conv_bias:
        shapes |= {
            "conv.conv.bias": (hidden,),
            "conv.in_proj.bias": (3 * hidden,),
            "conv.out_proj.bias": (hidden,),
        }
    return shapes


def _compare(
    found: Mapping[str, TensorInfo],
    expected: Mapping[str, tuple[int, ...]],
    optional: Mapping[str, tuple[int, ...]],
) -> None:
    for name, shape in expected.items():
        if name not in found:
            raise mixed_files(f"{name} is missing from the weights")
        if found[name].shape != shape:
            raise mixed_files(f"{name} is {found[name].shape}, expected {shape}")
    for name, tensor in found.items():
        if name not in expected and optional.get(name) != tensor.shape:
            raise mixed_files(f"the weights hold {name} {tensor.shape}, which no LFM2 has")
