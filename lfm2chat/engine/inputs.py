"""What a forward pass is given, checked before anything is computed.

In: the documented arguments. Out: the same, in one form. Wrong input is refused with a sentence,
since torch would either stop deep inside or, worse, broadcast it and go on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lfm2chat.engine.batch import CacheBatch
from lfm2chat.engine.cache import HybridCache
from lfm2chat.engine.outputs import IGNORED_LABEL
from lfm2chat.errors import CacheError, UsageError
from lfm2chat.spec.config import Lfm2Config


def check_source(
    input_ids: Tensor | None, inputs_embeds: Tensor | None, *, hidden: int, dtype: torch.dtype
) -> tuple[int, int]:
    """Exactly one of (B, T) ids and (B, T, D) embeddings in the weights' ``dtype``; gives B and T.

    Raises:
        UsageError: Both, neither, another shape, or another dtype.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise UsageError(
            "give exactly one of input_ids and inputs_embeds",
            hint="token ids for text, embeddings for anything else",
        )
    if inputs_embeds is not None:
        embeds = _tensor("inputs_embeds", inputs_embeds)
        if embeds.ndim != 3 or embeds.shape[-1] != hidden or not embeds.numel():
            raise _wrong("inputs_embeds", embeds, f"(batch, tokens, {hidden}), not empty")
        if embeds.dtype != dtype:
            raise _wrong("inputs_embeds", embeds, f"{dtype}, the precision of the weights")
        return embeds.shape[0], embeds.shape[1]
    ids = _tensor("input_ids", input_ids)
    if ids.ndim != 2 or not ids.numel() or not _whole(ids):
        raise _wrong("input_ids", ids, "(batch, tokens) whole numbers (torch.long), not empty")
    return ids.shape[0], ids.shape[1]


def check_ids(input_ids: Tensor, *, vocab: int) -> None:
    """Ids from 0 to ``vocab - 1``. On a GPU the look would wait for the device: skipped there.

    Raises:
        UsageError: An id is out of range.
    """
    if input_ids.device.type != "cpu":
        return
    low, high = (int(bound) for bound in input_ids.aminmax())
    check_bounds(low, high, vocab=vocab)


def check_bounds(low: int, high: int, *, vocab: int) -> None:
    """The least and the largest id: from 0 to ``vocab - 1``.

    Raises:
        UsageError: They are not.
    """
    if low < 0 or high >= vocab:
        raise UsageError(
            f"input_ids run from {low} to {high}, expected 0 to {vocab - 1}",
            hint="encode the text with this model's own tokenizer",
        )


def check_kept(keep: int | Tensor, batch: int, new_tokens: int) -> tuple[int, ...]:
    """The shape of the positions that ``logits_to_keep`` asks for: (B, N), or (N,) for booleans.

    Indices on a GPU are not looked at, which would wait for the device.

    Raises:
        UsageError: A negative number, a tensor of another shape, or an index beyond the tokens.
    """
    if isinstance(keep, int):
        if keep < 0:
            raise UsageError(
                f"logits_to_keep is {keep}, expected 0 (all) or a number of positions",
                hint="give a tensor of indices for positions of your own choice",
            )
        return batch, min(keep, new_tokens) or new_tokens
    keep = _tensor("logits_to_keep", keep)
    if keep.dtype == torch.bool and keep.shape == (batch, new_tokens):
        return (int(keep.sum()),)
    fits = keep.ndim == 1 or (keep.ndim == 2 and keep.shape[0] == batch)
    if not fits or not _whole(keep):
        expected = f"a number, indices (N,) or ({batch}, N), or booleans ({batch}, {new_tokens})"
        raise _wrong("logits_to_keep", keep, expected)
    if keep.device.type == "cpu" and keep.numel():
        low, high = (int(bound) for bound in keep.aminmax())
        if low < -new_tokens or high >= new_tokens:
            raise UsageError(
                f"logits_to_keep runs from {low} to {high}, the input has {new_tokens} tokens",
                hint=f"count from 0 to {new_tokens - 1}, or back from -1",
            )
    return batch, keep.shape[-1]


def check_labels(labels: Tensor, logits: tuple[int, ...]) -> None:
    """One label, a token id or IGNORED_LABEL, for each position of ``logits``, a shape (..., V).

    Raises:
        UsageError: Another shape or dtype, or (not looked at on a GPU) no token's id.
    """
    labels = _tensor("labels", labels)
    if tuple(labels.shape) != logits[:-1]:
        raise UsageError(
            f"labels are {tuple(labels.shape)} for logits {logits}",
            hint="give one label for each position, and leave logits_to_keep at 0",
        )
    if not _whole(labels):
        raise _wrong("labels", labels, "whole numbers (torch.long)")
    counted = labels[labels != IGNORED_LABEL] if labels.device.type == "cpu" else labels[:0]
    if counted.numel():
        low, high = (int(bound) for bound in counted.aminmax())
        if low < 0 or high >= logits[-1]:
            raise UsageError(
                f"labels run from {low} to {high}, expected 0 to {logits[-1] - 1}",
                hint=f"give token ids, and {IGNORED_LABEL} for what is not to count",
            )


