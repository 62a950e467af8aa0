"""The tokens that end an answer, whatever ids the family's vocabularies give them."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from lfm2chat.chat.stops import end_token_ids
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.modelfiles import read_config, read_generation_config
from lfm2chat.spec import Lfm2Config

LIQUID_2026 = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def made(special, ordinary=()):
    """A byte-level tokenizer whose special tokens come after its bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(special)
    bpe.add_tokens(list(ordinary))
    return Tokenizer(bpe.to_str().encode(), {})


def test_an_answer_ends_at_the_declared_id_and_at_the_end_of_a_text(tokenizer):
    assert end_token_ids(tokenizer, (7,)) == {7, 2}
    assert end_token_ids(tokenizer, ()) == {7, 2}
    assert end_token_ids(tokenizer, (7, 5)) == {7, 5, 2}


def test_the_ids_are_those_of_the_tokens_in_this_vocabulary():
    tokenizer = made(LIQUID_2026)
    end_of_text, im_end = (tokenizer.id_of(token) for token in ("<|endoftext|>", "<|im_end|>"))
    assert {end_of_text, im_end}.isdisjoint({2, 7})
    assert end_token_ids(tokenizer, (im_end,)) == {im_end, end_of_text}


def test_what_is_no_special_token_ends_nothing():
    tokenizer = made(["<|im_end|>"], ordinary=["<|endoftext|>"])
    assert end_token_ids(tokenizer, ()) == {tokenizer.id_of("<|im_end|>")}
    assert end_token_ids(made(["<|other|>"]), (9,)) == {9}


def test_thinking_and_tool_calls_end_nothing(tokenizer):
    ends = end_token_ids(tokenizer, (7,))
    for token in ("<think>", "</think>", "<|tool_call_end|>", "<|im_start|>"):
        assert tokenizer.id_of(token) not in ends


@pytest.mark.parametrize(
    ("generation", "ids"), [({"eos_token_id": 7}, (7,)), ({"eos_token_id": [7, 2]}, (7, 2))]
)
def test_a_folder_declares_its_own_ids(generation, ids, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(Lfm2Config(eos_token_id=7).to_dict()))
    assert read_generation_config(tmp_path).eos_token_ids == ()
    assert read_config(tmp_path).eos_token_ids == (7,)
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert read_generation_config(tmp_path).eos_token_ids == ids
