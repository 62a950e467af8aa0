"""Which model suits a machine: by its memory, its disk, its measured speed."""

from __future__ import annotations

import pytest

from lfm2chat.engine.memory import WORKING_BYTES, estimate_bytes
from lfm2chat.engine.packed import buffer_bytes
from lfm2chat.engine.quantize import Precision
from lfm2chat.hub.catalog import catalog
from lfm2chat.runtime.machine import Machine
from lfm2chat.runtime.recommend import Prospect, free_disk_bytes, prospects
from lfm2chat.spec.rates import Rates
from lfm2chat.spec.sizes import config_of

GB = 10**9


def machine(bytes_per_s: float) -> Machine:
    rates = Rates(1e-5, bytes_per_s, 1e-12, 1e-9, 1.06, 1.06, 350 * 10**6)
    return Machine("some", "1", "", ("avx2",), 2, "2026-01-01T00:00:00", 2e10, {"int8": rates})


def best(found: list[Prospect]) -> list[str]:
    return [one.card.name for one in found if one.recommended]


def test_the_largest_model_that_is_quick_enough_is_recommended():
    found = prospects(free_memory_bytes=16 * GB, free_disk_bytes=90 * GB, machine=machine(20 * GB))
    assert best(found) == ["LFM2.5-1.2B-Instruct"]
    speeds = {one.card.name: one.decode_tok_s for one in found}
    assert 10 < speeds["LFM2.5-1.2B-Instruct"] < speeds["LFM2-700M"] < speeds["LFM2.5-350M"]


def test_a_slower_machine_gets_a_smaller_model_and_a_faster_one_a_larger():
    roomy = {"free_memory_bytes": 16 * GB, "free_disk_bytes": 90 * GB}
    assert best(prospects(**roomy, machine=machine(6 * GB))) == ["LFM2.5-350M"]
    assert best(prospects(**roomy, machine=machine(60 * GB))) == ["LFM2-2.6B"]


def test_where_nothing_was_measured_no_speed_is_told_and_nothing_huge_recommended():
    found = prospects(free_memory_bytes=64 * GB, free_disk_bytes=90 * GB, machine=None)
    assert best(found) == ["LFM2.5-1.2B-Instruct"]
    assert {one.decode_tok_s for one in found} == {None}


def test_a_model_that_does_not_fit_says_by_how_much():
    found = prospects(free_memory_bytes=GB, free_disk_bytes=90 * GB, machine=None)
    large = next(one for one in found if one.card.name == "LFM2-2.6B")
    assert large.obstacle == "needs 1.6 GB of memory, 1.0 GB are free"
    assert best(found) == ["LFM2.5-1.2B-Instruct"]
    assert next(one for one in found if one.recommended).precision == "int4"


def test_a_full_disk_recommends_nothing():
    found = prospects(free_memory_bytes=16 * GB, free_disk_bytes=GB // 2, machine=None)
    assert best(found) == []
    assert all("of disk" in one.obstacle for one in found)


def test_where_the_system_does_not_tell_its_memory_nothing_is_held_against_a_model():
    found = prospects(free_memory_bytes=None, free_disk_bytes=90 * GB, machine=None)
    assert not any(one.obstacle for one in found)


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path):
    assert free_disk_bytes(tmp_path / "not" / "yet") > 0


@pytest.mark.parametrize("parameters", sorted({card.parameters for card in catalog()}))
def test_the_catalogue_says_of_memory_what_the_engine_reckons(parameters):
    config = config_of(parameters)
    assert config is not None
    card = next(card for card in catalog() if card.parameters == parameters)
    import torch

    plain = estimate_bytes(config, torch.bfloat16, context_tokens=8192)
    cache = plain - estimate_bytes(config, torch.bfloat16)
    reckoned = {"bfloat16": plain}
    for precision in (Precision.INT8, Precision.INT4):
        reckoned[precision.value] = buffer_bytes(config, precision) + cache + WORKING_BYTES
    for name, size in reckoned.items():
        assert 0 <= card.memory_bytes[name] - size < 10**6


def test_of_each_size_one_model_is_the_one_to_begin_with():
    first = [card.parameters for card in catalog() if card.first_choice]
    assert sorted(first) == sorted({card.parameters for card in catalog()})
