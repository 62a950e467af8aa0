"""What the values of a config.json may be: each is bounded before anything is sized by it.

Every check names the field and what was expected. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfm2chat.errors import ConfigError
from lfm2chat.spec.relatives import WORKING

MAX_VOCAB = 2**20
MAX_HIDDEN = 16_384
MAX_LAYERS = 128
MAX_HEADS = 256
MAX_FF = 2**18
MAX_CONV_L_CACHE = 16

INT_BOUNDS: dict[str, tuple[int, int]] = {
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


def bad_value(name: str, value: object, expected: str) -> ConfigError:
    """The error for a value that is not what was ``expected``."""
    return ConfigError(
        f"{name} is {str(value)[:60]}, expected {expected}",
        hint="the configuration is damaged, or made for another engine: download the model again",
    )


def check_int(name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no whole number from ``low`` to ``high``.

    Raises:
        ConfigError: It is of another type (a bool is) or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad_value(name, value, f"a whole number from {low} to {high}")


def checked_float(name: str, value: object, low: float, high: float) -> float:
    """``value`` as a float between ``low`` and ``high``, both exclusive.

    Raises:
        ConfigError: It is no number (a bool is none, NaN neither) or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_value(name, value, "a number")
    # Written so that NaN and whole numbers too large for a float fail it too.
    if not low < value < high:
        raise bad_value(name, value, f"a number between {low:g} and {high:g}")
    return float(value)


def as_tuple(name: str, value: object) -> tuple[Any, ...]:
    """A list of JSON as a tuple.

    Raises:
        ConfigError: It is no list.
    """
    if not isinstance(value, list | tuple | range):
        raise bad_value(name, value, "a list")
    return tuple(value)


def rope_theta(legacy: Mapping[str, Any], given: object) -> Any:
    """The rotary base: ``rope_parameters["rope_theta"]``, else ``given``, else ``theta``.

    ``rope_scaling``, the older name of ``rope_parameters``, replaces it where both are there, as
    in ``transformers``, which no longer reads ``theta``. None where nothing names a base.

    Raises:
        ConfigError: Another rotary embedding than LFM2's plain one, or no object.
    """
    for name in ("rope_parameters", "rope_scaling"):
        if not isinstance(legacy.get(name), Mapping | None):
            raise bad_value(name, legacy[name], "an object or null")
    name = "rope_scaling" if legacy.get("rope_scaling") else "rope_parameters"
    parameters = legacy.get(name) or {}
    nested = next((key for key, value in parameters.items() if isinstance(value, Mapping)), None)
    kind = nested or parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise ConfigError(
            f"{name} asks for the rotary embedding {str(kind)[:60]!r};"
            " this engine knows the plain one of LFM2",
            hint=WORKING,
        )
    if parameters.get("rope_theta") is not None:
        return parameters["rope_theta"]
    return legacy.get("theta") if given is None else given
