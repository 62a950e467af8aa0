"""A tokenizer of LFM2's structure, trained in a moment, and folders as a model has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from lfm2chat.chat.tokenizer import Tokenizer

LFM2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = [
    "<|pad|>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<|fim_pre|>",
    "<|fim_mid|>",
    "<|fim_suf|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|tool_list_start|>",
    "<|tool_list_end|>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|tool_response_start|>",
    "<|tool_response_end|>",
]
# Added but not special: the hole that a filter for special tokens leaves open. The last one is
# plain letters, which the pre-tokenizer keeps whole, so the vocabulary alone could make it.
ADDED = ["<think>", "</think>", "<image>", "hello"]
CONFIG = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
CORPUS = [
    "hello\nhello\nhello\n",
    "The user said hello and the assistant said hello: system, user, assistant, tool.",
    "Hello! How are you today? I'm fine, thank you; what's the weather like? It's 21 degrees.",
    "Ein süßer Käse für 1.234 Leute. Привет, мир! 你好,世界。 안녕하세요 👋🏽 👩‍👩‍👧",
    "def main():\n    return {'a': [1, 2, 3]}\n\n\nif x < 3 | y > 4: <html> im_start im_end think",
] * 4

LFM2_TEMPLATE = """\
{{- bos_token -}}
{%- set ns = namespace(system="") -%}
{%- if messages[0]["role"] == "system" -%}
    {%- set ns.system = messages[0]["content"] -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- if ns.system -%}
    {{- "<|im_start|>system\\n" + ns.system + "<|im_end|>\\n" -}}
{%- endif -%}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" -}}
    {%- set content = message["content"] -%}
    {%- if content is not string -%}
        {%- set content = content | tojson -%}
    {%- endif -%}
    {%- if message["role"] == "tool" -%}
        {%- set content = "<|tool_response_start|>" + content + "<|tool_response_end|>" -%}
    {%- endif -%}
    {{- content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""

# Cuts the thinking out of every answer but the last one, as LFM2.5 does.
THINKING_TEMPLATE = """\
{{- bos_token -}}
{%- set keep = keep_past_thinking | default(false) -%}
{%- set ns = namespace(last=-1) -%}
{%- for message in messages -%}
    {%- if message["role"] == "assistant" -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- set content = message["content"] -%}
    {%- if message["role"] == "assistant" and not keep and loop.index0 != ns.last -%}
        {%- if "</think>" in content -%}
            {%- set content = content.split("</think>")[-1] | trim -%}
        {%- endif -%}
    {%- endif -%}
    {{- "<|im_start|>" + message["role"] + "\\n" + content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""


def trained_json() -> dict:
    bpe = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(LFM2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.add_tokens(ADDED)
    return json.loads(bpe.to_str())


@pytest.fixture(scope="session")
def tokenizer_json() -> dict:
    return trained_json()


@pytest.fixture(scope="session")
def model_folder(tokenizer_json: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json))
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG))
    (folder / "chat_template.jinja").write_text(LFM2_TEMPLATE)
    return folder


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(model_folder)


@pytest.fixture(scope="session")
def lfm2_source() -> str:
    return LFM2_TEMPLATE


@pytest.fixture(scope="session")
def thinking_source() -> str:
    return THINKING_TEMPLATE
