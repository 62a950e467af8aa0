"""Attention over cached and new tokens: which mask, which kernel, which layout.

In: queries of T new tokens, keys and values of all S. Out: their mixture. Knows no weights.
Letters as in :mod:`lfm2chat.engine.model`.

No mask of T x S is ever held whole. New tokens on top of a cache are two cases that need none:
what was there before, which all of them see, and the new ones, of which each sees those up to
itself. Both give a mixture and the logarithm of the sum of its weights, from which the mixture of
the whole follows exactly. Where there is padding, or a mask of the caller's, the queries go in
blocks of rows.

The traps: torch's ``is_causal`` is aligned to the top left, so it is wrong as soon as S > T; and
a padded batch needs its mask in the attention layers and in the conv layers alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MASK_ELEMENTS = 2**22
"""The most that a mask may have at once; with more, queries go in blocks of rows."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who may look at whom, for T new tokens on top of ``past`` cached ones.

    Attributes:
        past: Cached tokens, which every new one sees.
        new_tokens: T.
        padding: (B, S) booleans, False where nobody may look; None where nothing is padded.
        explicit: A mask of the caller's in place of all that: (B or 1, H or 1, T, S), True where
            allowed, or numbers that are added to the scores.
        sequences: (B or 1, S) the number of the sequence that each token belongs to, where
            several stand in one row, without a cache: each sees its own alone.
    """

    past: int
    new_tokens: int
    padding: Tensor | None = None
    explicit: Tensor | None = None
    sequences: Tensor | None = None

    @property
    def plain(self) -> bool:
        """Whether every new token sees just all up to itself."""
        return self.padding is None and self.explicit is None and self.sequences is None

    def rows(self, first: int, last: int, device: torch.device) -> Tensor:
        """The mask of the new tokens from ``first`` to ``last``: (..., last - first, S)."""
        if self.explicit is not None:
            return self.explicit[:, :, first:last]
        queries = torch.arange(self.past + first, self.past + last, device=device)
        keys = torch.arange(self.past + self.new_tokens, device=device)
        causal = keys[None, :] <= queries[:, None]  # (rows, S)
        if self.sequences is not None:
            own = self.sequences[:, first:last, None] == self.sequences[:, None, :]
            return (causal & own)[:, None]  # (B or 1, 1, rows, S)
        if self.padding is None:
            return causal
        return causal & self.padding[:, None, None, :]  # (B, 1, rows, S)


def attend(queries: Tensor, keys: Tensor, values: Tensor, visibility: Visibility) -> Tensor:
    """Softmax-weighted values: (B, H, T, E) over (B, K, S, E) twice gives (B, T, H * E).

    Each key/value head serves H / K neighbouring query heads. Scores are scaled by 1/sqrt(E);
    the softmax counts in float32 or better.
    """
    batch, heads, new_tokens, head_dim = queries.shape
    if new_tokens == 1:
        mixed = _single(queries, keys, values, visibility)
    elif not visibility.plain:
        mixed = _in_blocks(queries, keys, values, visibility)
    elif visibility.past == 0:
        grouped = heads > keys.shape[1]
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=grouped
        )
    elif queries.device.type == "cpu" and not _recorded(queries, keys, values):
        mixed = _past_and_new(queries, keys, values, visibility.past)
    else:
        mixed = _in_blocks(queries, keys, values, visibility)
    return mixed.transpose(1, 2).reshape(batch, new_tokens, heads * head_dim)  # (B, T, H * E)


def attend_with_weights(
    queries: Tensor, keys: Tensor, values: Tensor, visibility: Visibility
) -> tuple[Tensor, Tensor]:
    """As :func:`attend`, and the weights (B, H, T, S): slow, and as large as they are.

    The rounding is that of ``transformers``' eager attention: scores in the model's precision,
    the softmax in float32, the weights in the model's precision again.
    """
    batch, heads, new_tokens, head_dim = queries.shape
    keys, values = _repeat(keys, heads), _repeat(values, heads)
    scores = torch.matmul(queries, keys.transpose(2, 3)) * head_dim**-0.5  # (B, H, T, S)
    mask = visibility.rows(0, new_tokens, queries.device)
    if mask.dtype == torch.bool:
        # Finite in the softmax too: a row that may see nothing is a number, as it is elsewhere.
        hidden = max(torch.finfo(scores.dtype).min, torch.finfo(torch.float32).min)
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, hidden)
    scores = scores + mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(queries.dtype)
    mixed = torch.matmul(weights, values).transpose(1, 2)  # (B, T, H, E)
    return mixed.reshape(batch, new_tokens, heads * head_dim), weights


def _single(queries: Tensor, keys: Tensor, values: Tensor, visibility: Visibility) -> Tensor:
    """One new token: the query heads of a group become rows, and no key is repeated."""
    batch, heads, _, head_dim = queries.shape
    grouped = queries.reshape(batch, keys.shape[1], -1, head_dim)  # (B, K, G, E)
    mask = None
    if not visibility.plain:
        mask = visibility.rows(0, 1, queries.device)
        if mask.ndim == 4 and mask.shape[1] > 1:
            mask = mask.reshape(mask.shape[0], keys.shape[1], -1, mask.shape[-1])
    mixed = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
    return mixed.reshape(batch, heads, 1, head_dim)


def _past_and_new(queries: Tensor, keys: Tensor, values: Tensor, past: int) -> Tensor:
    """Cached tokens and new ones apart, then joined by the sums of their weights."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - the sums
    batch, heads, _, head_dim = queries.shape
    # All new tokens see all cached ones, so the query heads of a group may stand in line.
    grouped = queries.reshape(batch, keys.shape[1], -1, head_dim)  # (B, K, G * T, E)
    before, before_sum = flash(grouped, keys[:, :, :past], values[:, :, :past])
    before = before.reshape(queries.shape)  # (B, H, T, E)
    new_keys, new_values = _repeat(keys[:, :, past:], heads), _repeat(values[:, :, past:], heads)
    after, after_sum = flash(queries, new_keys, new_values, 0.0, True)
    # The share of the new tokens; both sums are logarithms, (B, H, T) when flattened.
    share = torch.sigmoid(after_sum - before_sum.reshape(after_sum.shape))[..., None]
    mixed = torch.lerp(before.to(share.dtype), after.to(share.dtype), share)
    return mixed.to(queries.dtype)


def _in_blocks(queries: Tensor, keys: Tensor, values: Tensor, visibility: Visibility) -> Tensor:
    """With a mask of some rows at a time."""
    heads, new_tokens = queries.shape[1:3]
    # With a mask, CUDA has no fast kernel that shares keys between heads.
    keys, values = _repeat(keys, heads), _repeat(values, heads)  # (B, H, S, E)
    height = max(1, MASK_ELEMENTS // (queries.shape[0] * keys.shape[2]))
    blocks = []
    for first in range(0, new_tokens, height):
        last = min(first + height, new_tokens)
        mask = visibility.rows(first, last, queries.device)
        if mask.dtype != torch.bool:
            mask = mask.to(queries.dtype)
        blocks.append(
            F.scaled_dot_product_attention(queries[:, :, first:last], keys, values, attn_mask=mask)
        )
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


def _recorded(*tensors: Tensor) -> bool:
    """Whether gradients will be asked for: the sums that the two cases are joined by have none."""
    return any(tensor.requires_grad for tensor in tensors)


def _repeat(tensor: Tensor, heads: int) -> Tensor:
    """(B, K, S, E) to (B, H, S, E): each head as often as query heads share it."""
    groups = heads // tensor.shape[1]
    return tensor if groups == 1 else tensor.repeat_interleave(groups, dim=1)
