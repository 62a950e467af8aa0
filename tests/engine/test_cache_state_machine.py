"""Whatever is done to caches, in any order, their logits are those of a model without a cache."""

from __future__ import annotations

import itertools

import pytest
import torch
from cache_machine import CacheMachine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lfm2chat.engine import CacheBatch, HybridCache
from lfm2chat.engine.columns import ConvColumns
from lfm2chat.engine.keyvalues import KeyValues
from lfm2chat.engine.places import Marks
from lfm2chat.errors import CacheError


def run(examples: int, **changes: object) -> None:
    with torch.inference_mode():
        run_state_machine_as_test(
            CacheMachine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                **changes,
            ),
        )


def test_any_sequence_of_operations_gives_the_logits_of_no_cache():
    run(60)


@pytest.mark.long
def test_five_hundred_sequences_of_thirty_operations_give_the_logits_of_no_cache():
    run(500)


def keep_the_first_columns(_, self, slot, joined):
    self._staged[slot] = joined[:, :, : self.kept[slot].shape[-1]].clone()


def keep_a_token_too_many(original, self, tokens):
    original(self, min(tokens + 1, len(self._held[0])))


def read_a_token_too_little_again(original, self):
    return max(0, original.fget(self) - 1)


def share_keys_and_values(original, self, at):
    twin = original(self, at)
    twin._keyvalues = self._keyvalues
    return twin


def accept_any_mark(_, self, *, beyond):
    pass


def forget_the_last_token(original, self, start, pieces, count):
    original(self, start, pieces, count)
    # Zeros, and not what happens to stand there: a mistake must be the same each time.
    for buffer in itertools.chain(*self._buffers):
        buffer[:, :, start + max(0, count - 1) : start + count] = 0


def lose_the_columns_of_a_file(original, self, length):
    original(self, length)
    return (*self._keyvalues.slices(length), *(kept.clone() for kept in self._columns.kept))


def mix_up_the_rows(_, self, layer, columns):
    slot = self.caches[0].slot(layer)
    joined = torch.cat([torch.cat([c.columns(slot) for c in self.caches]), columns], dim=-1)
    for cache in self.caches:
        cache.stage(slot, joined[:1])
    return joined


def count_before_the_end(original, self, layer, keys, values):
    result = original(self, layer, keys, values)
    self._length = max(self._length, self._position + keys.shape[2])
    return result


@pytest.mark.parametrize(
    ("owner", "name", "mistake"),
    [
        (ConvColumns, "stage", keep_the_first_columns),
        (ConvColumns, "keep", keep_a_token_too_many),
        (HybridCache, "reach", read_a_token_too_little_again),
        (HybridCache, "fork", share_keys_and_values),
        (HybridCache, "open_to", lose_the_columns_of_a_file),
        (HybridCache, "extend_attention", count_before_the_end),
        (CacheBatch, "extend_conv", mix_up_the_rows),
        (Marks, "forget", accept_any_mark),
        (KeyValues, "copy_in", forget_the_last_token),
    ],
)
def test_a_planted_mistake_is_found(owner, name, mistake, monkeypatch):
    original = getattr(owner, name)

    def planted(self, *arguments, **named):
        return mistake(original, self, *arguments, **named)

    monkeypatch.setattr(owner, name, property(planted) if name == "reach" else planted)
    # A wrong number, a refusal that does not come, or one that should not.
    with pytest.raises((AssertionError, pytest.fail.Exception, CacheError)):
        run(200, phases=[Phase.generate], report_multiple_bugs=False)
