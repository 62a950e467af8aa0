"""What one turn cost: counted tokens and measured seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """Counts (tokens) and durations (seconds, monotonic clock) of one turn.

    ``prompt_tokens`` is the whole prompt; ``cached_tokens`` of it were in the cache already,
    so ``prompt_tokens - cached_tokens`` were read. ``decode_s`` runs from the first answer
    token to the last.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    time_to_first_token_s: float = 0.0

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens that had to be read in this turn."""
        return self.prompt_tokens - self.cached_tokens

    @property
    def prefill_rate(self) -> float | None:
        """Prefilled tokens per second, or None where nothing was measured."""
        return self.prefilled_tokens / self.prefill_s if self.prefill_s > 0 else None

    @property
    def decode_rate(self) -> float | None:
        """Answer tokens per second after the first one, or None where nothing was measured."""
        return (self.generated_tokens - 1) / self.decode_s if self.decode_s > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Timing:
        """The inverse of :meth:`as_dict`; unknown names are ignored, so newer stores open."""
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})
