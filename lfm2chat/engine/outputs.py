"""What a forward pass returns: the documented outputs, and what they are computed from.

In: normed hidden states and logits. Out: the positions asked for, the loss. Knows no weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lfm2chat.engine.cache import HybridCache

IGNORED_LABEL = -100
"""A label that does not count in the loss."""


class _Outputs:
    """Fields by name, by key or by number; what was not asked for is None and not counted.

    As the documented outputs do, ``outputs[0]`` counts only what is there, and
    :meth:`to_tuple` gives that as the tuple of ``return_dict=False``.
    """

    __slots__ = ()

    def to_tuple(self) -> tuple[Any, ...]:
        """Everything that is there, in the documented order."""
        return tuple(self.values())

    def keys(self) -> Iterator[str]:
        """Names of what is there."""
        return (name for name, _ in self.items())

    def values(self) -> Iterator[Any]:
        """What is there."""
        return (value for _, value in self.items())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of what is there."""
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value

    def __getitem__(self, key: int | slice | str) -> Any:
        return dict(self.items())[key] if isinstance(key, str) else self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __len__(self) -> int:
        return len(self.to_tuple())

    def __contains__(self, key: object) -> bool:
        return key in tuple(self.keys())


@dataclass(slots=True)
class ModelOutput(_Outputs):
    """What :class:`~lfm2chat.engine.model.Lfm2Model` returns.

    Attributes:
        last_hidden_state: (B, T, D), normed.
        past_key_values: The cache, with the new tokens in it; None without ``use_cache``.
        hidden_states: With ``output_hidden_states``: L + 1 tensors (B, T, D): the embeddings,
            the output of every layer but the last, and ``last_hidden_state``.
        attentions: With ``output_attentions``: the weights (B, H, T, S) of each attention layer.
    """

    last_hidden_state: Tensor
    past_key_values: HybridCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(slots=True, kw_only=True)
class CausalLMOutput(_Outputs):
    """What :class:`~lfm2chat.engine.causal_lm.Lfm2ForCausalLM` returns.

    Attributes:
        loss: Mean cross-entropy of the next token (a scalar, float32), with ``labels``.
        logits: (B, T, V), or fewer positions with ``logits_to_keep``.
        past_key_values: As in :class:`ModelOutput`.
        hidden_states: As in :class:`ModelOutput`.
        attentions: As in :class:`ModelOutput`.
    """

    loss: Tensor | None = None
    logits: Tensor
    past_key_values: HybridCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def keep_positions(hidden: Tensor, keep: int | Tensor) -> Tensor:
    """The positions of (B, T, D) that ``logits_to_keep``, which was checked, asks for."""
    if isinstance(keep, int):
        return hidden[:, -keep:] if keep else hidden
    if keep.dtype == torch.bool:
        return hidden[keep]  # (N, D)
    if keep.ndim == 2:
        return torch.take_along_dim(hidden, keep[..., None].long(), dim=1)  # (B, N, D)
    return hidden[:, keep]  # (B, N, D)


def next_token_loss(
    logits: Tensor, labels: Tensor, *, num_items_in_batch: int | Tensor | None = None
) -> Tensor:
    """Cross-entropy in float32 of each label, which was checked, given the tokens before it."""
    targets = F.pad(labels, (0, 1), value=IGNORED_LABEL)[..., 1:].reshape(-1)
    scores = logits.float().reshape(-1, logits.shape[-1])
    targets = targets.to(scores.device, torch.long)
    if num_items_in_batch is None:
        return F.cross_entropy(scores, targets, ignore_index=IGNORED_LABEL)
    total = F.cross_entropy(scores, targets, ignore_index=IGNORED_LABEL, reduction="sum")
    if isinstance(num_items_in_batch, Tensor):
        num_items_in_batch = num_items_in_batch.to(total.device)
    return total / num_items_in_batch
