"""Plain dataclasses that every layer may hold: standard library only, no torch, no Textual."""

from __future__ import annotations

from lfm2chat.spec.config import Lfm2Config
from lfm2chat.spec.finish import FinishReason
from lfm2chat.spec.sampling import SamplingParams
from lfm2chat.spec.timing import Timing

__all__ = ["FinishReason", "Lfm2Config", "SamplingParams", "Timing"]
