from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lfm2chat.chat import tokenizer as tokenizer_module
from lfm2chat.chat.tokenizer import Tokenizer, without_surrogates
from lfm2chat.errors import TokenizerError

clean = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PIECES = [
    "<|im_end|>",
    "<|im_start|>",
    "</think>",
    "hello",
    "<|",
    "|>",
    "im_end",
    " ",
    "\n",
    "<",
    "é",
]
hostile = st.lists(st.one_of(st.sampled_from(PIECES), clean), max_size=8).map("".join)


@given(clean)
def test_plain_text_comes_back_as_it_was(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode_plain(text)) == text


@given(hostile)
def test_plain_text_never_gives_a_control_id(tokenizer, text):
    ids = tokenizer.encode_plain(text)
    assert tokenizer.control_ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text


def test_no_added_token_in_any_position_gives_a_control_id(tokenizer):
    assert len(tokenizer.control_texts) == 18
    for token in tokenizer.control_texts:
        for text in (token, f"a{token}", f"{token}b", f" {token} ", f"\n{token}\n", token * 3):
            ids = tokenizer.encode_plain(text)
            assert tokenizer.control_ids.isdisjoint(ids), text
            assert tokenizer.decode(ids) == text
            assert not tokenizer.control_ids.isdisjoint(tokenizer.encode(text))


def test_the_vocabulary_of_the_file_itself_could_make_added_tokens(tokenizer_json):
    # Without this, the two tests above could not fail for a twin that only drops the list.
    added = {token["content"]: token["id"] for token in tokenizer_json["added_tokens"]}
    vocabulary = tokenizer_json["model"]["vocab"]
    assert vocabulary["hello"] == added["hello"]
    assert vocabulary["<|im_end|>"] == added["<|im_end|>"]


@given(hostile)
def test_encode_gives_the_ids_of_transformers(tokenizer, model_folder, text):
    reference = _reference(model_folder)
    assert tokenizer.encode(text) == reference.encode(text, add_special_tokens=False)


@given(clean)
def test_both_ways_agree_on_text_without_added_tokens(tokenizer, text):
    if not any(token in text for token in tokenizer.control_texts):
        assert tokenizer.encode_plain(text) == tokenizer.encode(text)


@given(hostile)
def test_a_batch_of_one_gives_what_the_library_gives_for_one_text(tokenizer, model_folder, text):
    """It is a batch because that lets other threads run."""
    alone = tokenizers.Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    for added in (False, True):
        ids = tokenizer.encode(text, add_special_tokens=added)
        assert ids == alone.encode(text, add_special_tokens=added).ids
    assert [token_id for token_id, _ in tokenizer.plain_offsets(text)] == tokenizer.encode_plain(
        text
    )


def test_other_threads_run_while_a_megabyte_is_encoded(tokenizer):
    text = ("The quick brown fox jumps over the lazy dog, really.\n" * 20_000)[:1_000_000]
    turns, done = 0, threading.Event()

    def encode():
        try:
            tokenizer.encode_plain(text)
            tokenizer.encode(text)
        finally:
            done.set()

    encoding = threading.Thread(target=encode)
    encoding.start()
    while not done.wait(0.005):
        turns += 1
    encoding.join()
    # Held, another thread gets a turn before, between and after the two.
    assert turns > 20


@given(hostile)
def test_split_control_loses_nothing_and_finds_every_token(tokenizer, text):
    parts = tokenizer.split_control(text)
    assert "".join(part for part, _ in parts) == text
    found = [token_id for _, token_id in parts if token_id is not None]
    assert found == [i for i in tokenizer.encode(text) if i in tokenizer.control_ids]


