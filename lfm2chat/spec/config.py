"""The numbers that describe one LFM2 model: names as in config.json, checked when made.

Field names, order, defaults and aliases are those of the documented ``Lfm2Config``, except that
every value is bounded: a config comes from a foreign file and must be refused before anything is
sized by it. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from lfm2chat.spec.config_values import (
    INT_BOUNDS,
    MAX_FF,
    MAX_LAYERS,
    MAX_VOCAB,
    as_tuple,
    bad_value,
    check_int,
    checked_float,
    rope_theta,
)
from lfm2chat.spec.relatives import MODEL_TYPE, refuse_other_models

ATTENTION = "full_attention"
CONV = "conv"

_SWITCHES = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}
_BOOLS = (
    *("use_cache", "tie_word_embeddings", "conv_bias", "block_auto_adjust_ff_dim"),
    *_SWITCHES,
)
_DERIVED = ("num_key_value_heads", "full_attn_idxs", "layer_types", "head_dim")
_NOT_FIELDS = ("self", "derived", "legacy")
_ALIASES = ("block_ff_dim", "tie_embedding", "theta", "rope_parameters", "rope_scaling")


class _Default(float):
    """The documented default, which can be told from the same number given by the caller."""


@dataclass(frozen=True, init=False)
class Lfm2Config:
    """One LFM2 model's configuration, resolved and checked.

    The arguments are the documented ones in their documented order; no published checkpoint has
    the defaults. What is derived from other values stands in its field, and is derived anew by
    ``dataclasses.replace`` unless that gives it. Legacy names are taken as keywords with the
    meaning that they have in config.json: ``block_ff_dim`` overrides ``intermediate_size``,
    ``tie_embedding`` overrides ``tie_word_embeddings``, ``rope_parameters`` (or ``rope_scaling``)
    overrides ``rope_theta``, and ``theta`` counts where neither is given. Every other keyword
    (``block_dim``, ``conv_dim``, ``num_heads``, ...) is accepted and has no effect.

    Attributes:
        intermediate_size: Width of the feed-forward block before the adjustment; see ``ff_dim``.
        num_key_value_heads: Key/value heads; None at construction means as many as query heads.
        max_position_embeddings: Positions that the rotary embedding knows; an upper limit only.
        use_cache: What ``forward`` does where its call says nothing; so are
            ``output_hidden_states``, ``output_attentions`` and ``return_dict``.
        conv_L_cache: Width of the short convolution's kernel.
        full_attn_idxs: Layers with attention, used where ``layer_types`` is not given; None is
            all of them.
        layer_types: ``"conv"`` or ``"full_attention"`` for each layer.
        head_dim: Size of one head; None at construction is ``hidden_size / num_attention_heads``.
        derived: Names and values of the fields that were derived; no part of the description.

    Raises:
        ConfigError: A value is of the wrong type, out of bounds or does not fit another.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    initializer_range: float
    norm_eps: float
    use_cache: bool
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | tuple[int, ...] | None
    tie_word_embeddings: bool
    rope_theta: float
    conv_bias: bool
    conv_L_cache: int  # noqa: N815 - the checkpoint's name
    block_multiple_of: int
    block_ffn_dim_multiplier: float | None
    block_auto_adjust_ff_dim: bool
    full_attn_idxs: tuple[int, ...] | None
    layer_types: tuple[str, ...]
    head_dim: int
    output_hidden_states: bool
    output_attentions: bool
    return_dict: bool
    derived: tuple[tuple[str, Any], ...] = field(compare=False, repr=False)

    def __init__(  # noqa: PLR0917 - the documented arguments may be positional
        self,
        /,
        vocab_size: int = 65_536,
        hidden_size: int = 2560,
        intermediate_size: int = 12_288,
        num_hidden_layers: int = 32,
        num_attention_heads: int = 32,
        num_key_value_heads: int | None = 8,
        max_position_embeddings: int = 128_000,
        initializer_range: float = 0.02,
        norm_eps: float = 1e-5,
        use_cache: bool = True,
        pad_token_id: int | None = 0,
        bos_token_id: int | None = 1,
        eos_token_id: int | Sequence[int] | None = 2,
        tie_word_embeddings: bool = True,
        rope_theta: float | None = _Default(1_000_000.0),
        conv_bias: bool = False,
        conv_L_cache: int = 3,  # noqa: N803 - the checkpoint's name
        block_multiple_of: int = 256,
        block_ffn_dim_multiplier: float | None = 1.0,
        block_auto_adjust_ff_dim: bool = True,
        full_attn_idxs: Sequence[int] | None = None,
        layer_types: Sequence[str] | None = None,
        *,
        head_dim: int | None = None,
        output_hidden_states: bool | None = False,
        output_attentions: bool | None = False,
        return_dict: bool | None = True,
        derived: Sequence[tuple[str, Any]] = (),
        **legacy: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in _NOT_FIELDS}
        # What was derived and is handed on by `dataclasses.replace` was not chosen by anybody.
        given |= {name: None for name, value in derived if given[name] == value}
        for name, value in given.items():
            self._set(name, value)
        self._resolve_aliases(legacy)
        self._check_plain()
        self._resolve_heads()
        self._resolve_layers()
        self._check_token_ids()
        self._set("derived", tuple((n, getattr(self, n)) for n in _DERIVED if given[n] is None))
        if not 1 <= self.ff_dim <= MAX_FF:
            raise bad_value("the feed-forward width", self.ff_dim, f"1 to {MAX_FF}")

    @property
    def ff_dim(self) -> int:
        """Width of ``w1`` and ``w3``: ``intermediate_size`` after LFM2's adjustment.

        Two thirds, times the multiplier, rounded up to ``block_multiple_of``: 6656 is 4608.
        Without a multiplier nothing is rounded, as in ``transformers``.
        """
        if not self.block_auto_adjust_ff_dim:
            return self.intermediate_size
        width = int(2 * self.intermediate_size / 3)
        if self.block_ffn_dim_multiplier is None:
            return width
        width = int(self.block_ffn_dim_multiplier * width)
        return self.block_multiple_of * math.ceil(width / self.block_multiple_of)

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Numbers of the layers with attention."""
        return tuple(i for i, kind in enumerate(self.layer_types) if kind == ATTENTION)

    @property
    def conv_layers(self) -> tuple[int, ...]:
        """Numbers of the layers with a short convolution."""
        return tuple(i for i, kind in enumerate(self.layer_types) if kind == CONV)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Every id that ends an answer, in the config's order; empty if it names none."""
        if self.eos_token_id is None:
            return ()
        return (self.eos_token_id,) if isinstance(self.eos_token_id, int) else self.eos_token_id

    @property
    def num_parameters(self) -> int:
        """Numbers in the weights; a tied head is counted once."""
        hidden, queries = self.hidden_size, self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        attention = 2 * hidden * queries + 2 * hidden * keys + 2 * self.head_dim
        conv = 4 * hidden * hidden + self.conv_L_cache * hidden
        if self.conv_bias:
            conv += 5 * hidden
        block = 3 * hidden * self.ff_dim + 2 * hidden
        embeddings = self.vocab_size * hidden * (1 if self.tie_word_embeddings else 2)
        return (
            embeddings
            + hidden
            + len(self.layer_types) * block
            + len(self.attention_layers) * attention
            + len(self.conv_layers) * conv
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Lfm2Config:
        """The configuration in a parsed config.json; keys that LFM2 does not read are ignored.

        Fields and aliases mean what they mean as arguments.

        Raises:
            ConfigError: Another kind of model, an unknown rotary embedding, or a bad value.
        """
        refuse_other_models(values)
        known = {row.name for row in fields(cls)} - {"derived"} | set(_ALIASES)
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types, as config.json has them; ``transformers`` reads it too."""
        values: dict[str, Any] = {"architectures": ["Lfm2ForCausalLM"], "model_type": MODEL_TYPE}
        for name in (row.name for row in fields(self) if row.name != "derived"):
            value = getattr(self, name)
            values[name] = list(value) if isinstance(value, tuple) else value
        values["rope_parameters"] = {"rope_theta": self.rope_theta, "rope_type": "default"}
        return values

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _resolve_aliases(self, legacy: Mapping[str, Any]) -> None:
        for alias, name in (
            ("block_ff_dim", "intermediate_size"),
            ("tie_embedding", "tie_word_embeddings"),
        ):
            if legacy.get(alias) is not None:
                self._set(name, legacy[alias])
        given = None if isinstance(self.rope_theta, _Default) else self.rope_theta
        theta = rope_theta(legacy, given)
        self._set("rope_theta", 1_000_000.0 if theta is None else theta)
        # Other libraries write null for a switch that nobody set.
        for name, default in _SWITCHES.items():
            if getattr(self, name) is None:
                self._set(name, default)

    def _check_plain(self) -> None:
        if _missing(self.num_key_value_heads):
            self._set("num_key_value_heads", self.num_attention_heads)
        for name, (low, high) in INT_BOUNDS.items():
            check_int(name, getattr(self, name), low, high)
        for name in _BOOLS:
            if not isinstance(getattr(self, name), bool):
                raise bad_value(name, getattr(self, name), "true or false")
        for name, above, below in (
            ("initializer_range", -1e-9, 10.0),
            ("norm_eps", 0.0, 1.0),
            ("rope_theta", 0.0, 1e15),
            ("block_ffn_dim_multiplier", 0.0, float(MAX_FF)),
        ):
            value = getattr(self, name)
            if value is not None or name != "block_ffn_dim_multiplier":
                self._set(name, checked_float(name, value, above, below))

    def _resolve_heads(self) -> None:
        if self.hidden_size % 8:
            raise bad_value("hidden_size", self.hidden_size, "a multiple of 8")
        if self.num_attention_heads % self.num_key_value_heads:
            raise bad_value(
                "num_key_value_heads",
                self.num_key_value_heads,
                f"a divisor of num_attention_heads ({self.num_attention_heads})",
            )
        if _missing(self.head_dim):
            if self.hidden_size % self.num_attention_heads:
                raise bad_value(
                    "num_attention_heads",
                    self.num_attention_heads,
                    f"a divisor of hidden_size ({self.hidden_size})",
                )
            self._set("head_dim", self.hidden_size // self.num_attention_heads)
        check_int("head_dim", self.head_dim, 2, 1024)
        if self.head_dim % 2:
            raise bad_value("head_dim", self.head_dim, "an even number")

    def _resolve_layers(self) -> None:
        if self.full_attn_idxs is not None:
            indices = as_tuple("full_attn_idxs", self.full_attn_idxs)
            for index in indices:
                check_int("full_attn_idxs", index, 0, MAX_LAYERS)
            self._set("full_attn_idxs", indices)
        if _missing(self.layer_types):
            chosen = range(self.num_hidden_layers)
            attention = set(chosen if self.full_attn_idxs is None else self.full_attn_idxs)
            self._set("layer_types", tuple(ATTENTION if i in attention else CONV for i in chosen))
            if self.full_attn_idxs is None:
                self._set("full_attn_idxs", tuple(chosen))
            return
        kinds = as_tuple("layer_types", self.layer_types)
        if len(kinds) != self.num_hidden_layers:
            raise bad_value(
                "layer_types", f"a list of {len(kinds)}", f"{self.num_hidden_layers} entries"
            )
        for kind in kinds:
            if kind not in (ATTENTION, CONV):
                raise bad_value("layer_types", kind, f'"{CONV}" or "{ATTENTION}" for each layer')
        self._set("layer_types", kinds)

    def _check_token_ids(self) -> None:
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            if name == "eos_token_id" and isinstance(value, list | tuple):
                self._set(name, tuple(value))
                if len(value) > MAX_LAYERS:
                    raise bad_value(name, f"a list of {len(value)}", f"at most {MAX_LAYERS} ids")
                for token_id in value:
                    check_int(name, token_id, 0, MAX_VOCAB)
            elif value is not None:
                check_int(name, value, 0, MAX_VOCAB)
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise bad_value(
                "pad_token_id", self.pad_token_id, f"below vocab_size ({self.vocab_size})"
            )


def _missing(value: object) -> bool:
    """Whether a field that may be None only until it is derived still is."""
    return value is None
