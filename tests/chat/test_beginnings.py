"""The ids of an answer's beginning: as many as it was written with, the rest encoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lfm2chat
from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role

GUIDE = Path(lfm2chat.__file__).parent / "guide"
TOKENIZER = Tokenizer.from_folder(GUIDE)
TEMPLATE = ChatTemplate.from_folder(GUIDE, TOKENIZER)
TEXT = "Press **F2** to rename it, naïve 縞馬 \N{ZEBRA FACE}."


def _beginning(text: str, ids: tuple[int, ...], *, hash_: str = TOKENIZER.hash) -> tuple[int, ...]:
    return TEMPLATE.beginning_ids(PromptMessage(Role.ASSISTANT, text, ids, hash_))


@given(st.integers(0, len(TEXT)), st.text(max_size=5))
def test_any_beginning_with_any_new_end_decodes_to_its_text(length, end):
    ids = tuple(TOKENIZER.encode_plain(TEXT))
    text = TEXT[:length] + end
    found = _beginning(text, ids)
    assert TOKENIZER.decode(found) == text


def test_ids_that_make_up_the_text_are_taken_as_they_are():
    # Letter by letter: no tokenizer would encode it so.
    ids = tuple(token for letter in TEXT for token in TOKENIZER.encode_plain(letter))
    assert ids != tuple(TOKENIZER.encode_plain(TEXT))
    assert _beginning(TEXT, ids) == ids
    assert _beginning(TEXT[:12] + "x", ids)[:12] == ids[:12]


@pytest.mark.parametrize("hash_", ["", "another"])
def test_ids_of_another_tokenizer_are_not_used(hash_):
    assert _beginning("Press", (1, 2, 3), hash_=hash_) == tuple(TOKENIZER.encode_plain("Press"))


def test_control_tokens_are_never_part_of_a_beginning():
    control = next(iter(TOKENIZER.special_ids))
    found = _beginning("Press <|im_end|>", (*TOKENIZER.encode_plain("Press "), control))
    assert TOKENIZER.special_ids.isdisjoint(found)


def test_a_prompt_says_where_each_message_ends():
    messages = [
        PromptMessage(Role.SYSTEM, "Be brief."),
        PromptMessage(Role.USER, "Why?"),
        PromptMessage(Role.ASSISTANT, "So."),
    ]
    prompt = TEMPLATE.build(messages, add_generation_prompt=False)
    texts = [TOKENIZER.decode(prompt.ids[:end]) for _, end in prompt.ends]
    assert [place for place, _ in prompt.ends] == [0, 1, 2]
    assert [text.endswith(one.text) for text, one in zip(texts, messages, strict=True)] == [
        True
    ] * 3
