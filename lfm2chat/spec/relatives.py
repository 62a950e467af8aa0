"""The models that look like LFM2 and are not, each with a sentence on what it is.

A folder of one of them is a likely mistake. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfm2chat.errors import ConfigError

MODEL_TYPE = "lfm2"

WORKING = (
    "the text models of LFM2 (LFM2-350M, LFM2-700M, LFM2-1.2B, LFM2-2.6B) and LFM2.5 (230M to"
    " 2.6B) work, and what was fine-tuned from them"
)
"""The hint of every refusal: which models do work."""

_RELATIVES = {
    "lfm2_moe": "a mixture-of-experts model (LFM2-8B-A1B, LFM2-24B-A2B and their like)",
    "lfm2_vl": "a vision model (LFM2-VL), which reads pictures as well as text",
    "lfm2_audio": "an audio model (LFM2-Audio), which hears and speaks",
    "lfm3": "LFM3, the next generation, with other layers (sliding windows, gates, kernel 7)",
    "lfm3_vl": "LFM3-VL, a vision model of the next generation",
}


def refuse_other_models(values: Mapping[str, Any]) -> None:
    """Refuse a parsed config.json that is not of an LFM2 language model.

    Raises:
        ConfigError: It is of another kind; the message says which, the hint what works.
    """
    model_type = values.get("model_type")
    if model_type is None:
        raise ConfigError("config.json names no model_type", hint=WORKING)
    if model_type != MODEL_TYPE:
        shown = str(model_type)[:60]
        what = _RELATIVES.get(shown, f"a model of type {shown!r}, not an LFM2 language model")
        raise ConfigError(f"this is {what}: lfm2chat cannot run it", hint=WORKING)
    architectures = values.get("architectures")
    if isinstance(architectures, list) and architectures:
        if "Lfm2ForCausalLM" in architectures:
            return
        raise ConfigError(
            f"this is an LFM2 {str(architectures[0])[:60]}, which writes no text"
            " (an embedding or a retrieval model): lfm2chat cannot chat with it",
            hint=WORKING,
        )
