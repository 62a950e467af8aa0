"""lfm2chat: a private, offline terminal chat with its own LFM2 engine.

The names below are loaded when they are first used: importing the package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfm2chat.engine import Lfm2ForCausalLM, Lfm2Model
    from lfm2chat.hf import ChatModel, load
    from lfm2chat.spec import Lfm2Config, SamplingParams

__version__ = "0.1.0"
__all__ = [
    "ChatModel",
    "Lfm2Config",
    "Lfm2ForCausalLM",
    "Lfm2Model",
    "SamplingParams",
    "__version__",
    "load",
]

_HOMES = {
    "ChatModel": "lfm2chat.hf",
    "Lfm2Config": "lfm2chat.spec",
    "Lfm2ForCausalLM": "lfm2chat.engine",
    "Lfm2Model": "lfm2chat.engine",
    "SamplingParams": "lfm2chat.spec",
    "load": "lfm2chat.hf",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
