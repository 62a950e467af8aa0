"""The building blocks of one LFM2 layer; submodules carry the checkpoint's names.

In: hidden states of T new tokens, and what the cache kept of those before. Out: hidden states.
The order of operations and the places where values are rounded are those of ``transformers``
(5.23, ``models/lfm2/modeling_lfm2.py``). Letters: the table on top of :mod:`lfm2chat.engine.model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfm2chat.engine.attention import attend, attend_with_weights
from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.errors import CacheError, UsageError
from lfm2chat.spec.config import ATTENTION, Lfm2Config

if TYPE_CHECKING:
    from lfm2chat.engine.model import PassInputs


class RMSNorm(nn.Module):
    """Scale to a root mean square of 1, then by a learned weight; (..., D) in and out."""

    def __init__(self, size: int, *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Counted in float32 whatever ``x`` is, rounded to ``x.dtype``, and then weighted."""
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class RotaryEmbedding(nn.Module):
    """Cosines and sines of each position's angles, for the whole head dim."""

    def __init__(self, config: Lfm2Config) -> None:
        super().__init__()
        # Always on the CPU, no buffer: it is no weight, and a model may be built on "meta".
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu")
        self.inverse_frequencies = 1.0 / (config.rope_theta ** (exponents / config.head_dim))

    def forward(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(B, T) positions to cosines and sines, each (B, 1, T, E) in ``dtype``."""
        # float32: bf16 counts exactly only to 256, positions go far beyond.
        frequencies = self.inverse_frequencies.to(position_ids.device)
        angles = position_ids[:, None, :, None].to(torch.float32) * frequencies  # (B, 1, T, E / 2)
        angles = torch.cat((angles, angles), dim=-1)  # (B, 1, T, E)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair (i, i + E / 2) of (B, H, T, E) by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return (x * cosines) + (torch.cat((-second, first), dim=-1) * sines)


class Attention(nn.Module):
    """Grouped-query attention; queries and keys are normed per head before they are turned."""

    def __init__(self, config: Lfm2Config, layer: int) -> None:
        super().__init__()
        hidden, head_dim = config.hidden_size, config.head_dim
        self.layer = layer
        self.head_dim = head_dim
        self.q_proj = nn.Linear(hidden, config.num_attention_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, config.num_key_value_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, config.num_key_value_heads * head_dim, bias=False)
        self.out_proj = nn.Linear(config.num_attention_heads * head_dim, hidden, bias=False)
        self.q_layernorm = RMSNorm(head_dim, eps=config.norm_eps)
        self.k_layernorm = RMSNorm(head_dim, eps=config.norm_eps)

    def forward(
        self,
        x: Tensor,
        inputs: PassInputs,
        cache: HybridCache | CacheBatch | None,
        weights: list[Tensor] | None,
    ) -> Tensor:
        """(B, T, D) in and out; ``cache`` gets T more keys and values, ``weights`` its own."""
        split = (*x.shape[:2], -1, self.head_dim)
        queries = self.q_layernorm(self.q_proj(x).view(split)).transpose(1, 2)  # (B, H, T, E)
        keys = self.k_layernorm(self.k_proj(x).view(split)).transpose(1, 2)  # (B, K, T, E)
        values = self.v_proj(x).view(split).transpose(1, 2)  # (B, K, T, E)
        queries, keys = rotate(queries, *inputs.rotary), rotate(keys, *inputs.rotary)
        if weights is not None:
            if isinstance(cache, CacheBatch):
                raise CacheError(
                    "sequences of different lengths have no common attention weights",
                    hint="ask for output_attentions with one cache at a time",
                )
            if cache is not None:
                keys, values = cache.extend_attention(self.layer, keys, values)  # (B, K, S, E)
            mixed, own = attend_with_weights(queries, keys, values, inputs.visibility)
            weights.append(own)
        elif cache is not None:
            mixed = cache.attend(self.layer, queries, keys, values, inputs.visibility)
        else:
            mixed = attend(queries, keys, values, inputs.visibility)
        output: Tensor = self.out_proj(mixed)
        return output


class ShortConv(nn.Module):
    """Double-gated short convolution: ``out_proj(C * conv(B * x))``, causal, per channel."""

    def __init__(self, config: Lfm2Config, layer: int) -> None:
        super().__init__()
        hidden, bias = config.hidden_size, config.conv_bias
        self.layer = layer
        self.reach = config.conv_L_cache - 1
        self.conv = nn.Conv1d(hidden, hidden, config.conv_L_cache, groups=hidden, bias=bias)
        self.in_proj = nn.Linear(hidden, 3 * hidden, bias=bias)
        self.out_proj = nn.Linear(hidden, hidden, bias=bias)

    def forward(
        self, x: Tensor, padding: Tensor | None, cache: HybridCache | CacheBatch | None
    ) -> Tensor:
        """(B, T, D) in and out. ``padding`` (B, T): False is zeroed, or it would leak on."""
        if padding is not None:
            x = x * padding[..., None]
        # The order of the three is fixed by the checkpoint.
        before_gate, after_gate, signal = self.in_proj(x).transpose(1, 2).chunk(3, dim=1)
        columns = before_gate * signal  # (B, D, T)
        if cache is None:
            columns = F.pad(columns, (self.reach, 0))  # (B, D, W - 1 + T)
        else:
            columns = cache.extend_conv(self.layer, columns)  # (B, D, W - 1 + T)
        gated = after_gate * self._convolve(columns)  # (B, D, T)
        # Two dimensions: with a single token torch would take (1, 1, D), whose strides are odd
        # after the transposition, for a batch of matrices, and copy the weights at every token.
        rows = gated.transpose(1, 2).reshape(-1, x.shape[-1])  # (B * T, D)
        mixed: Tensor = self.out_proj(rows).view(x.shape)  # (B, T, D)
        return mixed

    def _convolve(self, columns: Tensor) -> Tensor:
        """(B, D, W - 1 + T) to (B, D, T), rounded once, whatever the dtype."""
        if columns.shape[-1] > self.reach + 1:
            convolved: Tensor = self.conv(columns)
            return convolved
        # One new token is a dot product: the convolution's set-up would cost ten times as much.
        wide = columns.dtype if columns.dtype == torch.float64 else torch.float32
        weight, bias = self.conv.weight.squeeze(1).to(wide), self.conv.bias
        single = (columns.to(wide) * weight).sum(-1, keepdim=True)  # (B, D, 1)
        if bias is not None:
            single = single + bias[:, None].to(wide)
        return single.to(columns.dtype)


class SwiGLU(nn.Module):
    """Feed-forward block: ``w2(silu(w1(x)) * w3(x))``; (B, T, D) in and out."""

    def __init__(self, config: Lfm2Config) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.ff_dim, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.ff_dim, bias=False)
        self.w2 = nn.Linear(config.ff_dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, without the residual."""
        mixed: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return mixed


class DecoderLayer(nn.Module):
    """One layer: attention or short convolution, then feed-forward, each on a residual."""

    def __init__(self, config: Lfm2Config, layer: int) -> None:
        super().__init__()
        self.has_attention = config.layer_types[layer] == ATTENTION
        if self.has_attention:
            self.self_attn = Attention(config, layer)
        else:
            self.conv = ShortConv(config, layer)
        self.feed_forward = SwiGLU(config)
        self.operator_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.ffn_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)

    def forward(
        self,
        x: Tensor,
        *,
        inputs: PassInputs,
        cache: HybridCache | CacheBatch | None,
        weights: list[Tensor] | None,
    ) -> Tensor:
        """(B, T, D) in and out; ``weights`` collects those of attention layers, unless None."""
        normed = self.operator_norm(x)
        if self.has_attention:
            x = self.self_attn(normed, inputs, cache, weights) + x
        else:
            x = self.conv(normed, inputs.padding, cache) + x
        output: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return output


def initialise(module: nn.Module, *, std: float) -> None:
    """Draw new weights in place, normal around 0; biases and the padding row become 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv1d):
            nn.init.normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=std)
            if part.padding_idx is not None:
                with torch.no_grad():
                    part.weight[part.padding_idx].zero_()


def resize_rows(weight: Tensor, rows: int) -> nn.Parameter:
    """``weight`` (V, D) with so many rows; those that it lacks are the mean of its own.

    Raises:
        UsageError: Not even one row.
    """
    if rows < 1:
        raise UsageError(f"a vocabulary of {rows} tokens is asked for", hint="keep at least one")
    old = weight.detach()
    mean = old.to(torch.float32).mean(dim=0).to(old.dtype)
    missing = mean.expand(max(0, rows - old.shape[0]), -1)
    resized = torch.cat([old[:rows], missing]).clone()
    return nn.Parameter(resized, requires_grad=weight.requires_grad)
