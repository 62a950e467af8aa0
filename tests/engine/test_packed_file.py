"""Packed weights on the disk: read whole and checked, or packed anew."""

from __future__ import annotations

import pytest
import torch

from lfm2chat.engine import Lfm2ForCausalLM, Precision, open_packed
from lfm2chat.engine.packed import PackedModel, pack_model
from lfm2chat.engine.packed_file import load_packed, save_packed
from lfm2chat.errors import UsageError, WeightsError
from lfm2chat.spec import Lfm2Config

CONFIG = Lfm2Config(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    layer_types=["conv", "full_attention"],
    block_auto_adjust_ff_dim=False,
)


@pytest.fixture
def packed() -> PackedModel:
    torch.manual_seed(1)
    return pack_model(CONFIG, Precision.INT4, Lfm2ForCausalLM(CONFIG).state_dict().__getitem__)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    Lfm2ForCausalLM(CONFIG).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_what_was_saved_comes_back_byte_for_byte(packed, tmp_path):
    path = tmp_path / "a.packed"
    save_packed(packed, path, fingerprint="f")
    again = load_packed(path, CONFIG, Precision.INT4, fingerprint="f")
    assert torch.equal(again.buffer, packed.buffer)
    assert [file.name for file in tmp_path.iterdir()] == ["a.packed"]
    assert path.stat().st_mode & 0o077 == 0


def test_other_weights_or_another_precision_are_not_taken(packed, tmp_path):
    path = tmp_path / "a.packed"
    save_packed(packed, path, fingerprint="f")
    with pytest.raises(WeightsError, match="other weights"):
        load_packed(path, CONFIG, Precision.INT4, fingerprint="g")
    with pytest.raises(WeightsError, match="another precision"):
        load_packed(path, CONFIG, Precision.INT8, fingerprint="f")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_packed(tmp_path / "none", CONFIG, Precision.INT4, fingerprint="f")


def test_every_cut_and_every_changed_byte_is_found(packed, tmp_path):
    path = tmp_path / "a.packed"
    save_packed(packed, path, fingerprint="f")
    whole = path.read_bytes()
    for length in (0, 7, 20, 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            load_packed(path, CONFIG, Precision.INT4, fingerprint="f")
    for at in (3, 9, 20, 4096, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(WeightsError):
            load_packed(path, CONFIG, Precision.INT4, fingerprint="f")


def test_a_folder_is_packed_once_and_a_damaged_file_is_replaced(folder, packed, tmp_path):
    path = tmp_path / "a.packed"
    shares = []

    def opened() -> PackedModel:
        return open_packed(
            folder, Precision.INT4, saved=path, fingerprint="f", progress=shares.append
        )

    assert torch.equal(opened().buffer, packed.buffer)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    shares.clear()
    assert torch.equal(opened().buffer, packed.buffer)
    assert not shares, "it was packed a second time"
    path.write_bytes(path.read_bytes()[:-9])
    assert torch.equal(opened().buffer, packed.buffer)
    assert shares
    shares.clear()
    opened()
    assert not shares, "the damaged file was not replaced"


def test_a_file_that_cannot_be_written_is_done_without(folder, packed, tmp_path):
    missing = tmp_path / "no such folder" / "a.packed"
    opened = open_packed(folder, Precision.INT4, saved=missing, fingerprint="f")
    assert torch.equal(opened.buffer, packed.buffer)


def test_a_model_that_cannot_be_packed_is_refused_by_its_reason(tmp_path):
    odd = Lfm2Config.from_dict(CONFIG.to_dict() | {"conv_bias": True})
    Lfm2ForCausalLM(odd).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="bias"):
        open_packed(tmp_path, Precision.INT8)
