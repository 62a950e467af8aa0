"""Whether a model fits into the memory that is free, asked before it is loaded.

In: a configuration and a precision. Out: numbers, or a refusal that names them. An estimate
that is exceeded ends in the system killing the process, with the conversation on the screen.
"""

from __future__ import annotations

import torch

from lfm2chat.errors import NotEnoughMemoryError
from lfm2chat.spec.config import Lfm2Config
from lfm2chat.spec.free_memory import available_memory_bytes

USABLE_SHARE = 0.9
"""Of the free memory; the rest is for the screen, the store and everybody else."""

WORKING_BYTES = 96 * 2**20
"""What a forward pass over one chunk and the loader's buffer take beside the weights."""


def estimate_bytes(config: Lfm2Config, dtype: torch.dtype, *, context_tokens: int = 0) -> int:
    """Memory that the model takes in ``dtype``, with a cache of ``context_tokens``."""
    weights = config.num_parameters * dtype.itemsize
    per_token = 2 * len(config.attention_layers) * config.num_key_value_heads * config.head_dim
    return weights + context_tokens * per_token * dtype.itemsize + WORKING_BYTES


def free_bytes(device: torch.device) -> int | None:
    """Memory that a model on ``device`` may still take; None where the system does not say."""
    if device.type == "cuda":
        # What torch holds for later counts as taken there, and is free for us.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    return available_memory_bytes() if device.type == "cpu" else None


def check_memory(config: Lfm2Config, *, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a model that would not fit. On a GPU torch's own error is exact: nothing is asked.

    Raises:
        NotEnoughMemoryError: The estimate is above 90 % of what is free.
    """
    if device.type == "cpu":
        check_bytes(estimate_bytes(config, dtype), what=str(dtype).removeprefix("torch."))


def check_bytes(needed: int, *, what: str) -> None:
    """Refuse to take ``needed`` bytes of memory for a model in the precision ``what``.

    Raises:
        NotEnoughMemoryError: That is above 90 % of what is free.
    """
    available = available_memory_bytes()
    if available is not None and needed > USABLE_SHARE * available:
        raise NotEnoughMemoryError(
            f"the model needs about {needed / 1e9:.1f} GB in {what},"
            f" and {available / 1e9:.1f} GB are free",
            hint="close other programs, or choose a smaller model",
        )
