"""LFM2 in plain PyTorch: the stack of layers, token ids to hidden states.

In: token ids (or embeddings) of T new tokens and a cache of the tokens before. Out: hidden
states. Knows tensors only: no text, no settings. The layers are in :mod:`lfm2chat.engine.layers`,
the head and loading in :mod:`lfm2chat.engine.causal_lm`.

Shapes, at the end of each line that changes one:

    B  batch                     H  query heads            D  hidden size
    T  new tokens                K  key/value heads        F  feed-forward width (ff_dim)
    S  cached and new tokens     E  head dim               W  conv width (conv_L_cache)
    V  vocabulary                L  layers
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lfm2chat.engine.attention import Visibility
from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.inputs import (
    check_cache,
    check_ids,
    check_mask,
    check_positions,
    check_source,
    check_table,
    find_sequences,
)
from lfm2chat.engine.layers import DecoderLayer, RMSNorm, RotaryEmbedding, initialise
from lfm2chat.engine.outputs import ModelOutput
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
        past_key_values: HybridCache | CacheBatch | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        cache_position: Tensor | None = None,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        before_layer: BeforeLayer | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Run T new tokens on top of what ``past_key_values`` holds, and add them to it.

        Where an argument of True or False is None, the config's own switch of that name holds.

        Args:
            input_ids: (B, T) whole numbers below V; or give ``inputs_embeds``.
            attention_mask: (B, S), 0 for padding (left or right), cached tokens included; or
                (B or 1, H or 1, T, S) in place of the causal one: booleans, True where a token
                may look, or numbers that are added to the scores. The convolutions heed the
                former only, as in ``transformers``.
            position_ids: (B, T) or (1, T); None counts on from the cache, padding included. With
                neither mask nor cache a jump begins another sequence, whose tokens see no others
                in the attention layers (in the convolutions they do, as in ``transformers``).
            past_key_values: Changed in place once every layer is done. None starts from zero.
            inputs_embeds: (B, T, D) in place of ``input_ids``.
            use_cache: Whether to make a cache where none is given.
            cache_position: (T,) Accepted as documented; must go on where the cache ends.
            output_hidden_states: Whether to keep every layer's output.
            output_attentions: Whether to keep the weights of each attention layer (there is none
                for the convolutions). Slow, and as large as they are.
            return_dict: False gives the documented tuple of what is there.
            before_layer: See :data:`BeforeLayer`.

        Raises:
            UsageError: Both or neither of ids and embeddings, ids out of range, a position
                beyond the model's limit, or a tensor of another shape.
            CacheError: A cache of another kind, model, batch size, precision or place.
        """
        x = self._embed(input_ids, inputs_embeds)  # (B, T, D)
        want_states = _or_config(output_hidden_states, self.config.output_hidden_states)
        want_weights = _or_config(output_attentions, self.config.output_attentions)
        cache = self._cache(past_key_values, _or_config(use_cache, self.config.use_cache), x)
        inputs = self._prepare(x, attention_mask, position_ids, cache_position, cache)
        hidden_states = [x] if want_states else None
        weights: list[Tensor] | None = [] if want_weights else None
        if cache is not None:
            cache.begin(x.shape[1])
        for layer in self.layers:
            if before_layer is not None:
                before_layer()
            x = layer(x, inputs=inputs, cache=cache, weights=weights)
            if hidden_states is not None:
                hidden_states.append(x)
        if cache is not None:
            cache.commit()
        x = self.embedding_norm(x)
        if hidden_states is not None:
            hidden_states[-1] = x
        outputs = ModelOutput(
            x,
            cache if isinstance(cache, HybridCache) else None,
            None if hidden_states is None else tuple(hidden_states),
            None if weights is None else tuple(weights),
        )
        return outputs if _or_config(return_dict, self.config.return_dict) else outputs.to_tuple()

    def get_input_embeddings(self) -> nn.Embedding:
        """The embedding of the tokens, (V, D)."""
        return self.embed_tokens

    def set_input_embeddings(self, embedding: nn.Embedding) -> None:
        """Take ``embedding`` (V, D) in place of the one that is there.

        Raises:
            UsageError: It has another shape.
        """
        check_table("embedding", embedding.weight, self.config)
        self.embed_tokens = embedding

    def _embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        check_source(
            input_ids,
            inputs_embeds,
            hidden=self.config.hidden_size,
            dtype=self.embed_tokens.weight.dtype,
        )
        if input_ids is not None:
            check_ids(input_ids, vocab=self.embed_tokens.num_embeddings)
            embedded: Tensor = self.embed_tokens(input_ids)
            return embedded
        assert inputs_embeds is not None  # check_source saw to it
        return inputs_embeds

    def _prepare(
        self,
        x: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        cache_position: Tensor | None,
        cache: HybridCache | CacheBatch | None,
    ) -> PassInputs:
        """What every layer of this pass needs beside ``x`` (B, T, D)."""
        new_tokens = x.shape[1]
        batched = isinstance(cache, CacheBatch)
        past = cache.position if isinstance(cache, HybridCache) else 0
        limit = self.config.max_position_embeddings
        counted = None
        if isinstance(cache, CacheBatch):
            counted = cache.positions(new_tokens)
        positions = check_positions(
            position_ids, cache_position, x, past=past, limit=limit, counted=counted
        )
        padding = explicit = sequences = None
        if attention_mask is not None:
            padding, explicit = check_mask(
                attention_mask,
                x,
                past=past,
                heads=self.config.num_attention_heads,
                batched=batched,
            )
        elif position_ids is not None and cache is None:
            sequences = find_sequences(positions)
        # A single new token is never padding: its conv needs no mask.
        conv_padding = None if padding is None or new_tokens == 1 else padding[:, past:]
        return PassInputs(
            rotary=self.rotary_emb(positions, x.dtype),
            visibility=Visibility(past, new_tokens, padding, explicit, sequences),
            padding=conv_padding,
        )

    def _cache(self, cache: object, use_cache: bool, x: Tensor) -> HybridCache | CacheBatch | None:
        if cache is not None:
            return check_cache(cache, self.config, x)
        if not use_cache:
            return None
        batch, new_tokens = x.shape[:2]
        return HybridCache(
            self.config, batch_size=batch, dtype=x.dtype, device=x.device, capacity=new_tokens
        )


@dataclass(frozen=True, slots=True)
class PassInputs:
    """What all layers of one pass share.

    Attributes:
        rotary: Cosines and sines of the positions, each (B or 1, 1, T, E).
        visibility: For the attention layers: who may look at whom.
        padding: For the conv layers: (B, T), False is zeroed; None where nothing is padded.
    """

    rotary: tuple[Tensor, Tensor]
    visibility: Visibility
    padding: Tensor | None


def _or_config(said: bool | None, config: bool) -> bool:
    return config if said is None else said
