"""LFM2 in plain PyTorch: the reference, and the model that the guide is trained with.

In: token ids (or embeddings) of T new tokens and a cache of the tokens before. Out: logits.
Knows tensors only: no text, no files, no settings. The order of operations and the places
where values are rounded are those of ``transformers`` (5.23, ``models/lfm2/modeling_lfm2.py``);
submodules carry the checkpoint's names.

Shapes, at the end of each line that changes one:

    B  batch                     H  query heads            D  hidden size
    T  new tokens                K  key/value heads        F  feed-forward width (ff_dim)
    S  cached and new tokens     E  head dim               W  conv width (conv_L_cache)
    V  vocabulary                L  layers
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfm2chat.engine.attention import attend, visibility
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.device import STORED, choose_device, choose_dtype
from lfm2chat.engine.inputs import (
    check_cache,
    check_ids,
    check_padding,
    check_positions,
    check_source,
)
from lfm2chat.engine.memory import check_memory
from lfm2chat.engine.outputs import (
    CausalLMOutput,
    ModelOutput,
    keep_positions,
    next_token_loss,
)
from lfm2chat.engine.weights import fill
from lfm2chat.modelfiles import check_weights, read_config
from lfm2chat.spec.config import ATTENTION, Lfm2Config

BeforeLayer = Callable[[], None]
"""Called before each layer; what it raises ends the pass and leaves the cache as it was."""


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
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: HybridCache | None,
    ) -> Tensor:
        """(B, T, D) in and out; ``cache`` gets T more keys and values."""
        split = (*x.shape[:2], -1, self.head_dim)
        queries = self.q_layernorm(self.q_proj(x).view(split)).transpose(1, 2)  # (B, H, T, E)
        keys = self.k_layernorm(self.k_proj(x).view(split)).transpose(1, 2)  # (B, K, T, E)
        values = self.v_proj(x).view(split).transpose(1, 2)  # (B, K, T, E)
        queries, keys = rotate(queries, *rotary), rotate(keys, *rotary)
        if cache is not None:
            keys, values = cache.extend_attention(self.layer, keys, values)  # (B, K, S, E)
        mixed: Tensor = self.out_proj(attend(queries, keys, values, mask))
        return mixed


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

    def forward(self, x: Tensor, padding: Tensor | None, cache: HybridCache | None) -> Tensor:
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
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        padding: Tensor | None,
        cache: HybridCache | None,
    ) -> Tensor:
        """(B, T, D) in and out; ``mask`` is for attention, ``padding`` for the convolution."""
        normed = self.operator_norm(x)
        if self.has_attention:
            x = self.self_attn(normed, rotary, mask, cache) + x
        else:
            x = self.conv(normed, padding, cache) + x
        output: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return output


class Lfm2Model(nn.Module):
    """The stack without a head: token ids to hidden states. Weights are random at first."""

    def __init__(self, config: Lfm2Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(
            config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id
        )
        self.layers = nn.ModuleList(
            DecoderLayer(config, layer) for layer in range(config.num_hidden_layers)
        )
        self.rotary_emb = RotaryEmbedding(config)
        # The final norm, despite its name: nothing norms the embeddings.
        self.embedding_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        initialise(self, std=config.initializer_range)

    def forward(  # noqa: PLR0917 - the documented order
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: HybridCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        cache_position: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        before_layer: BeforeLayer | None = None,
    ) -> ModelOutput:
        """Run T new tokens on top of what ``past_key_values`` holds, and add them to it.

        Args:
            input_ids: (B, T) whole numbers below V; or give ``inputs_embeds``.
            attention_mask: (B, S), 0 for padding (left or right), cached tokens included.
            position_ids: (B, T) or (1, T); None counts on from the cache, padding included.
            past_key_values: Changed in place once every layer is done. None starts from zero.
            inputs_embeds: (B, T, D) in place of ``input_ids``.
            use_cache: Whether to make a cache where none is given; None is the config's word,
                except in training, where a cache is of no use.
            cache_position: (T,) Accepted as documented; must go on where the cache ends.
            output_hidden_states: Whether to keep every layer's output.
            before_layer: See :data:`BeforeLayer`.

        Raises:
            UsageError: Both or neither of ids and embeddings, ids out of range, or a tensor of
                another shape.
            CacheError: A cache of another model, batch size, precision or place.
        """
        check_source(input_ids, inputs_embeds, hidden=self.config.hidden_size)
        if input_ids is not None:
            check_ids(input_ids, vocab=self.config.vocab_size)
            inputs_embeds = self.embed_tokens(input_ids)
        assert inputs_embeds is not None  # check_source saw to it
        x = inputs_embeds  # (B, T, D)
        batch, new_tokens = x.shape[:2]
        cache = self._cache(past_key_values, use_cache, x)
        past = 0 if cache is None else cache.length
        positions = check_positions(position_ids, cache_position, x, past)
        padding = None
        if attention_mask is not None:
            padding = check_padding(attention_mask, batch=batch, new_tokens=new_tokens, past=past)
        mask = visibility(padding, new_tokens=new_tokens, past=past, device=x.device)
        # A single new token is never padding: its conv needs no mask.
        conv_padding = None if padding is None or new_tokens == 1 else padding[:, past:]
        rotary = self.rotary_emb(positions, x.dtype)
        hidden_states = [x] if output_hidden_states else []
        if cache is not None:
            cache.begin(new_tokens)
        for layer in self.layers:
            if before_layer is not None:
                before_layer()
            x = layer(x, rotary=rotary, mask=mask, padding=conv_padding, cache=cache)
            if output_hidden_states:
                hidden_states.append(x)
        if cache is not None:
            cache.commit()
        x = self.embedding_norm(x)
        if output_hidden_states:
            hidden_states[-1] = x
        return ModelOutput(x, cache, tuple(hidden_states) if output_hidden_states else None)

    def _cache(self, cache: object, use_cache: bool | None, x: Tensor) -> HybridCache | None:
        if cache is not None:
            return check_cache(cache, self.config, x)
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if not use_cache:
            return None
        batch, new_tokens = x.shape[:2]
        return HybridCache(
            self.config, batch_size=batch, dtype=x.dtype, device=x.device, capacity=new_tokens
        )


class Lfm2ForCausalLM(nn.Module):
    """LFM2 with its head: token ids to the logits of the next token."""

    def __init__(self, config: Lfm2Config) -> None:
        super().__init__()
        self.config = config
        self.model = Lfm2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        initialise(self.lm_head, std=config.initializer_range)
        self.tie_weights()

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device = "auto",
    ) -> Lfm2ForCausalLM:
        """The model in ``folder``, ready to answer: in evaluation mode, recording no gradients.

        Args:
            folder: Holds config.json and model.safetensors, or several files and their index.
            dtype: "auto" keeps the weights' own precision where the device is good at it; else
                "bfloat16", "float16", "float32" or torch's name for one.
            device: "auto" takes a GPU where one is, else any device that torch knows.

        Raises:
            ConfigError, WeightsError: The folder is no LFM2, or its files do not fit together.
            NotEnoughMemoryError: It would not fit into the memory that is free.
            UsageError: ``dtype`` or ``device`` names nothing that can be used here.
        """
        config = read_config(Path(folder))
        files = check_weights(Path(folder), config)
        place = choose_device(device)
        precision = choose_dtype(dtype, stored=STORED[files.dtype], device=place)
        check_memory(config, dtype=precision, device=place)
        # "meta": shapes without memory, so the weights are allocated once, by the loader.
        with torch.device("meta"):
            model = cls(config)
        fill(model, files, dtype=precision, device=place)
        model.tie_weights()
        return model.eval().requires_grad_(requires_grad=False)

    def forward(  # noqa: D417, PLR0917 - the documented order
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: HybridCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        cache_position: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        output_hidden_states: bool = False,
        num_items_in_batch: int | Tensor | None = None,
        before_layer: BeforeLayer | None = None,
    ) -> CausalLMOutput:
        """Logits of the token after each new one.

        What is not described here is as in :meth:`Lfm2Model.forward`.

        Args:
            labels: (B, T) the tokens themselves; each is predicted from those before it. The
                loss is their mean cross-entropy, without those that are ``IGNORED_LABEL``.
            logits_to_keep: The last so many positions (0: all), or their indices: (N,) for all
                rows, (B, N) for each row, or booleans (B, T), which flattens rows.
            num_items_in_batch: Divides the summed loss, in place of the number of labels.

        Raises:
            UsageError, CacheError: As in :meth:`Lfm2Model.forward`.
        """
        outputs = self.model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            cache_position=cache_position,
            output_hidden_states=output_hidden_states,
            before_layer=before_layer,
        )
        kept = keep_positions(outputs.last_hidden_state, logits_to_keep)  # (..., D)
        # As in ShortConv: (1, 1, D) cut out of (1, T, D) would cost a copy of the head.
        logits = self.lm_head(kept.reshape(-1, kept.shape[-1]))
        logits = logits.view(*kept.shape[:-1], -1)  # (..., V)
        loss = None
        if labels is not None:
            loss = next_token_loss(logits, labels, num_items_in_batch=num_items_in_batch)
        return CausalLMOutput(logits, loss, outputs.past_key_values, outputs.hidden_states)

    def next_logits(
        self, input_ids: Tensor, cache: HybridCache, *, before_layer: BeforeLayer | None = None
    ) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after the last of them, (B, V) in float32.

        Records no gradients. What ``before_layer`` raises leaves the cache as it was.
        """
        with torch.inference_mode():
            outputs = self.model(input_ids, past_key_values=cache, before_layer=before_layer)
            logits: Tensor = self.lm_head(outputs.last_hidden_state[:, -1])  # (B, V)
        # Copied outside: a tensor of inference mode could not be changed by the caller.
        return logits.to(torch.float32, copy=True)

    def tie_weights(self) -> None:
        """Make the head use the embedding's numbers, where the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.model.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.embed_tokens.weight.device


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