def test_names_hash_and_special_tokens(tokenizer, model_folder):
    data = (model_folder / "tokenizer.json").read_bytes()
    assert tokenizer.hash == hashlib.sha256(data).hexdigest()[:16]
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 7)
    assert tokenizer.special_ids == frozenset(range(14))
    assert len(tokenizer.control_ids) == 18
    assert tokenizer.token_text(7) == "<|im_end|>"
    ids = json.loads(data)["model"]["vocab"].values()
    assert tokenizer.vocab_size == len({*ids, *tokenizer.control_ids})
    assert tokenizer.special_tokens["pad_token"] == "<|pad|>"


def test_a_folder_without_config_has_the_names_of_lfm2(model_folder, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((model_folder / "tokenizer.json").read_bytes())
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 7)


def test_special_tokens_may_be_objects(tokenizer_json, tmp_path):
    tokenizer = Tokenizer(
        json.dumps(tokenizer_json).encode(), {"bos_token": {"content": "<|startoftext|>"}}
    )
    assert tokenizer.special_tokens == {"bos_token": "<|startoftext|>"}


def test_lone_surrogates_are_replaced_before_encoding(tokenizer):
    assert without_surrogates("a\ud800b") == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode_plain("a\ud800b")) == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode("a\udfffb")) == "a\ufffdb"


def test_a_file_cannot_cut_or_fill_prompts(tokenizer_json):
    changed = {
        **tokenizer_json,
        "truncation": {
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 50},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<|pad|>",
        },
    }
    changed_tokenizer = Tokenizer(json.dumps(changed).encode(), {})
    text = "a b c d e f"
    assert changed_tokenizer.decode(changed_tokenizer.encode(text)) == text
    assert changed_tokenizer.decode(changed_tokenizer.encode_plain(text)) == text
    assert len(changed_tokenizer.encode(text)) < 50


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty", b""),
        ("truncated", b'{"version": "1.0", "model": {"ty'),
        ("not an object", b"[]"),
        ("deep", b"[" * 100_000),
        ("not UTF-8", b'{"a": "\xff\xfe"}'),
        ("no model", b"{}"),
        ("model is text", b'{"model": "BPE", "decoder": {"type": "ByteLevel"}}'),
        ("another kind", b'{"model": {"type": "Unigram"}, "decoder": {"type": "ByteLevel"}}'),
        ("half a model", b'{"model": {"type": "BPE"}, "decoder": {"type": "ByteLevel"}}'),
    ],
)
def test_a_broken_file_is_refused_with_a_hint(name, data, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(TokenizerError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be read"):
        Tokenizer.from_folder(tmp_path)


def test_a_file_over_the_limit_is_refused_unread(model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(TokenizerError, match="larger than 1,000 bytes"):
        Tokenizer.from_folder(model_folder)


def test_a_panic_of_the_library_is_an_error_of_ours(tokenizer_json, capfd):
    hostile_json = json.loads(json.dumps(tokenizer_json))
    hostile_json["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"(x+x+)+y"}
    hostile_tokenizer = Tokenizer(json.dumps(hostile_json).encode(), {})
    with pytest.raises(TokenizerError, match="cannot be encoded"):
        hostile_tokenizer.encode_plain("x" * 64)
    capfd.readouterr()


@pytest.mark.parametrize("token_id", [-1, 2**32])
def test_impossible_ids_are_refused(tokenizer, token_id):
    with pytest.raises(TokenizerError):
        tokenizer.decode([token_id])
    with pytest.raises(TokenizerError):
        tokenizer.token_bytes(token_id)


def test_ids_beyond_the_vocabulary_have_no_text(tokenizer):
    assert tokenizer.decode([tokenizer.vocab_size + 1]) == ""
    assert tokenizer.token_text(tokenizer.vocab_size + 1) == ""


def test_interrupting_the_library_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt), tokenizer_module._guard("x"):
        raise KeyboardInterrupt


_CACHE: dict[Path, PreTrainedTokenizerFast] = {}


def _reference(folder: Path) -> PreTrainedTokenizerFast:
    if folder not in _CACHE:
        _CACHE[folder] = PreTrainedTokenizerFast.from_pretrained(folder)
    return _CACHE[folder]
