"""A tiny valid LFM2 folder, the fake hub that serves it, and a pull that is quick to give up."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lfm2chat.hub.access import Access
from lfm2chat.hub.download import pull
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.fetch import Progress
from lfm2chat.hub.library import LocalModel

REPOSITORY = "LiquidAI/LFM2-350M"
LFS = {"model.safetensors", "tokenizer.json"}
HIDDEN, FF, VOCAB, HEAD_DIM = 64, 128, 2048, 16


@pytest.fixture(scope="session")
def tiny_files() -> dict[str, bytes]:
    """Two layers, hidden size 64, random bf16 weights of 0.4 MB, and files nobody wants."""
    config = {
        "model_type": "lfm2",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": FF,
        "block_auto_adjust_ff_dim": False,
        "num_hidden_layers": 2,
        "num_attention_heads": HIDDEN // HEAD_DIM,
        "num_key_value_heads": 2,
        "layer_types": ["conv", "full_attention"],
        "eos_token_id": 7,
    }
    return {
        "README.md": b"# A model card with an escape \x1b]52;c;AAAA\x07",
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b'{"bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0}',
        "tokenizer.json": json.dumps({"version": "1.0", "model": {"vocab": {}}}).encode() * 500,
        "tokenizer_config.json": b'{"bos_token": "<|startoftext|>"}',
        "chat_template.jinja": b"{{- bos_token -}}",
        "LICENSE": b"LFM Open License v1.0\n",
        "model.safetensors": _weights(),
        "pytorch_model.bin": b"\x80\x04not a pickle",
        "modeling_lfm2.py": b"raise SystemExit('remote code was run')",
    }


def _weights() -> bytes:
    kv = 2 * HEAD_DIM
    shapes: dict[str, list[int]] = {
        "model.embed_tokens.weight": [VOCAB, HIDDEN],
        "model.embedding_norm.weight": [HIDDEN],
        "model.layers.0.conv.conv.weight": [HIDDEN, 1, 3],
        "model.layers.0.conv.in_proj.weight": [3 * HIDDEN, HIDDEN],
        "model.layers.0.conv.out_proj.weight": [HIDDEN, HIDDEN],
        "model.layers.1.self_attn.q_proj.weight": [HIDDEN, HIDDEN],
        "model.layers.1.self_attn.k_proj.weight": [kv, HIDDEN],
        "model.layers.1.self_attn.v_proj.weight": [kv, HIDDEN],
        "model.layers.1.self_attn.out_proj.weight": [HIDDEN, HIDDEN],
        "model.layers.1.self_attn.q_layernorm.weight": [HEAD_DIM],
        "model.layers.1.self_attn.k_layernorm.weight": [HEAD_DIM],
    }
    for layer in (0, 1):
        prefix = f"model.layers.{layer}"
        shapes[f"{prefix}.operator_norm.weight"] = [HIDDEN]
        shapes[f"{prefix}.ffn_norm.weight"] = [HIDDEN]
        shapes[f"{prefix}.feed_forward.w1.weight"] = [FF, HIDDEN]
        shapes[f"{prefix}.feed_forward.w3.weight"] = [FF, HIDDEN]
        shapes[f"{prefix}.feed_forward.w2.weight"] = [HIDDEN, FF]
    header: dict[str, Any] = {}
    offset = 0
    for name, shape in shapes.items():
        values = 1
        for length in shape:
            values *= length
        header[name] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [offset, offset + 2 * values],
        }
        offset += 2 * values
    data = bytearray(offset)
    data[0::2] = random.Random(5).randbytes(offset // 2)
    data[1::2] = b"\x3c" * (offset // 2)  # the high byte of a small positive number
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


@pytest.fixture
def hub(
    fake_hub_module: ModuleType, tiny_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    hub = fake_hub_module.FakeHub(dict(tiny_files), repository=REPOSITORY, lfs=set(LFS))
    yield hub
    hub.close()
    assert "/api/agent-harnesses" not in hub.asked()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


@pytest.fixture
def quick() -> Policy:
    """As the real one, but every wait is short."""
    return Policy(
        connect_timeout_s=2.0,
        read_timeout_s=0.4,
        look_s=0.02,
        floor_window_s=0.25,
        backoff_s=0.005,
        progress_bytes=1024,
        spare_bytes=0,
    )


@pytest.fixture
def progress() -> list[Progress]:
    return []


@pytest.fixture
def get(
    hub: Any, models_dir: Path, quick: Policy, progress: list[Progress]
) -> Callable[..., LocalModel]:
    """Pull from the fake hub: ``get()``, or ``get(name, token=..., policy=...)``."""

    def run(
        name: str = "LFM2-350M",
        *,
        endpoint: str = hub.url,
        token: str | None = None,
        proxy: str | None = None,
        **options: Any,
    ) -> LocalModel:
        settings: dict[str, Any] = {
            "models_dir": models_dir,
            "on_progress": progress.append,
            "cancelled": lambda: False,
            "access": Access(endpoint, token, proxy),
            "policy": quick,
        }
        return pull(name, **{**settings, **options})

    return run
