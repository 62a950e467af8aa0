"""Tensors and token ids: the model, its cache, sampling, generation. No text, no app."""

from __future__ import annotations

from lfm2chat.engine.cache import CacheMark, HybridCache, Lfm2HybridConvCache
from lfm2chat.engine.model import Lfm2ForCausalLM, Lfm2Model
from lfm2chat.engine.outputs import CausalLMOutput, ModelOutput

__all__ = [
    "CacheMark",
    "CausalLMOutput",
    "HybridCache",
    "Lfm2ForCausalLM",
    "Lfm2HybridConvCache",
    "Lfm2Model",
    "ModelOutput",
]
