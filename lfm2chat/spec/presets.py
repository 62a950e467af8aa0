"""The presets of sampling that everybody has, by what they are good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lfm2chat.spec.sampling import SamplingParams


@dataclass(frozen=True, slots=True)
class BuiltinPreset:
    """``values`` are laid over the model's recommendation; none are the recommendation itself."""

    name: str
    meaning: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def over(self, recommended: SamplingParams) -> SamplingParams:
        """The parameters for a model with that recommendation."""
        return SamplingParams.from_dict({**recommended.as_dict(), **self.values})


BUILTIN_PRESETS: tuple[BuiltinPreset, ...] = (
    BuiltinPreset("Recommended", "as the makers of the model advise"),
    BuiltinPreset(
        "Exact",
        "the likeliest word each time: the same answer to the same question",
        {"temperature": 0.0, "min_p": 0.0, "repetition_penalty": 1.0},
    ),
    BuiltinPreset(
        "Careful", "little chance: facts, extraction, code", {"temperature": 0.15, "min_p": 0.2}
    ),
    BuiltinPreset("Balanced", "for talking", {"temperature": 0.6, "min_p": 0.1}),
    BuiltinPreset(
        "Lively", "much chance: ideas, stories, names", {"temperature": 1.0, "min_p": 0.08}
    ),
)
