"""The published sizes of the family, by name: what a model that is not on disk will look like.

For measuring and foretelling speed: numbers of weights are exact, and speed depends on those
alone. Which layers of the 230M have attention is inferred from its number of weights.
"""

from __future__ import annotations

from typing import Any

from lfm2chat.errors import UsageError
from lfm2chat.spec.config import Lfm2Config

_SIZES: dict[str, dict[str, Any]] = {
    "230M": {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 2560}
    | {"num_hidden_layers": 14, "full_attn_idxs": (2, 4, 6, 8, 10, 12)},
    "350M": {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4608},
    "700M": {"hidden_size": 1536, "num_attention_heads": 24, "intermediate_size": 6912},
    "1.2B": {"hidden_size": 2048, "num_attention_heads": 32, "intermediate_size": 8192},
    "2.6B": {"hidden_size": 2048, "num_attention_heads": 32, "intermediate_size": 10_752}
    | {"num_hidden_layers": 30, "full_attn_idxs": (2, 5, 9, 13, 17, 21, 24, 27)},
}


def size_names() -> tuple[str, ...]:
    """Every size, the smallest first."""
    return tuple(_SIZES)


def published_config(size: str) -> Lfm2Config:
    """The configuration of the published model of that ``size``, in any case of letters.

    Raises:
        UsageError: There is none of that size.
    """
    values = _SIZES.get(size.strip().upper())
    if values is None:
        raise UsageError(
            f"no published model has the size {size!r}",
            hint="choose one of " + ", ".join(_SIZES),
        )
    usual: dict[str, Any] = {"num_hidden_layers": 16, "full_attn_idxs": (2, 5, 8, 10, 12, 14)}
    return Lfm2Config(
        **(usual | values), num_key_value_heads=8, block_auto_adjust_ff_dim=False, eos_token_id=7
    )


def config_of(parameters: int) -> Lfm2Config | None:
    """The published configuration with so many weights; None where none has."""
    every = (published_config(size) for size in _SIZES)
    return next((config for config in every if config.num_parameters == parameters), None)