def check_mask(
    mask: Tensor, x: Tensor, *, past: int, heads: int, batched: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    """The padding as booleans (B, S) and the mask of the caller's own (..., T, S); one is None.

    Both are None where nothing is padded. ``x`` is the embedded input (B, T, D).

    Raises:
        UsageError: It is neither (B, S) nor (B or 1, H or 1, T, S), with S = cached + new tokens,
            or sequences of different lengths are batched.
    """
    mask = _tensor("attention_mask", mask)
    batch, new_tokens = x.shape[:2]
    total = past + new_tokens
    if batched:
        raise UsageError(
            "sequences of different lengths in one pass take no attention_mask",
            hint="leave it out: each row sees its own tokens",
        )
    if mask.ndim == 4:
        fits = mask.shape[0] in (1, batch) and mask.shape[1] in (1, heads)
        if not fits or tuple(mask.shape[2:]) != (new_tokens, total):
            raise UsageError(
                f"attention_mask is {tuple(mask.shape)}, expected ({batch}, {heads} or 1,"
                f" {new_tokens}, {total})",
                hint="give one row for each new token, and one number for each token it may see",
            )
        if mask.dtype != torch.bool and not mask.is_floating_point():
            raise _wrong("attention_mask", mask, "booleans, or numbers to add to the scores")
        return None, mask
    if tuple(mask.shape) != (batch, total):
        raise UsageError(
            f"attention_mask is {tuple(mask.shape)}, expected {(batch, total)}: one number for"
            f" each of {past} cached and {new_tokens} new tokens",
            hint="give 1 for every token to be read and 0 for padding, cached tokens included",
        )
    keep = mask != 0
    return (None if bool(keep.all()) else keep), None


def check_cache(cache: object, config: Lfm2Config, x: Tensor) -> HybridCache | CacheBatch:
    """``cache``, where it fits the model and the embedded input ``x`` (B, T, D).

    Raises:
        CacheError: It is of another kind, another model, or another batch, precision or place.
    """
    if isinstance(cache, tuple | list):
        raise CacheError(
            "past_key_values is a legacy cache of tuples, which holds keys and values only: the"
            " state of LFM2's convolutions would be lost",
            hint="use the cache that the model returns, or a new HybridCache",
        )
    if not isinstance(cache, HybridCache | CacheBatch):
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
    position_ids: Tensor | None,
    cache_position: Tensor | None,
    x: Tensor,
    *,
    past: int,
    limit: int,
    counted: Tensor | None = None,
) -> Tensor:
    """Positions (B or 1, T): those given, or counted on from the ``past`` cached tokens.

    ``counted`` (B, T) are the positions where each row has another past. ``limit`` is the number
    of positions that the model knows.

    Raises:
        UsageError: ``position_ids`` has another shape, or a position is beyond the limit.
        CacheError: ``cache_position`` is not where the cache ends.
    """
    new_tokens = x.shape[1]
    if counted is None:
        counted = torch.arange(past, past + new_tokens, device=x.device)[None]
    if cache_position is not None and not (
        cache_position.shape == (new_tokens,)
        and bool((cache_position.to(x.device) == counted).all())
    ):
        raise CacheError(
            f"cache_position must run from {past} to {past + new_tokens - 1}: the cache holds"
            f" {past} tokens",
            hint="restore the cache to the place that you mean, or leave cache_position out",
        )
    positions = counted if position_ids is None else _tensor("position_ids", position_ids)
    if not _whole(positions):
        raise _wrong("position_ids", positions, "whole numbers (torch.long)")
    if positions.ndim != 2 or positions.shape[1] != new_tokens:
        raise _wrong("position_ids", positions, "(batch, new tokens)")
    if positions.shape[0] not in (1, x.shape[0]):
        raise _wrong("position_ids", positions, f"({x.shape[0]} or 1, {new_tokens})")
    # On a GPU a look at given positions would wait for the device.
    if position_ids is None or positions.device.type == "cpu":
        lowest, highest = (int(bound) for bound in positions.aminmax())
        if lowest < 0 or highest >= limit:
            raise UsageError(
                f"positions run from {lowest} to {highest}, the model knows 0 to {limit - 1}",
                hint="read fewer tokens: start anew, or go back to an earlier place",
            )
    return positions


def check_table(name: str, weight: Tensor, config: Lfm2Config) -> None:
    """The weight (V, D) of an embedding or a head that is to be put in place of the model's.

    Raises:
        UsageError: It has another shape, so neither the model nor what it saves would be whole.
    """
    expected = (config.vocab_size, config.hidden_size)
    if tuple(weight.shape) != expected:
        raise UsageError(
            f"the {name} is {tuple(weight.shape)}, expected {expected}",
            hint="call resize_token_embeddings first for more or fewer tokens",
        )


def find_sequences(position_ids: Tensor) -> Tensor | None:
    """The number of each token's sequence (B or 1, T), where (B or 1, T) positions pack several.

    A position that does not follow the one before it begins a sequence. None where there is one.
    """
    sequences = (position_ids.diff(dim=-1) != 1).cumsum(dim=-1)
    sequences = F.pad(sequences, (1, 0))
    return sequences if bool(sequences.any()) else None


def _tensor(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise UsageError(
            f"{name} is a {type(value).__name__}, expected a tensor",
            hint=f"give torch.tensor({name})",
        )
    return value


def _whole(tensor: Tensor) -> bool:
    """Whether torch can look rows up by these numbers."""
    return tensor.dtype in (torch.int64, torch.int32)


def _wrong(name: str, tensor: Tensor, expected: str) -> UsageError:
    return UsageError(
        f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {expected}",
        hint="see the documentation of forward()",
    )
