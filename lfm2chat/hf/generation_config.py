"""How a model generates where a call says nothing, and what a call says: names, defaults, limits.

In: generation_config.json, and the arguments of ``generate``. Out: a :class:`GenerationPlan`, in
which every value is settled and checked. Names, defaults and precedence are those of
``transformers`` 5.24 (``generation/configuration_utils.py``); torch is not needed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from lfm2chat.errors import UsageError
from lfm2chat.modelfiles.config import GENERATION_CONFIG
from lfm2chat.modelfiles.strictjson import read_json
from lfm2chat.spec import Lfm2Config

DEFAULT_NEW_TOKENS: Final = 20
DEFAULTS: Final[Mapping[str, Any]] = {
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "min_length": 0,
    "num_return_sequences": 1,
    "use_cache": True,
}
"""What holds where neither the folder nor the call says anything; all else is off then."""

_NEUTRAL: Final[Mapping[str, Any]] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "early_stopping": False,
    "length_penalty": 1.0,
    "diversity_penalty": 0.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_h": None,
    "encoder_repetition_penalty": 1.0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "sequence_bias": None,
    "exponential_decay_length_penalty": None,
    "guidance_scale": None,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "token_healing": False,
    "watermarking_config": None,
    "penalty_alpha": None,
    "dola_layers": None,
    "constraints": None,
    "force_words_ids": None,
    "stop_strings": None,
    "max_time": None,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
    "use_mtp": None,
    "return_dict_in_generate": False,
    "output_scores": False,
    "output_logits": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "prefill_chunk_size": None,
}
"""Options of the field that are not to be had here, with the value that asks for nothing."""


@dataclass(slots=True)
class GenerationConfig:
    """A model's defaults for ``generate``; None leaves a value to :data:`DEFAULTS`.

    ``model.generation_config`` is one, and its fields may be set, as documented.

    Attributes:
        max_length: Tokens of prompt and answer together.
        eos_token_id: One id or several that end an answer.
        other: What else the file says. Where it asks for something that is not to be had here,
            ``generate`` refuses, rather than to write something else.
    """

    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None
    max_length: int | None = None
    min_new_tokens: int | None = None
    min_length: int | None = None
    num_return_sequences: int | None = None
    use_cache: bool | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    other: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_config(cls, config: Lfm2Config) -> GenerationConfig:
        """For a model without a file of its own: the token ids of its configuration."""
        eos = list(config.eos_token_ids)
        return cls(
            bos_token_id=config.bos_token_id,
            eos_token_id=eos[0] if len(eos) == 1 else eos or None,
            pad_token_id=config.pad_token_id,
        )

    @classmethod
    def from_folder(cls, folder: Path, config: Lfm2Config) -> GenerationConfig:
        """What generation_config.json in ``folder`` says; :meth:`of_config` where there is none.

        Raises:
            ConfigError: The file is damaged.
        """
        path = folder / GENERATION_CONFIG
        if not path.exists():
            return cls.of_config(config)
        values = read_json(path)
        known = {name: values.pop(name) for name in _names() if name in values}
        return cls(**known, other=values)

    def to_dict(self) -> dict[str, Any]:
        """What is set, as JSON types."""
        chosen = {name: getattr(self, name) for name in sorted(_names())}
        return {name: value for name, value in chosen.items() if value is not None} | self.other

    def save_pretrained(self, folder: str | Path) -> None:
        """Write generation_config.json into ``folder``."""
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        (Path(folder) / GENERATION_CONFIG).write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """The settled values of one call. A processor that is None is not applied.

    Attributes:
        max_length: As given; None lets 20 new tokens be written. ``max_new_tokens`` goes first.
        min_length: Tokens of prompt and answer before which no end is allowed.
        eos_token_ids: Empty: nothing ends an answer but its length.
    """

    do_sample: bool
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    max_new_tokens: int | None
    max_length: int | None
    min_new_tokens: int
    min_length: int
    num_return_sequences: int
    use_cache: bool
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    pad_token_id: int | None

    def total_length(self, prompt: int, *, limit: int) -> int:
        """Tokens of prompt and answer at which it ends; the model has ``limit`` positions.

        Raises:
            UsageError: The prompt leaves no room for an answer.
        """
        if self.max_new_tokens is not None:
            total = prompt + self.max_new_tokens
        elif self.max_length is not None:
            total = self.max_length
        else:
            total = prompt + DEFAULT_NEW_TOKENS
        total = min(total, limit)
        if prompt >= total:
            raise UsageError(
                f"the prompt has {prompt} tokens, and prompt and answer may have {total}",
                hint="raise max_length, or better set max_new_tokens; else shorten the prompt"
                f" (the model has {limit} positions)",
            )
        return total


def plan_generation(
    own: GenerationConfig, given: GenerationConfig | None, options: Mapping[str, Any]
) -> GenerationPlan:
    """Settle a call: its ``options`` first (None switches off), then ``given``, then ``own``.

    Raises:
        UsageError: An option that is unknown or not to be had here, or a value out of range.
    """
    names = _names()
    values: dict[str, Any] = dict.fromkeys(names) | dict(DEFAULTS)
    others: dict[str, Any] = {}
    for config in (own, given):
        if config is not None:
            values |= {name: v for name in names if (v := getattr(config, name)) is not None}
            others |= {name: v for name, v in config.other.items() if name in _NEUTRAL}
    values |= {name: value for name, value in options.items() if name in names}
    others |= {name: value for name, value in options.items() if name not in names}
    _refuse(others)
    _check(values)
    eos, pad = _ids(values["eos_token_id"]), values["pad_token_id"]
    return GenerationPlan(
        do_sample=bool(values["do_sample"]),
        temperature=_unless(values["temperature"], 1),
        top_k=_unless(values["top_k"], 0),
        top_p=_unless(values["top_p"], 1),
        min_p=_unless(values["min_p"], 0),
        repetition_penalty=_unless(values["repetition_penalty"], 1),
        max_new_tokens=values["max_new_tokens"],
        max_length=values["max_length"],
        min_new_tokens=values["min_new_tokens"] or 0,
        min_length=values["min_length"] or 0,
        num_return_sequences=values["num_return_sequences"] or 1,
        use_cache=bool(values["use_cache"]),
        bos_token_id=values["bos_token_id"],
        eos_token_ids=eos,
        pad_token_id=eos[0] if pad is None and eos else pad,
    )


def _names() -> frozenset[str]:
    return frozenset(one.name for one in fields(GenerationConfig)) - {"other"}


def _unless(value: Any, neutral: float) -> Any:
    return None if value == neutral else value


def _refuse(others: Mapping[str, Any]) -> None:
    unknown = sorted(name for name in others if name not in _NEUTRAL)
    if unknown:
        raise UsageError(
            f"generate() does not take {', '.join(unknown)}",
            hint="look for a slip of the pen; known are " + ", ".join(sorted(_names())),
        )
    for name, value in others.items():
        if value is not None and value != _NEUTRAL[name]:
            raise UsageError(
                f"generate() cannot do {name}={value!r:.60}",
                hint=f"leave it out, or set {name}={_NEUTRAL[name]!r} where the model's"
                " generation_config.json asks for it",
            )


def _check(values: Mapping[str, Any]) -> None:
    for name, lowest in (
        *(("max_new_tokens", 1), ("max_length", 1), ("num_return_sequences", 1)),
        *(("min_new_tokens", 0), ("min_length", 0), ("top_k", 0), ("bos_token_id", 0)),
    ):
        value = values[name]
        if value is not None and not (_is_whole(value) and value >= lowest):
            raise _bad(name, value, f"a whole number from {lowest}")
    if values["pad_token_id"] is not None and not _is_whole(values["pad_token_id"]):
        raise _bad("pad_token_id", values["pad_token_id"], "a token id")
    _check_number("repetition_penalty", values["repetition_penalty"], above=0.0)
    if not values["do_sample"]:
        if (values["num_return_sequences"] or 1) > 1:
            raise UsageError(
                "without do_sample all answers to a prompt are the same",
                hint="set do_sample=True, or num_return_sequences=1",
            )
        return
    _check_number("temperature", values["temperature"], above=0.0)
    _check_number("top_p", values["top_p"], most=1.0)
    _check_number("min_p", values["min_p"], most=1.0)


def _check_number(
    name: str, value: object, *, above: float | None = None, most: float = math.inf
) -> None:
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    good = number and math.isfinite(value) and value <= most  # type: ignore[arg-type,operator]
    if good and (value > above if above is not None else value >= 0):  # type: ignore[operator]
        return
    wanted = f"a number above {above:g}" if above is not None else f"a number from 0 to {most:g}"
    hint = "for the likeliest token each time set do_sample=False" if name == "temperature" else ""
    raise _bad(name, value, wanted, hint=hint)


def _bad(name: str, value: object, expected: str, *, hint: str = "") -> UsageError:
    return UsageError(
        f"{name} is {value!r:.60}, expected {expected}", hint=hint or f"choose another {name}"
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    ids = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(_is_whole(token_id) for token_id in ids):
        raise _bad("eos_token_id", value, "a token id or a list of them")
    return ids
