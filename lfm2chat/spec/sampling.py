"""The sampling parameters of one turn, checked when they are made.

Names, meaning and order of application are those of Hugging Face ``transformers``
(5.23, ``generation/utils.py``), except that a temperature of 0 means greedy here and that
``top_k=0`` means off (there an unset ``top_k`` silently is 50).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from lfm2chat.errors import SettingsError

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is drawn, and when the answer ends.

    Attributes:
        temperature: Divides the logits; 0 means greedy (the likeliest token, always).
        min_p: Drops tokens less likely than ``min_p`` times the likeliest; 0 means off.
        top_p: Keeps the smallest set of tokens whose probabilities reach ``top_p``; 1 is off.
        top_k: Keeps the ``top_k`` likeliest tokens; 0 means off.
        repetition_penalty: Divides (positive) or multiplies (negative) the logits of every
            token that the context holds, once per token; 1 means off.
        max_new_tokens: The answer has at most this many tokens.
        seed: Start of the random numbers; None draws a fresh one for each turn.
        stop: Texts that end the answer; they are not part of it.

    Raises:
        SettingsError: A value is out of range; the message names it, its value and its range.
    """

    temperature: float = 0.3
    min_p: float = 0.15
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.05
    max_new_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _number("temperature", self.temperature, 0.0, 5.0)
        _number("min_p", self.min_p, 0.0, 1.0)
        _number("top_p", self.top_p, 0.0, 1.0)
        _integer("top_k", self.top_k, 0, 2**20)
        _number("repetition_penalty", self.repetition_penalty, 0.1, 10.0)
        _integer("max_new_tokens", self.max_new_tokens, 1, 2**20)
        if self.seed is not None:
            _integer("seed", self.seed, 0, MAX_SEED)
        if isinstance(self.stop, str) or not all(
            isinstance(text, str) and text for text in self.stop
        ):
            raise SettingsError(
                f"stop is {self.stop!r}, expected a list of texts that are not empty",
                hint='write it as a list, for example ["\\n\\n"]',
            )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken each time (``temperature`` is 0)."""
        return self.temperature == 0.0

    def changed(self, **values: Any) -> SamplingParams:
        """A copy with ``values`` replaced, checked again; values that are None are skipped."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    def for_sibling(self, place: int) -> SamplingParams:
        """These for one of several answers to the same: the first, ``place`` 0, has the seed, each
        one after it the next number (after the largest comes 0). No seed stays none.
        """
        if self.seed is None:
            return self
        return replace(self, seed=(self.seed + place) % (MAX_SEED + 1))

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types (``stop`` as a list)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["stop"] = list(self.stop)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SamplingParams:
        """The parameters in ``values``; what is missing has its default.

        Raises:
            SettingsError: An unknown name, or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingsError(
                f"unknown sampling parameter {unknown[0]!r}",
                hint="known are: " + ", ".join(sorted(known)),
            )
        values = dict(values)
        if isinstance(values.get("stop"), list):
            values["stop"] = tuple(values["stop"])
        return cls(**values)


def _number(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise SettingsError(
            f"{name} is {value!r}, expected a number from {low:g} to {high:g}",
            hint=f"choose {name} between {low:g} and {high:g}",
        )


def _integer(name: str, value: object, low: int, high: int) -> None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or not low <= value <= high:  # type: ignore[operator]
        raise SettingsError(
            f"{name} is {value!r}, expected a whole number from {low} to {high}",
            hint=f"choose {name} between {low} and {high}",
        )
