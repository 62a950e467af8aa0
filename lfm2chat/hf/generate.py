"""The documented ``generate``: prompts of a batch to answers, as ``transformers`` 5.24 writes them.

In: a model, (B, T) ids with their mask, a settled plan. Out: (B, S) ids, the prompt included.
What is equal with the same ``torch.manual_seed``: the order of the processors, one draw for all
rows at each step from torch's global generator, the ids that follow an answer's end. Sources:
``generation/utils.py``, ``generation/logits_process.py``. Letters as in
:mod:`lfm2chat.engine.model`.
"""

from __future__ import annotations

import math

import torch  # noqa: TID253 - imported only once a model is wanted
from torch import Tensor  # noqa: TID253

from lfm2chat.engine import HybridCache, Lfm2ForCausalLM
from lfm2chat.engine.sampling import keep_min_p, keep_top_k, keep_top_p, penalise_repetition
from lfm2chat.errors import GenerationError, UsageError
from lfm2chat.hf.generation_config import GenerationPlan
from lfm2chat.hf.streamers import Streamer


def write_answers(
    model: Lfm2ForCausalLM,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    plan: GenerationPlan,
    *,
    streamer: Streamer | None = None,
) -> Tensor:
    """Write an answer to each row, until all have ended; (B * num_return_sequences, S) ids.

    A row that ends before the longest is filled up with the pad token. Nothing outlives the
    call but what the global random generator has drawn.

    Raises:
        UsageError: Ids or mask of the wrong kind, or a prompt that leaves no room.
        GenerationError: The model computed numbers that are not finite.
    """
    mask = _padding(input_ids, attention_mask, plan)
    ids = input_ids.repeat_interleave(plan.num_return_sequences, dim=0)
    if mask is not None:
        mask = mask.repeat_interleave(plan.num_return_sequences, dim=0)
    prompt = ids.shape[1]
    end = plan.total_length(prompt, limit=model.config.max_position_embeddings)
    earliest_end = max(plan.min_length, prompt + plan.min_new_tokens)
    eos = torch.tensor(plan.eos_token_ids, dtype=torch.long, device=ids.device)
    reader = _Reader(model, ids.shape[0], mask, use_cache=plan.use_cache)
    chooser = _Chooser(plan, ids, mask, vocab=model.config.vocab_size)
    unfinished = torch.ones(ids.shape[0], dtype=torch.bool, device=ids.device)
    if streamer is not None:
        streamer.put(ids.cpu())
    while ids.shape[1] < end and bool(unfinished.any()):
        scores = reader.read(ids)  # (B, V)
        tokens = chooser.choose(scores, eos if ids.shape[1] < earliest_end else None)  # (B,)
        if plan.eos_token_ids:
            tokens = torch.where(unfinished, tokens, plan.pad_token_id or 0)
        ids = torch.cat([ids, tokens[:, None]], dim=1)
        unfinished = unfinished & ~torch.isin(tokens, eos)
        if streamer is not None:
            streamer.put(tokens.cpu())
    if streamer is not None:
        streamer.end()
    return ids


class _Reader:
    """Runs the model over what is new, and knows the cache, the mask and the positions."""

    def __init__(
        self, model: Lfm2ForCausalLM, batch: int, mask: Tensor | None, *, use_cache: bool
    ) -> None:
        self._model = model
        self._mask: Tensor | None = None
        self._positions: Tensor | None = None
        if mask is not None:
            self._mask = mask.to(model.device)
            # Padding counts no position, and stands at 0 itself.
            positions = self._mask.cumsum(-1) - 1
            self._positions = positions.masked_fill(self._mask == 0, 0)
        self._cache: HybridCache | None = None
        if use_cache:
            self._cache = HybridCache(
                model.config, batch_size=batch, dtype=model.dtype, device=model.device
            )

    def read(self, ids: Tensor) -> Tensor:
        """The logits (B, V) after (B, S) ``ids``, float32, where ``ids`` are.

        Raises:
            GenerationError: They are not finite.
        """
        done = self._cache.length if self._cache is not None else 0
        if self._mask is not None and self._positions is not None:
            missing = ids.shape[1] - self._mask.shape[1]
            following = self._positions[:, -1:] + torch.arange(
                1, missing + 1, device=self._positions.device
            )
            self._positions = torch.cat([self._positions, following], dim=1)
            self._mask = torch.nn.functional.pad(self._mask, (0, missing), value=1)
        positions = None if self._positions is None else self._positions[:, done:]
        outputs = self._model(
            ids[:, done:].to(self._model.device),
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=self._cache is not None,
            logits_to_keep=1,
            output_hidden_states=False,
            output_attentions=False,
            return_dict=True,
        )
        scores: Tensor = outputs.logits[:, -1].to(device=ids.device, dtype=torch.float32)
        if not bool(scores.isfinite().all()):
            raise GenerationError(
                "the model computed numbers that are not finite, so no token can be drawn",
                hint="its files are damaged, or the precision is too low: try dtype='float32'",
            )
        return scores


