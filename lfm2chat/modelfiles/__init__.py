"""Model files read and checked without torch: configs, headers, tokenizers, fingerprints.

A model is a folder of safetensors and JSON, or one GGUF file: :mod:`lfm2chat.modelfiles.folder`.
"""

from __future__ import annotations

from lfm2chat.modelfiles.config import GenerationConfig
from lfm2chat.modelfiles.folder import (
    ModelFolder,
    looks_like_model,
    open_folder,
    read_config,
    read_generation_config,
)
from lfm2chat.modelfiles.gguf import GgufHeader, read_gguf_header
from lfm2chat.modelfiles.gguf_vocabulary import Vocabulary
from lfm2chat.modelfiles.safetensors import Header, TensorInfo, read_safetensors_header
from lfm2chat.modelfiles.weights import (
    WeightFiles,
    check_weights,
    expected_tensors,
    fingerprint,
)

__all__ = [
    "GenerationConfig",
    "GgufHeader",
    "Header",
    "ModelFolder",
    "TensorInfo",
    "Vocabulary",
    "WeightFiles",
    "check_weights",
    "expected_tensors",
    "fingerprint",
    "looks_like_model",
    "open_folder",
    "read_config",
    "read_generation_config",
    "read_gguf_header",
    "read_safetensors_header",
]
