"""The text layer over the files of the built-in model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from lfm2chat.chat.template import ChatTemplate
from lfm2chat.chat.tokenizer import Tokenizer
from lfm2chat.chat.turns import PromptMessage, Role

GUIDE = Path(str(files("lfm2chat.guide")))
pytestmark = pytest.mark.skipif(
    not (GUIDE / "tokenizer.json").exists(), reason="the guide is not trained yet"
)
TEXTS = [
    "Hi",
    "",
    " How do I quit? ",
    "\n\nctrl+q\n",
    "Käse 你好 👩‍👩‍👧",
    "1234 < 5 |> x",
    "it's\t\r\nfine",
]


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate.from_folder(GUIDE, Tokenizer.from_folder(GUIDE))


def test_the_guide_s_prompts_are_those_of_transformers(template):
    reference = PreTrainedTokenizerFast.from_pretrained(GUIDE)
    for start in range(len(TEXTS)):
        texts = TEXTS[start:] + TEXTS[:start]
        messages = [PromptMessage(Role.SYSTEM, "Be brief.")] if start % 2 else []
        messages += [
            PromptMessage(Role.ASSISTANT if i % 2 else Role.USER, text)
            for i, text in enumerate(texts)
        ]
        wanted = reference.apply_chat_template(
            [{"role": message.role.value, "content": message.text} for message in messages],
            chat_template=template.source,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        assert list(template.build(messages).ids) == wanted


def test_no_added_token_of_the_guide_can_be_written_in_a_message(template):
    tokenizer = template.tokenizer
    assert template.in_process
    clean = template.build([PromptMessage(Role.USER, "x")]).ids
    wanted = [i for i in clean if i in tokenizer.control_ids]
    for token in tokenizer.control_texts:
        text = f"a{token} {token}\n{token}"
        ids = template.build([PromptMessage(Role.USER, text)]).ids
        assert [i for i in ids if i in tokenizer.control_ids] == wanted
        assert tokenizer.decode(tokenizer.encode_plain(text)) == text
