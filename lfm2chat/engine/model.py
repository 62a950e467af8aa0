"""LFM2 in plain PyTorch: the reference, and the model that the guide is trained with.

In: token ids (or embeddings) of T new tokens and a cache of the tokens before. Out: logits.
Knows tensors only: no text, no settings. The layers are in :mod:`lfm2chat.engine.layers`.

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
from torch import Tensor, nn

from lfm2chat.engine.attention import visibility
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.device import STORED, choose_device, choose_dtype
from lfm2chat.engine.inputs import (
    check_cache,
    check_ids,
    check_padding,
    check_positions,
    check_source,
)
from lfm2chat.engine.layers import DecoderLayer, RMSNorm, RotaryEmbedding, initialise
from lfm2chat.engine.memory import check_memory
from lfm2chat.engine.outputs import (
    CausalLMOutput,
    ModelOutput,
    keep_positions,
    next_token_loss,
)
from lfm2chat.engine.weights import fill
from lfm2chat.modelfiles import check_weights, read_config
from lfm2chat.spec.config import Lfm2Config

BeforeLayer = Callable[[], None]
"""Called before each layer; what it raises ends the pass and leaves the cache as it was."""


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
