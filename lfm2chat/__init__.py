"""lfm2chat: a private, offline terminal chat with its own LFM2 engine.

The names below are loaded when they are first used: importing the package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfm2chat.hf import ChatModel, load
    from lfm2chat.hf.auto import AutoModelForCausalLM, AutoTokenizer
    from lfm2chat.hf.models import Lfm2ForCausalLM, Lfm2Model
    from lfm2chat.hf.streamers import TextStreamer
    from lfm2chat.spec import Lfm2Config, SamplingParams

__version__ = "0.1.0"
__all__ = [
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "ChatModel",
    "Lfm2Config",
    "Lfm2ForCausalLM",
    "Lfm2Model",
    "SamplingParams",
    "TextStreamer",
    "__version__",
    "load",
]

_HOMES = {
    "AutoModelForCausalLM": "lfm2chat.hf.auto",
    "AutoTokenizer": "lfm2chat.hf.auto",
    "ChatModel": "lfm2chat.hf",
    "Lfm2Config": "lfm2chat.spec",
    "Lfm2ForCausalLM": "lfm2chat.hf.models",
    "Lfm2Model": "lfm2chat.hf.models",
    "SamplingParams": "lfm2chat.spec",
    "TextStreamer": "lfm2chat.hf.streamers",
    "load": "lfm2chat.hf",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
