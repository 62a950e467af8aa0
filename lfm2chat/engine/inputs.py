"""What a forward pass is given, checked before anything is computed.

In: the documented arguments. Out: the same, in one form. Wrong input is refused with a sentence,
since torch would either stop deep inside or, worse, broadcast it and go on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lfm2chat.engine.cache import HybridCache
from lfm2chat.errors import CacheError, UsageError
from lfm2chat.spec.config import Lfm2Config


def check_source(input_ids: Tensor | None, inputs_embeds: Tensor | None, *, hidden: int) -> None:
    """Exactly one of (B, T) ids and (B, T, D) embeddings.

    Raises:
        UsageError: Both, neither, or another shape.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise UsageError(
            "give exactly one of input_ids and inputs_embeds",
            hint="token ids for text, embeddings for anything else",
        )
    if inputs_embeds is not None:
        if inputs_embeds.ndim != 3 or inputs_embeds.shape[-1] != hidden:
            raise _wrong("inputs_embeds", inputs_embeds, f"(batch, tokens, {hidden})")
    elif input_ids is not None:
        whole = not input_ids.is_floating_point() and input_ids.dtype != torch.bool
        if input_ids.ndim != 2 or input_ids.numel() == 0 or not whole:
            raise _wrong("input_ids", input_ids, "(batch, tokens) whole numbers, not empty")


def check_ids(input_ids: Tensor, *, vocab: int) -> None:
    """Ids from 0 to ``vocab - 1``. On a GPU the look would wait for the device: skipped there.

    Raises:
        UsageError: An id is out of range.
    """
    if input_ids.device.type != "cpu":
        return
    low, high = (int(bound) for bound in input_ids.aminmax())
    if low < 0 or high >= vocab:
        raise UsageError(
            f"input_ids run from {low} to {high}, expected 0 to {vocab - 1}",
            hint="encode the text with this model's own tokenizer",
        )


def check_padding(mask: Tensor, *, batch: int, new_tokens: int, past: int) -> Tensor | None:
    """The padding mask as booleans (B, S), or None where nothing is padded.

    Raises:
        UsageError: It is not (B, S) with S = cached + new tokens.
    """
    expected = (batch, past + new_tokens)
    if tuple(mask.shape) != expected:
        raise UsageError(
            f"attention_mask is {tuple(mask.shape)}, expected {expected}: one number for each"
            f" of {past} cached and {new_tokens} new tokens",
            hint="give 1 for every token to be read and 0 for padding, cached tokens included",
        )
    keep = mask != 0
    return None if bool(keep.all()) else keep


def check_cache(cache: object, config: Lfm2Config, x: Tensor) -> HybridCache:
    """``cache``, where it fits the model and the embedded input ``x`` (B, T, D).

    Raises:
        CacheError: It is of another kind, another model, or another batch, precision or place.
    """
    if not isinstance(cache, HybridCache):
        raise CacheError(
            f"past_key_values is a {type(cache).__name__}, which cannot carry the state of"
            " LFM2's convolutions",
            hint="use the cache that the model returns, or a new HybridCache",
        )
    if cache.config is not config and cache.config != config:
        raise CacheError(
            "past_key_values is the cache of another model",
            hint="make a HybridCache with this model's config",
        )
    theirs = (cache.batch_size, cache.dtype, cache.device.type)
    ours = (x.shape[0], x.dtype, x.device.type)
    if theirs != ours:
        raise CacheError(
            f"past_key_values is for (batch, dtype, device) {theirs}, the input is {ours}",
            hint="make a HybridCache that fits the input",
        )
    return cache


def check_positions(
    position_ids: Tensor | None, cache_position: Tensor | None, x: Tensor, past: int
) -> Tensor:
    """Positions (B or 1, T): those given, or counted on from the ``past`` cached tokens.

    Raises:
        UsageError: ``position_ids`` has another shape.
        CacheError: ``cache_position`` is not where the cache ends.
    """
    counted = torch.arange(past, past + x.shape[1], device=x.device)
    if cache_position is not None and not torch.equal(cache_position.to(x.device), counted):
        raise CacheError(
            f"cache_position must run from {past} to {past + x.shape[1] - 1}: the cache holds"
            f" {past} tokens",
            hint="restore the cache to the place that you mean, or leave cache_position out",
        )
    if position_ids is None:
        return counted[None]
    if position_ids.ndim != 2 or position_ids.shape[1] != x.shape[1]:
        raise _wrong("position_ids", position_ids, "(batch, new tokens)")
    return position_ids


def _wrong(name: str, tensor: Tensor, expected: str) -> UsageError:
    return UsageError(
        f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {expected}",
        hint="see the documentation of forward()",
    )
