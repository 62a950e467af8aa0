"""Tensors and token ids: the model, its cache, sampling, generation. No text, no app."""

from __future__ import annotations

from lfm2chat.engine.cache import CacheMark, HybridCache, Lfm2HybridConvCache
from lfm2chat.engine.device import choose_device, choose_dtype, set_threads
from lfm2chat.engine.generate import DecodedToken, LanguageModel, decode, prefill
from lfm2chat.engine.memory import available_memory_bytes, estimate_bytes
from lfm2chat.engine.model import Lfm2ForCausalLM, Lfm2Model
from lfm2chat.engine.outputs import CausalLMOutput, ModelOutput
from lfm2chat.engine.sampling import Sampler

__all__ = [
    "CacheMark",
    "CausalLMOutput",
    "DecodedToken",
    "HybridCache",
    "LanguageModel",
    "Lfm2ForCausalLM",
    "Lfm2HybridConvCache",
    "Lfm2Model",
    "ModelOutput",
    "Sampler",
    "available_memory_bytes",
    "choose_device",
    "choose_dtype",
    "decode",
    "estimate_bytes",
    "prefill",
    "set_threads",
]
