"""Attention over cached and new tokens: which mask, which kernel, which layout.

In: queries of T new tokens, keys and values of all S. Out: their mixture. Knows no weights.
Letters as in :mod:`lfm2chat.engine.model`.

The traps: torch's ``is_causal`` is aligned to the top left, so it is wrong as soon as S > T; and
a padded batch needs its mask in the attention layers and in the conv layers alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def visibility(
    padding: Tensor | None, *, new_tokens: int, past: int, device: torch.device
) -> Tensor | None:
    """Who may look at whom: True where allowed, (T, S) or (B, 1, T, S); None where plain.

    Plain is: one new token that sees all, or a first chunk without padding, for which
    :func:`attend` uses the kernel's own causal mask.
    """
    if padding is None and (new_tokens == 1 or past == 0):
        return None
    queries = torch.arange(past, past + new_tokens, device=device)
    keys = torch.arange(past + new_tokens, device=device)
    causal = keys[None, :] <= queries[:, None]  # (T, S)
    return causal if padding is None else causal & padding[:, None, None, :]  # (B, 1, T, S)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax-weighted values: (B, H, T, E) over (B, K, S, E) twice gives (B, T, H * E).

    Each key/value head serves H / K neighbouring query heads. Scores are scaled by 1/sqrt(E);
    the softmax counts in float32 or better.
    """
    batch, heads, new_tokens, head_dim = queries.shape
    groups = heads // keys.shape[1]
    if new_tokens == 1:
        # One token: the query heads of a group become rows, and no key is repeated.
        queries = queries.reshape(batch, heads // groups, groups, head_dim)  # (B, K, G, E)
    elif groups > 1 and mask is not None:
        # With a mask, CUDA has no fast kernel that shares keys between heads.
        keys = keys.repeat_interleave(groups, dim=1)  # (B, H, S, E)
        values = values.repeat_interleave(groups, dim=1)  # (B, H, S, E)
    causal = mask is None and new_tokens > 1
    mixed = F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=causal, enable_gqa=causal
    )
    mixed = mixed.reshape(batch, heads, new_tokens, head_dim)
    return mixed.transpose(1, 2).reshape(batch, new_tokens, heads * head_dim)  # (B, T, H * E)