class _Chooser:
    """Scores to one token for each row; it remembers which ids a row holds."""

    def __init__(
        self, plan: GenerationPlan, ids: Tensor, mask: Tensor | None, *, vocab: int
    ) -> None:
        self._plan = plan
        self._seen: Tensor | None = None
        if plan.repetition_penalty is not None:
            # One column more takes the padding before a prompt, which is no part of it.
            self._seen = torch.zeros((ids.shape[0], vocab + 1), dtype=torch.bool, device=ids.device)
            if mask is not None:
                start = (mask != 0).int().argmax(dim=1)
                before = torch.arange(ids.shape[1], device=ids.device) < start[:, None]
                ids = ids.masked_fill(before, vocab)
            self._seen.scatter_(1, ids, value=True)

    def choose(self, scores: Tensor, forbidden: Tensor | None) -> Tensor:
        """A token (B,) for each row of (B, V) ``scores``, never one of ``forbidden``."""
        rows = []
        for row, row_scores in enumerate(scores):
            processed = self._process(row_scores, row, forbidden)
            rows.append(processed)
        scores = torch.stack(rows)
        if self._plan.do_sample:
            # One draw for the whole batch: the rows share the generator's numbers.
            tokens = torch.multinomial(scores.softmax(dim=-1), num_samples=1)[:, 0]
        else:
            tokens = scores.argmax(dim=-1)
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], value=True)
        return tokens

    def _process(self, scores: Tensor, row: int, forbidden: Tensor | None) -> Tensor:
        """One row's scores (V,) after every processor of the plan, in order."""
        plan = self._plan
        if plan.repetition_penalty is not None and self._seen is not None:
            seen_ids = self._seen[row, : scores.shape[0]].nonzero()[:, 0]
            scores = penalise_repetition(scores, seen_ids, plan.repetition_penalty)
        if forbidden is not None and forbidden.numel():
            ids = torch.arange(scores.shape[0], device=scores.device)
            scores = scores.masked_fill(torch.isin(ids, forbidden), -math.inf)
        if not plan.do_sample:
            return scores
        if plan.temperature is not None:
            scores = scores / plan.temperature
        if plan.top_k is not None:
            scores = keep_top_k(scores, plan.top_k)
        if plan.top_p is not None:
            scores = keep_top_p(scores, plan.top_p)
        if plan.min_p is not None:
            scores = keep_min_p(scores, plan.min_p)
        return scores


def _padding(ids: Tensor, mask: Tensor | None, plan: GenerationPlan) -> Tensor | None:
    """The mask (B, T) of whole numbers, or None where nothing is padded.

    Where none is given, every pad token in the prompts counts as padding, unless it is one that
    ends answers too.
    """
    if mask is None:
        pad = plan.pad_token_id
        if pad is None or pad in plan.eos_token_ids:
            return None
        mask = ids != pad
    elif mask.shape != ids.shape:
        raise UsageError(
            f"attention_mask is {tuple(mask.shape)} for input_ids {tuple(ids.shape)}",
            hint="give what the tokenizer returned with these ids",
        )
    mask = mask.to(ids.device).long()
    return None if bool((mask == 1).all()) else mask
