"""Tensors and token ids: the model, its cache, sampling, generation. No text, no app."""

from __future__ import annotations

from lfm2chat.engine.batch import BatchDecoder, CacheBatch, read_together
from lfm2chat.engine.cache import HybridCache, Lfm2HybridConvCache
from lfm2chat.engine.cache_file import CacheHeader, load_cache, read_cache_header, save_cache
from lfm2chat.engine.causal_lm import Lfm2ForCausalLM
from lfm2chat.engine.decoding import (
    DecodedToken,
    Decoding,
    LanguageModel,
    TokenChoice,
    decode,
    write,
)
from lfm2chat.engine.device import (
    choose_device,
    choose_dtype,
    set_threads,
    stored_dtype,
    torch_threads,
    use_threads,
)
from lfm2chat.engine.generate import ChunkPace, ScoredToken, prefill, score
from lfm2chat.engine.kernels import (
    TORCH,
    choose_precision,
    kernel_names,
    kernels_of,
    open_packed,
    packed_memory_bytes,
    run_packed,
    run_plain,
)
from lfm2chat.engine.memory import estimate_bytes, free_bytes
from lfm2chat.engine.model import Lfm2Model
from lfm2chat.engine.outputs import CausalLMOutput, ModelOutput
from lfm2chat.engine.places import CacheMark, CacheSegment
from lfm2chat.engine.quantize import Precision
from lfm2chat.engine.sampling import Sampler
from lfm2chat.engine.speculate import PassCosts, PromptLookup, Reader
from lfm2chat.engine.trial_file import KernelTrial, read_trials
from lfm2chat.engine.weights import require_finite_scores

__all__ = [
    "TORCH",
    "BatchDecoder",
    "CacheBatch",
    "CacheHeader",
    "CacheMark",
    "CacheSegment",
    "CausalLMOutput",
    "ChunkPace",
    "DecodedToken",
    "Decoding",
    "HybridCache",
    "KernelTrial",
    "LanguageModel",
    "Lfm2ForCausalLM",
    "Lfm2HybridConvCache",
    "Lfm2Model",
    "ModelOutput",
    "PassCosts",
    "Precision",
    "PromptLookup",
    "Reader",
    "Sampler",
    "ScoredToken",
    "TokenChoice",
    "choose_device",
    "choose_dtype",
    "choose_precision",
    "decode",
    "estimate_bytes",
    "free_bytes",
    "kernel_names",
    "kernels_of",
    "load_cache",
    "open_packed",
    "packed_memory_bytes",
    "prefill",
    "read_cache_header",
    "read_together",
    "read_trials",
    "require_finite_scores",
    "run_packed",
    "run_plain",
    "save_cache",
    "score",
    "set_threads",
    "stored_dtype",
    "torch_threads",
    "use_threads",
    "write",
]
