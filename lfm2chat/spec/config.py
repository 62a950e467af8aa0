"""The numbers that describe one LFM2 model: names as in config.json, checked when made.

Field names, defaults and aliases are those of ``transformers`` (5.23,
``models/lfm2/configuration_lfm2.py``), except that every value is bounded: a config comes from
a foreign file and must be refused before anything is sized by it. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from lfm2chat.errors import ConfigError

MODEL_TYPE = "lfm2"
ATTENTION = "full_attention"
CONV = "conv"

MAX_VOCAB = 2**20
MAX_HIDDEN = 16_384
MAX_LAYERS = 128
MAX_HEADS = 256
MAX_FF = 2**18
MAX_CONV_L_CACHE = 16

_WORKING = "LFM2 and LFM2.5 chat models work: LFM2-350M, LFM2-700M, LFM2-1.2B, LFM2-2.6B"

# What the relatives are: a folder of one of them is a likely mistake, and looks like ours.
_RELATIVES = {
    "lfm2_moe": "a mixture-of-experts model (LFM2-8B-A1B and its like)",
    "lfm2_vl": "a vision model (LFM2-VL), which reads pictures as well as text",
    "lfm2_audio": "an audio model (LFM2-Audio)",
    "lfm3": "LFM3, the next generation, with other layers (sliding windows, gates, kernel 7)",
    "lfm3_vl": "LFM3-VL, a vision model of the next generation",
}

_INT_BOUNDS: dict[str, tuple[int, int]] = {
    "vocab_size": (1, MAX_VOCAB),
    "hidden_size": (64, MAX_HIDDEN),
    "intermediate_size": (1, 4 * MAX_FF),
    "num_hidden_layers": (1, MAX_LAYERS),
    "num_attention_heads": (1, MAX_HEADS),
    "num_key_value_heads": (1, MAX_HEADS),
    # An upper limit only: nothing is sized by it, so a huge value does no harm.
    "max_position_embeddings": (1, 2**63 - 1),
    "conv_L_cache": (1, MAX_CONV_L_CACHE),
    "block_multiple_of": (1, MAX_FF),
}


@dataclass(frozen=True)
class Lfm2Config:
    """One LFM2 model's configuration, resolved and checked.

    The defaults are the documented ones; no published checkpoint has them. A default of None
    for ``layer_types``, ``head_dim`` and ``num_key_value_heads`` means "derived", and what is
    derived stands in the field afterwards.

    Attributes:
        intermediate_size: Width of the feed-forward block before the adjustment; see ``ff_dim``.
        num_key_value_heads: Key/value heads; None at construction means as many as query heads.
        max_position_embeddings: Positions that the rotary embedding knows; an upper limit only.
        conv_L_cache: Width of the short convolution's kernel.
        full_attn_idxs: Layers with attention, used where ``layer_types`` is not given; None is
            all of them.
        layer_types: ``"conv"`` or ``"full_attention"`` for each layer.
        head_dim: Size of one head; None at construction is ``hidden_size / num_attention_heads``.

    Raises:
        ConfigError: A value is of the wrong type, out of bounds or does not fit another.
    """

    vocab_size: int = 65_536
    hidden_size: int = 2560
    intermediate_size: int = 12_288
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    max_position_embeddings: int = 128_000
    initializer_range: float = 0.02
    norm_eps: float = 1e-5
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    tie_word_embeddings: bool = True
    rope_theta: float = 1_000_000.0
    conv_bias: bool = False
    conv_L_cache: int = 3  # noqa: N815 - the checkpoint's name
    block_multiple_of: int = 256
    block_ffn_dim_multiplier: float | None = 1.0
    block_auto_adjust_ff_dim: bool = True
    full_attn_idxs: tuple[int, ...] | None = None
    # The casts: None may be given, never read, so readers need no check for it.
    layer_types: tuple[str, ...] = cast("tuple[str, ...]", None)
    head_dim: int = cast("int", None)

    def __post_init__(self) -> None:
        if cast("int | None", self.num_key_value_heads) is None:
            self._derive("num_key_value_heads", self.num_attention_heads)
        for name, (low, high) in _INT_BOUNDS.items():
            _check_int(name, getattr(self, name), low, high)
        for name in ("use_cache", "tie_word_embeddings", "conv_bias", "block_auto_adjust_ff_dim"):
            if not isinstance(getattr(self, name), bool):
                raise _bad(name, getattr(self, name), "true or false")
        self._check_floats()
        self._resolve_heads()
        self._resolve_layers()
        self._check_token_ids()
        if not 1 <= self.ff_dim <= MAX_FF:
            raise _bad("the feed-forward width", self.ff_dim, f"1 to {MAX_FF}")

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

        Aliases: ``block_ff_dim`` overrides ``intermediate_size``, ``tie_embedding`` overrides
        ``tie_word_embeddings``. The rotary base is ``rope_parameters["rope_theta"]``, else
        ``rope_theta``, else ``theta`` (which ``transformers`` 5 no longer reads), else 1e6.

        Raises:
            ConfigError: Another kind of model, an unknown rotary embedding, or a bad value.
        """
        _refuse_other_models(values)
        known = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in values.items() if name in known}
        for alias, name in (
            ("block_ff_dim", "intermediate_size"),
            ("tie_embedding", "tie_word_embeddings"),
        ):
            if values.get(alias) is not None:
                chosen[name] = values[alias]
        chosen["rope_theta"] = _rope_theta(values)
        return cls(**chosen)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types, as config.json has them; ``transformers`` reads it too."""
        values: dict[str, Any] = {"architectures": ["Lfm2ForCausalLM"], "model_type": MODEL_TYPE}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = list(value) if isinstance(value, tuple) else value
        values["rope_parameters"] = {"rope_theta": self.rope_theta, "rope_type": "default"}
        return values

    def _derive(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_floats(self) -> None:
        for name, low, high in (
            ("initializer_range", 0.0, 10.0),
            ("norm_eps", 0.0, 1.0),
            ("rope_theta", 0.0, 1e15),
            ("block_ffn_dim_multiplier", 0.0, float(MAX_FF)),
        ):
            value = getattr(self, name)
            if value is None and name == "block_ffn_dim_multiplier":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _bad(name, value, "a number")
            # Written so that NaN and whole numbers too large for a float fail it too.
            if not low < value < high:
                raise _bad(name, value, f"a number between {low:g} and {high:g}")
            self._derive(name, float(value))

    def _resolve_heads(self) -> None:
        if self.hidden_size % 8:
            raise _bad("hidden_size", self.hidden_size, "a multiple of 8")
        if self.num_attention_heads % self.num_key_value_heads:
            raise _bad(
                "num_key_value_heads",
                self.num_key_value_heads,
                f"a divisor of num_attention_heads ({self.num_attention_heads})",
            )
        if cast("int | None", self.head_dim) is None:
            if self.hidden_size % self.num_attention_heads:
                raise _bad(
                    "num_attention_heads",
                    self.num_attention_heads,
                    f"a divisor of hidden_size ({self.hidden_size})",
                )
            self._derive("head_dim", self.hidden_size // self.num_attention_heads)
        _check_int("head_dim", self.head_dim, 2, 1024)
        if self.head_dim % 2:
            raise _bad("head_dim", self.head_dim, "an even number")

    def _resolve_layers(self) -> None:
        if self.full_attn_idxs is not None:
            indices = _as_tuple("full_attn_idxs", self.full_attn_idxs)
            for index in indices:
                _check_int("full_attn_idxs", index, 0, MAX_LAYERS)
            self._derive("full_attn_idxs", indices)
        if cast("tuple[str, ...] | None", self.layer_types) is None:
            chosen = range(self.num_hidden_layers)
            attention = set(chosen if self.full_attn_idxs is None else self.full_attn_idxs)
            self._derive(
                "layer_types", tuple(ATTENTION if i in attention else CONV for i in chosen)
            )
            if self.full_attn_idxs is None:
                self._derive("full_attn_idxs", tuple(chosen))
            return
        kinds = _as_tuple("layer_types", self.layer_types)
        if len(kinds) != self.num_hidden_layers:
            raise _bad(
                "layer_types", f"a list of {len(kinds)}", f"{self.num_hidden_layers} entries"
            )
        for kind in kinds:
            if kind not in (ATTENTION, CONV):
                raise _bad("layer_types", kind, f'"{CONV}" or "{ATTENTION}" for each layer')
        self._derive("layer_types", kinds)

    def _check_token_ids(self) -> None:
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            if name == "eos_token_id" and isinstance(value, list | tuple):
                self._derive(name, tuple(value))
                if len(value) > MAX_LAYERS:
                    raise _bad(name, f"a list of {len(value)}", f"at most {MAX_LAYERS} ids")
                for token_id in value:
                    _check_int(name, token_id, 0, MAX_VOCAB)
            elif value is not None:
                _check_int(name, value, 0, MAX_VOCAB)
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise _bad("pad_token_id", self.pad_token_id, f"below vocab_size ({self.vocab_size})")


def _refuse_other_models(values: Mapping[str, Any]) -> None:
    model_type = values.get("model_type")
    if model_type is None:
        raise ConfigError("config.json names no model_type", hint=_WORKING)
    if model_type != MODEL_TYPE:
        shown = str(model_type)[:60]
        what = _RELATIVES.get(shown, f"a model of type {shown!r}, not an LFM2 language model")
        raise ConfigError(f"this is {what}: lfm2chat cannot run it", hint=_WORKING)
    architectures = values.get("architectures")
    if isinstance(architectures, list) and architectures:
        if "Lfm2ForCausalLM" in architectures:
            return
        raise ConfigError(
            f"this is an LFM2 {str(architectures[0])[:60]}, which writes no text"
            " (an embedding or a retrieval model): lfm2chat cannot chat with it",
            hint=_WORKING,
        )


def _rope_theta(values: Mapping[str, Any]) -> Any:
    for name in ("rope_scaling", "rope_parameters"):
        parameters = values.get(name)
        if parameters is None:
            continue
        if not isinstance(parameters, dict):
            raise _bad(name, parameters, "an object or null")
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        if kind != "default":
            raise ConfigError(
                f"{name} asks for the rotary embedding {str(kind)[:60]!r};"
                " this engine knows the plain one of LFM2",
                hint=_WORKING,
            )
        if parameters.get("rope_theta") is not None:
            return parameters["rope_theta"]
    for name in ("rope_theta", "theta"):
        if values.get(name) is not None:
            return values[name]
    return 1_000_000.0


def _as_tuple(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple | range):
        raise _bad(name, value, "a list")
    return tuple(value)


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _bad(name, value, f"a whole number from {low} to {high}")


def _bad(name: str, value: object, expected: str) -> ConfigError:
    return ConfigError(
        f"{name} is {str(value)[:60]}, expected {expected}",
        hint="config.json is damaged, or made for another engine: download the model again",
    )
