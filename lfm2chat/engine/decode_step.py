"""One token on top of a cache, as a fixed row of operations on tensors that stay where they are.

In: a token, its position, the conv columns, the buffers of a cache. Out: logits; the buffers and
columns with the token added. Nothing asks the device for a number and nothing depends on one, so
the row can be recorded once and replayed: :mod:`lfm2chat.engine.backends.graph` does.

It computes what :mod:`lfm2chat.engine.layers` does, in fewer and larger operations: weights that
read the same numbers are one matrix, the residual is added by the product itself, and norms are
rounded once where the model's own round twice. Letters as in :mod:`lfm2chat.engine.model`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfm2chat.engine.causal_lm import Lfm2ForCausalLM
from lfm2chat.engine.layers import Attention, DecoderLayer, RMSNorm, ShortConv


class DecodeStep:
    """The operations, and the tensors that they read and write. One thread.

    ``token`` (1, 1) and ``position`` (1,) are int64, to be filled before each run. ``columns``
    (conv layers, 1, D, W - 1) are replaced by each run by those after the token.

    The weights of ``model`` that are joined become views of one matrix, in place: they take no more
    memory, and its own forward pass gives what it gave.
    """

    def __init__(self, model: Lfm2ForCausalLM) -> None:
        config, device = model.config, model.device
        self._model = model
        self._half = config.head_dim // 2
        shape = (len(config.conv_layers), 1, config.hidden_size, config.conv_L_cache - 1)
        with torch.inference_mode(mode=False), torch.no_grad():
            self.token = torch.zeros((1, 1), dtype=torch.long, device=device)
            self.position = torch.zeros(1, dtype=torch.long, device=device)
            self.columns = torch.zeros(shape, dtype=model.dtype, device=device)
            frequencies = model.model.rotary_emb.inverse_frequencies.to(device)
            self._frequencies = torch.cat((frequencies, frequencies))  # (E,)
            self._layers = [_layer(layer) for layer in model.model.layers]

    def run(self, keys: Sequence[Tensor], values: Sequence[Tensor], seen: int) -> Tensor:
        """Read ``token`` at ``position``: the logits after it, (1, V) in float32.

        Args:
            keys: The buffer of each attention layer, (1, K, capacity, E): written at ``position``.
            values: Likewise.
            seen: The first so many places of the buffers are looked at, those up to ``position``
                among them. What stands beyond ``position`` must be finite, and is ignored.
        """
        places = torch.arange(seen, device=self.position.device)
        hidden_places = torch.where(places <= self.position, 0.0, -torch.inf)  # (S,)
        turn = self._turn()
        x = self._model.model.embed_tokens(self.token[0])  # (1, D)
        buffers = iter(zip(keys, values, strict=True))
        columns = iter(self.columns.unbind(0))
        for layer in self._layers:
            normed = _norm(x, layer.module.operator_norm)
            if isinstance(layer, _AttentionLayer):
                mixed = self._attend(layer, normed, next(buffers), hidden_places, turn)
            else:
                mixed = _convolve(layer.conv, normed, next(columns)[0])
            _add_product(x, mixed, layer.out)
            gate, up = F.linear(_norm(x, layer.module.ffn_norm), layer.gate_up).chunk(2, dim=-1)
            _add_product(x, F.silu(gate) * up, layer.module.feed_forward.w2)
        logits: Tensor = self._model.lm_head(_norm(x, self._model.model.embedding_norm))  # (1, V)
        return logits.to(torch.float32, copy=True)

    def _turn(self) -> tuple[Tensor, Tensor]:
        """Cosines and sines of ``position``, (E,): the sines negative in the first half."""
        angles = self.position.to(torch.float32) * self._frequencies
        sines = angles.sin()
        sines[: self._half].neg_()
        dtype = self.columns.dtype
        return angles.cos().to(dtype), sines.to(dtype)

    def _attend(
        self,
        layer: _AttentionLayer,
        x: Tensor,
        buffers: tuple[Tensor, Tensor],
        hidden_places: Tensor,
        turn: tuple[Tensor, Tensor],
    ) -> Tensor:
        """(1, D) to (1, H * E), the key and the value added to ``buffers``."""
        keys, values = buffers
        head_dim, kv_heads = keys.shape[-1], keys.shape[1]
        heads = F.linear(x, layer.qkv).view(-1, head_dim)  # (H + 2 K, E)
        turned = F.rms_norm(heads[:-kv_heads], (head_dim,), None, layer.eps) * layer.qk_norms
        halves = torch.cat((turned[:, self._half :], turned[:, : self._half]), dim=-1)
        turned = torch.addcmul(turned * turn[0], halves, turn[1])  # (H + K, E)
        keys.index_copy_(2, self.position, turned[None, -kv_heads:, None])
        values.index_copy_(2, self.position, heads[None, -kv_heads:, None])
        seen = hidden_places.shape[0]
        queries = turned[:-kv_heads].view(kv_heads, -1, head_dim)  # (K, G, E)
        scores = _wide_product(queries, keys[0, :, :seen].transpose(1, 2))  # (K, G, S)
        weights = torch.add(hidden_places, scores, alpha=head_dim**-0.5).softmax(dim=-1)
        return torch.matmul(weights.to(x.dtype), values[0, :, :seen]).view(1, -1)


class _Layer:
    """What both kinds have: the layer, its joined gates, and the product that ends its mixing."""

    def __init__(self, module: DecoderLayer, out: nn.Linear) -> None:
        self.module = module
        self.out = out
        self.gate_up = _join(module.feed_forward.w1, module.feed_forward.w3)


class _AttentionLayer(_Layer):
    def __init__(self, module: DecoderLayer, attention: Attention) -> None:
        super().__init__(module, attention.out_proj)
        self.qkv = _join(attention.q_proj, attention.k_proj, attention.v_proj)
        self.eps = attention.q_layernorm.eps
        parts = (
            (attention.q_proj, attention.q_layernorm),
            (attention.k_proj, attention.k_layernorm),
        )
        self.qk_norms = torch.cat(
            [
                norm.weight.expand(proj.out_features // attention.head_dim, -1)
                for proj, norm in parts
            ]
        )  # (H + K, E)


class _ConvLayer(_Layer):
    def __init__(self, module: DecoderLayer, conv: ShortConv) -> None:
        super().__init__(module, conv.out_proj)
        self.conv = conv


def _layer(module: nn.Module) -> _AttentionLayer | _ConvLayer:
    assert isinstance(module, DecoderLayer)
    if module.has_attention:
        return _AttentionLayer(module, module.self_attn)
    return _ConvLayer(module, module.conv)


def _join(*parts: nn.Linear) -> Tensor:
    """The weights of ``parts``, one below the other; each becomes a view of its rows."""
    joined = torch.cat([part.weight for part in parts])
    start = 0
    for part in parts:
        rows = part.weight.shape[0]
        part.weight.data = joined[start : start + rows]
        start += rows
    return joined


def _norm(x: Tensor, norm: RMSNorm) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), norm.weight, norm.eps)


def _add_product(x: Tensor, rows: Tensor, linear: nn.Linear) -> None:
    """Add ``linear`` of ``rows`` (1, N) to ``x`` (1, D), in place."""
    x.addmm_(rows, linear.weight.t())
    if linear.bias is not None:
        x.add_(linear.bias)


def _convolve(conv: ShortConv, x: Tensor, columns: Tensor) -> Tensor:
    """(1, D) to (1, D); ``columns`` (D, W - 1) move on by one, in place."""
    before_gate, after_gate, signal = conv.in_proj(x).chunk(3, dim=-1)
    joined = torch.cat((columns, (before_gate * signal).t()), dim=-1)  # (D, W)
    columns.copy_(joined[:, 1:])
    wide = torch.promote_types(x.dtype, torch.float32)
    mixed = (joined * conv.conv.weight.squeeze(1).to(wide)).sum(-1)  # (D,)
    if conv.conv.bias is not None:
        mixed = mixed + conv.conv.bias
    gated: Tensor = after_gate * mixed.to(x.dtype)
    return gated


def _wide_product(first: Tensor, second: Tensor) -> Tensor:
    """The product of two batches of matrices, in float32 or better: scores are not rounded."""
    if first.dtype in (torch.float32, torch.float64):
        return torch.matmul(first, second)
    if first.device.type == "cuda":
        product: Tensor = torch.bmm(first, second, out_dtype=torch.float32)
        return product
    return torch.matmul(first.to(torch.float32), second.to(torch.float32))
