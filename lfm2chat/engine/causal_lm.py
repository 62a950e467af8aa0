"""LFM2 with its head: token ids to logits; loading and saving.

In: a folder, or token ids and a cache. Out: a model, or logits and loss. Letters as in
:mod:`lfm2chat.engine.model`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.device import choose_device, choose_dtype, stored_dtype
from lfm2chat.engine.inputs import check_kept, check_labels, check_source, check_table
from lfm2chat.engine.layers import initialise, resize_rows
from lfm2chat.engine.memory import check_memory
from lfm2chat.engine.model import BeforeLayer, Lfm2Model
from lfm2chat.engine.outputs import CausalLMOutput, keep_positions, next_token_loss
from lfm2chat.engine.weights import fill, save, without_memory
from lfm2chat.modelfiles import ModelFolder, check_weights, open_folder
from lfm2chat.spec.config import Lfm2Config


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
        folder: str | Path | ModelFolder,
        *,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device = "auto",
    ) -> Lfm2ForCausalLM:
        """The model in ``folder``, ready to answer: in evaluation mode, recording no gradients.

        Args:
            folder: Holds config.json and model.safetensors, or several files and their index;
                or one GGUF file.
            dtype: "auto" keeps the weights' own precision where the device is good at it; else
                "bfloat16", "float16", "float32" or torch's name for one.
            device: "auto" takes a GPU where one is, else any device that torch knows.

        Raises:
            ConfigError, WeightsError: The folder is no LFM2, or its files do not fit together.
            NotEnoughMemoryError: It would not fit into the memory that is free.
            UsageError: ``dtype`` or ``device`` names nothing that can be used here.
        """
        opened = open_folder(Path(folder) if isinstance(folder, str) else folder)
        config = opened.config()
        files = check_weights(opened, config)
        place = choose_device(device)
        precision = choose_dtype(dtype, stored=stored_dtype(files.dtype), device=place)
        check_memory(config, dtype=precision, device=place)
        # So the weights are allocated once, by the loader.
        with without_memory():
            model = cls(config)
        fill(model, files, dtype=precision, device=place)
        model.tie_weights()
        return model.eval().requires_grad_(requires_grad=False)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into ``folder``; ``transformers`` loads it.

        Existing files of these names are replaced.
        """
        save(self, self.config, Path(folder))

    def forward(  # noqa: D417, PLR0917 - the documented order
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: HybridCache | CacheBatch | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        cache_position: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: int | Tensor | None = None,
        before_layer: BeforeLayer | None = None,
    ) -> CausalLMOutput | tuple[Any, ...]:
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
        hidden, vocab = self.config.hidden_size, self.lm_head.out_features
        source = check_source(input_ids, inputs_embeds, hidden=hidden, dtype=self.dtype)
        kept = check_kept(logits_to_keep, *source)
        if labels is not None:
            check_labels(labels, (*kept, vocab))
        outputs = self.model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            cache_position=cache_position,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
            before_layer=before_layer,
        )
        logits = self._logits(keep_positions(outputs.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = next_token_loss(logits, labels, num_items_in_batch=num_items_in_batch)
        result = CausalLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        wants_object = self.config.return_dict if return_dict is None else return_dict
        return result if wants_object else result.to_tuple()

    def next_logits(
        self,
        input_ids: Tensor,
        cache: HybridCache | CacheBatch,
        *,
        before_layer: BeforeLayer | None = None,
    ) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after the last of them, (B, V) in float32.

        Records no gradients. What ``before_layer`` raises leaves the cache as it was.
        """
        with torch.inference_mode():
            hidden = self._hidden(input_ids, cache, before_layer)
            logits: Tensor = self.lm_head(hidden[:, -1])  # (B, V)
        # Copied outside: a tensor of inference mode could not be changed by the caller.
        return logits.to(torch.float32, copy=True)

    def all_logits(self, input_ids: Tensor, cache: HybridCache) -> Tensor:
        """Add (B, T) ids to ``cache``; the logits after each of them, (B, T, V) in float32.

        Records no gradients.
        """
        with torch.inference_mode():
            logits = self._logits(self._hidden(input_ids, cache, None))
        return logits.to(torch.float32, copy=True)

    def tie_weights(self) -> None:
        """Make the head use the embedding's numbers, where the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def get_input_embeddings(self) -> nn.Embedding:
        """The embedding of the tokens, (V, D)."""
        return self.model.embed_tokens

    def set_input_embeddings(self, embedding: nn.Embedding) -> None:
        """Take ``embedding`` (V, D) in place of the one that is there; a tied head follows.

        Raises:
            UsageError: It has another shape.
        """
        self.model.set_input_embeddings(embedding)
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Linear:
        """The head, (V, D)."""
        return self.lm_head

    def set_output_embeddings(self, head: nn.Linear) -> None:
        """Take ``head`` (V, D) in place of the one that is there.

        Raises:
            UsageError: It has another shape.
        """
        check_table("head", head.weight, self.config)
        self.lm_head = head

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Make the vocabulary larger or smaller, in place; the embedding as it is then.

        Rows that are new get the mean of the old ones, so they are as likely as an average token
        (``transformers`` draws them closely around it). The head and ``config.vocab_size``
        follow.

        Args:
            new_num_tokens: V from now on; None keeps it.
            pad_to_multiple_of: Rounds V up.
        """
        tokens = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            tokens += -tokens % pad_to_multiple_of
        config = replace(self.config, vocab_size=tokens)
        embedding = self.model.embed_tokens
        embedding.weight = resize_rows(embedding.weight, tokens)
        embedding.num_embeddings = self.lm_head.out_features = tokens
        if not config.tie_word_embeddings:
            self.lm_head.weight = resize_rows(self.lm_head.weight, tokens)
        self.config = self.model.config = config
        self.tie_weights()
        return embedding

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.model.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.embed_tokens.weight.device

    def _hidden(
        self,
        input_ids: Tensor,
        cache: HybridCache | CacheBatch,
        before_layer: BeforeLayer | None,
    ) -> Tensor:
        outputs = self.model(
            input_ids,
            past_key_values=cache,
            before_layer=before_layer,
            output_hidden_states=False,
            output_attentions=False,
            return_dict=True,
        )
        hidden: Tensor = outputs.last_hidden_state
        return hidden

    def _logits(self, kept: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        # As in ShortConv: (1, 1, D) cut out of (1, T, D) would cost a copy of the head.
        logits: Tensor = self.lm_head(kept.reshape(-1, kept.shape[-1]))
        return logits.view(*kept.shape[:-1], logits.shape[-1])
