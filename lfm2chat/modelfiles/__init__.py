"""Model files read and checked without torch: configs, safetensors headers, fingerprints."""

from __future__ import annotations

from lfm2chat.modelfiles.config import GenerationConfig, read_config, read_generation_config
from lfm2chat.modelfiles.safetensors import Header, TensorInfo, read_safetensors_header
from lfm2chat.modelfiles.weights import (
    WeightFiles,
    check_weights,
    expected_tensors,
    fingerprint,
)

__all__ = [
    "GenerationConfig",
    "Header",
    "TensorInfo",
    "WeightFiles",
    "check_weights",
    "expected_tensors",
    "fingerprint",
    "read_config",
    "read_generation_config",
    "read_safetensors_header",
]
