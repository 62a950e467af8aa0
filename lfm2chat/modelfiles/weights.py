"""Whether the weights of a folder are those of its config: names, shapes and dtypes.

In: a folder and its configuration. Out: where each tensor lies. Nothing is loaded; a folder that
passes can be allocated for without a surprise.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lfm2chat.errors import ConfigError, WeightsError
from lfm2chat.modelfiles.safetensors import Header, TensorInfo, read_safetensors_header
from lfm2chat.modelfiles.strictjson import DOWNLOAD_AGAIN, read_bytes, read_json
from lfm2chat.spec.config import ATTENTION, Lfm2Config

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARDS = 64
HEAD = "lm_head.weight"

_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}\.safetensors")
_SAMPLES, _SAMPLE_BYTES = 64, 4096


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The checked weights of one folder, one header for each file.

    ``dtype`` is the one that most numbers have, as safetensors spells it (``BF16``).
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


def check_weights(folder: Path, config: Lfm2Config) -> WeightFiles:
    """The weights in ``folder``, one file or several, compared with ``config``.

    A head in the files of a tied model is allowed and not used, as in ``transformers``.

    Raises:
        WeightsError: There are none, a file is damaged, or a tensor is missing, superfluous or
            of another shape; the message names the first difference.
    """
    headers = tuple(_headers(folder))
    found: dict[str, TensorInfo] = {}
    for header in headers:
        for name, tensor in header.tensors.items():
            if name in found:
                raise _differs(f"{name} stands in two files of {folder.name}")
            found[name] = tensor
    expected = expected_tensors(config)
    optional = {HEAD: expected["model.embed_tokens.weight"]} if config.tie_word_embeddings else {}
    _compare(found, expected, optional)
    numbers = Counter[str]()
    for tensor in found.values():
        numbers[tensor.dtype] += tensor.nbytes
    return WeightFiles(folder, config, headers, numbers.most_common(1)[0][0])


def fingerprint(folder: Path) -> str:
    """A name for the model in ``folder``: the same for a copy, another for other weights.

    Cheap (milliseconds): it covers config.json, the headers, the sizes and 64 samples of 4 KiB
    from each weights file, so it tells fine-tunes apart; it is no checksum of every byte.

    Raises:
        ConfigError, WeightsError: A file is missing or damaged.
    """
    digest = hashlib.sha256(read_bytes(folder / "config.json", max_bytes=2**20))
    for header in _headers(folder):
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
            raise _differs(f"{name} is missing from the weights")
        if found[name].shape != shape:
            raise _differs(f"{name} is {found[name].shape}, expected {shape}")
    for name, tensor in found.items():
        if name not in expected and optional.get(name) != tensor.shape:
            raise _differs(f"the weights hold {name} {tensor.shape}, which no LFM2 has")


def _headers(folder: Path) -> Iterator[Header]:
    if (folder / SINGLE).exists():
        yield read_safetensors_header(folder / SINGLE)
        return
    if not (folder / INDEX).exists():
        raise _no_weights(folder)
    try:
        places = read_json(folder / INDEX, max_bytes=4 * 2**20).get("weight_map")
    except ConfigError as error:
        raise WeightsError(str(error), hint=error.hint) from None
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{INDEX} has no weight_map", hint=DOWNLOAD_AGAIN)
    for name in places.values():
        # A name is no path: no separator, no "..", nothing outside the folder.
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise WeightsError(f"{INDEX} names the file {ascii(name)[:60]}", hint=DOWNLOAD_AGAIN)
    shards = sorted(set(places.values()))
    if len(shards) > MAX_SHARDS:
        raise WeightsError(f"{INDEX} names {len(shards)} files", hint=DOWNLOAD_AGAIN)
    for shard in shards:
        header = read_safetensors_header(folder / shard)
        listed = {name for name, place in places.items() if place == shard}
        if listed != set(header.tensors):
            name = min(listed ^ set(header.tensors))
            raise _differs(f"{INDEX} and {shard} do not agree about {ascii(name)[:100]}")
        yield header


def _no_weights(folder: Path) -> WeightsError:
    other = next((path.name for path in sorted(folder.glob("*.bin"))), "")
    aside = f"; {other} is a pickle, which could run code and is never opened" if other else ""
    return WeightsError(f"{folder} has no safetensors weights{aside}", hint=DOWNLOAD_AGAIN)


def _differs(message: str) -> WeightsError:
    return WeightsError(message, hint="the folder mixes two models: download it again")
