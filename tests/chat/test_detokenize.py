from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lfm2chat.chat.detokenize import StreamingDetokenizer
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.errors import TokenizerError

ids_of_any_kind = st.lists(st.integers(0, 560), max_size=40)


def stream(tokenizer: Tokenizer, ids: list[int], *, skip: bool = True) -> list[str]:
    detokenizer = StreamingDetokenizer(tokenizer, skip_special_tokens=skip)
    return [*(detokenizer.push(token_id) for token_id in ids), detokenizer.finish()]


@given(ids_of_any_kind, st.booleans())
def test_the_pieces_join_to_the_whole_for_any_ids(tokenizer, ids, skip):
    whole = tokenizer.decode(ids, skip_special_tokens=skip)
    assert "".join(stream(tokenizer, ids, skip=skip)) == whole


@given(st.lists(st.integers(0, 255), max_size=12))
@example([0xE2, 0x82])
@example([0xED, 0xA0, 0x80])
@example([0xF0, 0x9F, 0x98, 0x41])
@example([0xF4, 0x90, 0x80, 0x80])
@example([0xC0, 0xAF])
def test_the_pieces_join_to_the_whole_for_any_bytes(tokenizer, values):
    byte_ids = {tokenizer.token_bytes(i): i for i in range(tokenizer.vocab_size)}
    ids = [byte_ids[bytes([value])] for value in values]
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_state_is_a_prefix_of_the_text_without_half_characters(tokenizer, text):
    pieces = stream(tokenizer, tokenizer.encode_plain(text))
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_a_character_in_parts_comes_whole(tokenizer):
    ids = tokenizer.encode_plain("𝄞")
    assert len(ids) > 1
    assert stream(tokenizer, ids) == [""] * (len(ids) - 1) + ["𝄞", ""]


def test_a_character_never_completed_is_one_replacement_at_the_end(tokenizer):
    ids = tokenizer.encode_plain("𝄞")[:-1]
    assert stream(tokenizer, ids)[-1] == "\ufffd"


def test_special_tokens_are_hidden_and_other_added_ones_shown(tokenizer):
    ids = tokenizer.encode("<|im_start|><think>a</think><|im_end|>")
    assert "".join(stream(tokenizer, ids)) == "<think>a</think>"


def test_ids_without_text_are_nothing(tokenizer):
    assert stream(tokenizer, [tokenizer.vocab_size + 5]) == ["", ""]
    with pytest.raises(TokenizerError):
        StreamingDetokenizer(tokenizer).push(-1)
