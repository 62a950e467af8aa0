"""What a forward pass returns: the documented outputs, and what they are computed from.

In: normed hidden states and logits. Out: the positions asked for, the loss. Knows no weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lfm2chat.engine.cache import HybridCache

IGNORED_LABEL = -100
"""A label that does not count in the loss."""


@dataclass(slots=True)
class ModelOutput:
    """What :class:`~lfm2chat.engine.model.Lfm2Model` returns.

    Attributes:
        last_hidden_state: (B, T, D), normed.
        past_key_values: The cache, with the new tokens in it; None without ``use_cache``.
        hidden_states: With ``output_hidden_states``: L + 1 tensors (B, T, D): the embeddings,
            the output of every layer but the last, and ``last_hidden_state``.
    """

    last_hidden_state: Tensor
    past_key_values: HybridCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass(slots=True)
class CausalLMOutput:
    """What :class:`~lfm2chat.engine.model.Lfm2ForCausalLM` returns.

    Attributes:
        logits: (B, T, V), or fewer positions with ``logits_to_keep``.
        loss: Mean cross-entropy of the next token (a scalar, float32), with ``labels``.
        past_key_values: As in :class:`ModelOutput`.
        hidden_states: As in :class:`ModelOutput`.
    """

    logits: Tensor
    loss: Tensor | None = None
    past_key_values: HybridCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None


def keep_positions(hidden: Tensor, keep: int | Tensor) -> Tensor:
    """The positions of (B, T, D) that ``logits_to_keep`` asks for."""
    if isinstance(keep, int):
        return hidden[:, -keep:] if keep else hidden
    if keep.ndim == 2 and keep.dtype == torch.bool:
        return hidden[keep]  # (N, D)
    if keep.ndim == 2:
        return torch.take_along_dim(hidden, keep[..., None], dim=1)  # (B, N, D)
    return hidden[:, keep]  # (B, N, D)


def next_token_loss(
    logits: Tensor, labels: Tensor, *, num_items_in_batch: int | Tensor | None = None
) -> Tensor:
    """Cross-entropy in float32 of each label given the tokens before it; a scalar."""
    targets = F.pad(labels, (0, 1), value=IGNORED_LABEL)[..., 1:].reshape(-1)
    scores = logits.float().reshape(-1, logits.shape[-1])
    targets = targets.to(scores.device)
    if num_items_in_batch is None:
        return F.cross_entropy(scores, targets, ignore_index=IGNORED_LABEL)
    total = F.cross_entropy(scores, targets, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / num_items_in_batch
